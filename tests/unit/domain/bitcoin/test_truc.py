"""Version 3 (BIP431), ephemeral dust and packages: which transactions may stand beside which."""

from __future__ import annotations

import pytest

from anya_actors.domain.bitcoin.candidate import Candidate
from anya_actors.domain.bitcoin.ephemeral import find_unspent_dust, verify_dust_pays_nothing
from anya_actors.domain.bitcoin.errors import RejectedPackageError, RejectedTransactionError
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.mempool import Mempool, MempoolEntry
from anya_actors.domain.bitcoin.mempool_policy import DUST_FEERATE_SAT_PER_KVB
from anya_actors.domain.bitcoin.packages import is_child_with_parents, is_tree, verify_package
from anya_actors.domain.bitcoin.script import p2wpkh_script
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxInput, TxOutput
from anya_actors.domain.bitcoin.truc import truc_violation, truc_violation_in_package

PAY = p2wpkh_script(bytes(20))
CONFIRMED = Txid(b"\x01" * 32)
P2A = b"\x51\x02\x4e\x73"


def _tx(
    *prevouts: Outpoint, version: int = 3, outputs: int = 2, vsize: int = 0, mark: int = 0
) -> Transaction:
    paid = tuple(TxOutput(10_000 + mark + place, PAY) for place in range(outputs))
    inputs = tuple(TxInput(prevout) for prevout in prevouts)
    bare = Transaction(version, inputs, paid)
    if vsize:
        filler = b"\x00" * (vsize - bare.vsize - 2)
        bare = Transaction(version, (TxInput(prevouts[0], filler), *inputs[1:]), paid)
        assert bare.vsize == vsize
    return bare


def _coin(index: int = 0) -> Outpoint:
    return Outpoint(CONFIRMED, index)


def _of(transaction: Transaction, index: int = 0) -> Outpoint:
    return Outpoint(transaction.txid, index)


def _candidate(pool: Mempool, transaction: Transaction) -> Candidate:
    entry = MempoolEntry(transaction, 1_000, 0, 0)
    return Candidate(entry, 1_000, pool.parents(transaction), set(pool.conflicts(transaction)))


def _pool(*transactions: Transaction) -> Mempool:
    pool = Mempool()
    for transaction in transactions:
        pool.add(MempoolEntry(transaction, 1_000, 0, 0))
    return pool


def _violation(pool: Mempool, transaction: Transaction) -> str | None:
    found = truc_violation(pool, _candidate(pool, transaction))
    return None if found is None else found.detail


def _named(transaction: Transaction) -> str:
    return f"{transaction.txid} (wtxid={transaction.wtxid})"


def test_versions_do_not_mix() -> None:
    restricted, free = _tx(_coin(), version=3), _tx(_coin(1), version=2)
    pool = _pool(restricted, free)
    child = _tx(_of(free), version=3)
    assert _violation(pool, child) == (
        f"version=3 tx {_named(child)} cannot spend from non-version=3 tx {_named(free)}"
    )
    child = _tx(_of(restricted), version=2)
    assert _violation(pool, child) == (
        f"non-version=3 tx {_named(child)} cannot spend from version=3 tx {_named(restricted)}"
    )
    assert _violation(pool, _tx(_of(restricted))) is None
    assert _violation(pool, _tx(_of(free), version=2)) is None


def test_sizes_are_limited() -> None:
    parent = _tx(_coin())
    assert _violation(Mempool(), _tx(_coin(), vsize=10_000)) is None
    large = _tx(_coin(), vsize=10_001)
    text = f"version=3 tx {_named(large)} is too big: 10001 > 10000 virtual bytes"
    assert _violation(Mempool(), large) == text
    pool = _pool(parent)
    assert _violation(pool, _tx(_of(parent), vsize=1_000)) is None
    child = _tx(_of(parent), vsize=1_001)
    text = f"version=3 child tx {_named(child)} is too big: 1001 > 1000 virtual bytes"
    assert _violation(pool, child) == text


def test_one_parent_and_no_grandparent() -> None:
    first, second = _tx(_coin()), _tx(_coin(1))
    pool = _pool(first, second)
    child = _tx(_of(first), _of(second))
    assert _violation(pool, child) == f"tx {_named(child)} would have too many ancestors"
    middle = _tx(_of(first))
    pool = _pool(first, middle)
    last = _tx(_of(middle))
    assert _violation(pool, last) == f"tx {_named(last)} would have too many ancestors"


def test_a_second_child_may_evict_the_first() -> None:
    parent = _tx(_coin())
    first, second = _tx(_of(parent, 0)), _tx(_of(parent, 1))
    pool = _pool(parent, first)
    found = truc_violation(pool, _candidate(pool, second))
    assert found is not None
    assert found.detail == f"tx {_named(parent)} would exceed descendant count limit"
    assert found.sibling == first.txid
    # One that spends the same output replaces it anyway.
    assert _violation(pool, _tx(_of(parent, 0), mark=5)) is None


def test_of_two_children_left_by_a_reorganisation_none_is_evicted() -> None:
    parent = _tx(_coin(), outputs=3)
    pool = _pool(parent, _tx(_of(parent, 0)), _tx(_of(parent, 1)))
    found = truc_violation(pool, _candidate(pool, _tx(_of(parent, 2))))
    assert found is not None
    assert found.sibling is None


def test_the_same_holds_within_a_package() -> None:
    pool = Mempool()
    parent = _tx(_coin())
    child = _tx(_of(parent))
    good = [_candidate(pool, transaction) for transaction in (parent, child)]
    assert [truc_violation_in_package(pool, found, good) for found in good] == [None, None]
    cases = {
        "is too big: 1001 > 1000": [parent, _tx(_of(parent), vsize=1_001)],
        "cannot spend from version=3": [parent, _tx(_of(parent), version=2)],
        "cannot spend from non-version=3": [
            _tx(_coin(), version=2),
            _tx(_of(_tx(_coin(), version=2)), version=3),
        ],
        "would exceed descendant count": [parent, child, _tx(_of(parent, 1))],
        "would have too many ancestors": [parent, child, _tx(_of(child))],
    }
    for words, transactions in cases.items():
        package = [_candidate(pool, transaction) for transaction in transactions]
        found = [truc_violation_in_package(pool, one, package) for one in package]
        assert words in next(detail for detail in found if detail is not None)


def test_a_waiting_parent_counts_for_a_package() -> None:
    parent = _tx(_coin())
    pool = _pool(parent, _tx(_of(parent, 0)))
    second = _candidate(pool, _tx(_of(parent, 1)))
    detail = truc_violation_in_package(pool, second, [second])
    assert detail == f"tx {_named(parent)} would exceed descendant count limit"


# Ephemeral dust


def _with_dust(*prevouts: Outpoint) -> Transaction:
    outputs = (TxOutput(10_000, PAY), TxOutput(0, P2A))
    return Transaction(3, tuple(TxInput(prevout) for prevout in prevouts), outputs)


@pytest.mark.parametrize(("fee_sat", "modified_sat"), [(1, 1), (0, 1), (1, 0)])
def test_a_transaction_with_dust_pays_nothing(fee_sat: int, modified_sat: int) -> None:
    entry = MempoolEntry(_with_dust(_coin()), fee_sat, 0, 0)
    with pytest.raises(RejectedTransactionError) as caught:
        verify_dust_pays_nothing(Candidate(entry, modified_sat, set()), DUST_FEERATE_SAT_PER_KVB)
    assert caught.value.text == "dust, tx with dust output must be 0-fee"
    free = MempoolEntry(_with_dust(_coin()), 0, 0, 0)
    verify_dust_pays_nothing(Candidate(free, 0, set()), DUST_FEERATE_SAT_PER_KVB)


def test_who_spends_from_a_parent_spends_its_dust() -> None:
    parent = _with_dust(_coin())
    good, bad = _tx(_of(parent, 0), _of(parent, 1)), _tx(_of(parent, 0))
    for pool, package in ((Mempool(), [parent]), (_pool(parent), [])):
        assert find_unspent_dust(pool, [*package, good], DUST_FEERATE_SAT_PER_KVB) is None
        found = find_unspent_dust(pool, [*package, bad], DUST_FEERATE_SAT_PER_KVB)
        assert found is not None
        assert found[0] is bad
        text = f"tx {_named(bad)} did not spend parent's ephemeral dust"
        assert found[1].text == f"missing-ephemeral-spends, {text}"


# Packages


def _reason(*package: Transaction) -> str:
    try:
        verify_package(package)
    except RejectedPackageError as error:
        return error.text
    return ""


def test_a_package_is_small_sorted_and_consistent() -> None:
    parent = _tx(_coin())
    child = _tx(_of(parent))
    singles = [_tx(_coin(index)) for index in range(26)]
    assert _reason(parent, child) == ""
    assert _reason(*singles[:25]) == ""
    assert _reason(*singles) == "package-too-many-transactions"
    assert _reason(parent, parent) == "package-contains-duplicates"
    assert _reason(child, parent) == "package-not-sorted"
    assert _reason(parent, _tx(_coin(), mark=1)) == "conflict-in-package"
    heavy = [_tx(_coin(index), vsize=50_500) for index in range(2)]
    assert sum(transaction.weight for transaction in heavy) == 404_000
    assert _reason(*heavy) == ""
    assert _reason(heavy[0], _tx(_coin(1), vsize=50_501)) == "package-too-large"


def test_a_child_with_its_parents_and_no_other_kinship() -> None:
    first, second = _tx(_coin()), _tx(_coin(1))
    child = _tx(_of(first), _of(second))
    assert is_child_with_parents([first, second, child])
    assert not is_child_with_parents([first, _tx(_coin(2)), child])
    assert not is_child_with_parents([child])
    assert is_tree([first, second, child])
    between = _tx(_of(first, 1))
    assert not is_tree([first, between, _tx(_of(first), _of(between))])

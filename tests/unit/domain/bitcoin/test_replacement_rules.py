"""Replacement, rule by rule, where no script is needed: Core's texts on both sides of each limit."""

from __future__ import annotations

import pytest

from anya_actors.domain.bitcoin.candidate import Candidate, Change
from anya_actors.domain.bitcoin.errors import RejectedPackageError, RejectedTransactionError
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.mempool import Mempool, MempoolEntry
from anya_actors.domain.bitcoin.mempool_policy import MempoolPolicy, format_money
from anya_actors.domain.bitcoin.replacement import verify_package_replacement, verify_replacement
from anya_actors.domain.bitcoin.script import p2wpkh_script
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxInput, TxOutput

PAY = p2wpkh_script(bytes(20))
COINS = Txid(b"\x01" * 32)
POLICY = MempoolPolicy()


def _tx(*prevouts: Outpoint, outputs: int = 2, mark: int = 0) -> Transaction:
    paid = tuple(TxOutput(10_000 + mark + place, PAY) for place in range(outputs))
    return Transaction(2, tuple(TxInput(prevout) for prevout in prevouts), paid)


def _coin(index: int) -> Outpoint:
    return Outpoint(COINS, index)


def _of(transaction: Transaction, index: int = 0) -> Outpoint:
    return Outpoint(transaction.txid, index)


def _enter(pool: Mempool, transaction: Transaction, fee_sat: int) -> Transaction:
    pool.add(MempoolEntry(transaction, fee_sat, 0, 0))
    return transaction


def _candidate(pool: Mempool, transaction: Transaction, fee_sat: int) -> Candidate:
    entry = MempoolEntry(transaction, fee_sat, 0, 0)
    parents, conflicts = pool.parents(transaction), set(pool.conflicts(transaction))
    return Candidate(entry, pool.modified_fee_sat(entry), parents, conflicts)


def test_one_replacement_touches_at_most_a_hundred_clusters() -> None:
    pool = Mempool()
    for index in range(101):
        parent = _enter(pool, _tx(_coin(index)), 20)
        _enter(pool, _tx(_of(parent)), 20)  # descendants do not count
    most = _candidate(pool, _tx(*(_coin(index) for index in range(100))), 1_000_000)
    assert len(verify_replacement(pool, most, POLICY)) == 200
    more = _candidate(pool, _tx(*(_coin(index) for index in range(101))), 1_000_000)
    with pytest.raises(RejectedTransactionError) as caught:
        verify_replacement(pool, more, POLICY)
    assert caught.value.text == (
        f"too many potential replacements, rejecting replacement {more.txid}; "
        "too many conflicting clusters (101 > 100)"
    )
    assert not caught.value.is_reconsiderable


def test_priorities_count_on_both_sides() -> None:
    pool = Mempool()
    first = _enter(pool, _tx(_coin(0)), 1_000)
    pool.prioritise(first.txid, 5_000)
    second = _tx(_coin(0), mark=1)
    with pytest.raises(
        RejectedTransactionError, match=r"less fees than conflicting txs; 0\.00003 < 0\.00006"
    ):
        verify_replacement(pool, _candidate(pool, second, 3_000), POLICY)
    pool.prioritise(second.txid, 4_000)
    assert verify_replacement(pool, _candidate(pool, second, 3_000), POLICY) == {first.txid}


def test_a_replacement_is_judged_with_its_cluster_as_it_would_be() -> None:
    pool = Mempool()
    policy = MempoolPolicy(max_cluster_count=3)
    left = _enter(pool, _tx(_coin(0)), 1_000)
    right = _enter(pool, _tx(_coin(1)), 1_000)
    between = _enter(pool, _tx(_of(left), _of(right), _coin(2)), 1_000)
    again = _candidate(pool, _tx(_of(left), _coin(2), mark=5), 9_000)
    assert verify_replacement(pool, again, policy) == {between.txid}
    third = _enter(pool, _tx(_coin(3)), 1_000)
    joining = _candidate(pool, _tx(_of(left), _of(right), _of(third), _coin(2)), 9_000)
    with pytest.raises(RejectedTransactionError, match="too-large-cluster"):
        verify_replacement(pool, joining, policy)


def test_clusters_are_measured_by_count_and_by_weight() -> None:
    pool = Mempool()
    parent = _enter(pool, _tx(_coin(0)), 1_000)
    child = _candidate(pool, _tx(_of(parent)), 1_000)
    vsize = parent.vsize + child.vsize
    assert not Change(pool, [child]).exceeds(MempoolPolicy(max_cluster_count=2, max_cluster_vsize=vsize))
    assert Change(pool, [child]).exceeds(MempoolPolicy(max_cluster_count=1))
    assert Change(pool, [child]).exceeds(MempoolPolicy(max_cluster_vsize=vsize - 1))


def _refusal(pool: Mempool, *candidates: Candidate) -> str:
    with pytest.raises(RejectedPackageError) as caught:
        verify_package_replacement(pool, candidates, POLICY)
    return caught.value.text


def test_a_package_replaces_as_one_parent_with_one_child() -> None:
    pool = Mempool()
    first = _enter(pool, _tx(_coin(0)), 1_000)
    waiting = _enter(pool, _tx(_coin(9)), 1_000)
    parent = _tx(_coin(0), mark=1)
    child = _tx(_of(parent))
    pair = [_candidate(pool, parent, 0), _candidate(pool, child, 5_000)]
    assert verify_package_replacement(pool, pair, POLICY) == {first.txid}
    other = _candidate(pool, _tx(_coin(1)), 0)
    text = "package RBF failed: package must be 1-parent-1-child"
    assert _refusal(pool, pair[0], other, pair[1]) == text
    tied = _candidate(pool, _tx(_of(parent), _of(waiting)), 5_000)
    text = "package RBF failed: new transaction cannot have mempool ancestors"
    assert _refusal(pool, pair[0], tied) == text
    poor = _candidate(pool, child, 999)
    assert _refusal(pool, pair[0], poor) == (
        f"package RBF failed: insufficient anti-DoS fees, rejecting replacement {child.txid}, "
        "less fees than conflicting txs; 0.00000999 < 0.00001"
    )
    rich_parent = _candidate(pool, parent, 5_000)
    lazy = _candidate(pool, child, 0)
    vsize = rich_parent.vsize
    rates = [5_000 * 1_000 // (2 * vsize), 5_000 * 1_000 // vsize]
    shown = [f"0.{rate:08d} BTC/kvB" for rate in rates]
    assert lazy.vsize == vsize
    assert _refusal(pool, rich_parent, lazy) == (
        "package RBF failed: package feerate is less than or equal to parent feerate, "
        f"package feerate {shown[0]} <= parent feerate is {shown[1]}"
    )


def test_a_package_must_make_the_diagram_better() -> None:
    pool = Mempool()
    _enter(pool, _tx(_coin(0)), 1_000)
    parent = _tx(_coin(0), mark=1)
    child = _tx(_of(parent), *(_coin(index) for index in range(20, 40)))
    assert _refusal(pool, _candidate(pool, parent, 0), _candidate(pool, child, 2_000)) == (
        "package RBF failed: insufficient feerate: does not improve feerate diagram"
    )


@pytest.mark.parametrize(
    ("amount_sat", "text"),
    [
        (0, "0.00"),
        (1, "0.00000001"),
        (1_000, "0.00001"),
        (10_000_000, "0.10"),
        (123_456_789, "1.23456789"),
        (-150_000_000, "-1.50"),
    ],
)
def test_money_is_written_as_core_writes_it(amount_sat: int, text: str) -> None:
    assert format_money(amount_sat) == text

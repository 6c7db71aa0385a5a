"""Waiting transactions: descent, conflicts, policy, and the choice for a block."""

from __future__ import annotations

import pytest

from anya_actors.domain.bitcoin.block_template import choose_transactions
from anya_actors.domain.bitcoin.errors import RejectedTransactionError
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.lock_times import is_final, meets_sequence_locks
from anya_actors.domain.bitcoin.mempool import Mempool, MempoolEntry, RemovalReason
from anya_actors.domain.bitcoin.mempool_policy import fee_at_rate
from anya_actors.domain.bitcoin.script import (
    hash160,
    null_data_script,
    p2pkh_script,
    p2sh_script,
    p2tr_script,
    p2wpkh_script,
    push,
    witness_script,
)
from anya_actors.domain.bitcoin.sigops import MAX_BLOCK_SIGOPS_COST, count_sigops, sigops_cost
from anya_actors.domain.bitcoin.standardness import (
    dust_threshold_sat,
    verify_standard,
    verify_standard_inputs,
)
from anya_actors.domain.bitcoin.transaction import SEQUENCE_FINAL, Outpoint, Transaction, TxInput, TxOutput

PAY = p2wpkh_script(bytes(20))
COIN = Txid(b"\x01" * 32)


def _spend(*prevouts: Outpoint, outputs: int = 1, mark: int = 0) -> Transaction:
    paid = tuple(TxOutput(10_000 + mark + index, PAY) for index in range(outputs))
    return Transaction(2, tuple(TxInput(prevout) for prevout in prevouts), paid)


def _enter(pool: Mempool, transaction: Transaction, fee_sat: int = 1_000, sigops: int = 4) -> Txid:
    pool.add(MempoolEntry(transaction, fee_sat, 0, 0, sigops))
    return transaction.txid


def _family(pool: Mempool) -> tuple[Txid, Txid, Txid]:
    """A parent, its child, and a grandchild of both."""
    parent = _enter(pool, _spend(Outpoint(COIN, 0), outputs=2))
    child = _enter(pool, _spend(Outpoint(parent, 0)))
    grandchild = _enter(pool, _spend(Outpoint(child, 0), Outpoint(parent, 1)))
    return parent, child, grandchild


def test_descent_is_known_both_ways() -> None:
    pool = Mempool()
    parent, child, grandchild = _family(pool)
    assert pool.ancestors(pool.entries[grandchild].transaction) == {parent, child}
    assert pool.descendants(parent) == {child, grandchild}
    assert pool.parents(pool.entries[grandchild].transaction) == {parent, child}
    assert pool.children(parent) == {child, grandchild}
    assert pool.output(Outpoint(parent, 1)) == TxOutput(10_001, PAY)
    assert pool.output(Outpoint(parent, 2)) is None


def test_who_leaves_takes_its_descendants_along() -> None:
    pool = Mempool()
    _, child, grandchild = _family(pool)
    gone = pool.remove_with_descendants([child], RemovalReason.EXPIRY)
    assert [entry.txid for entry in gone] == [child, grandchild]
    assert len(pool) == 1
    assert len(pool.spends) == 1
    assert pool.total_fee_sat == 1_000


def test_a_block_removes_what_it_confirms_and_what_conflicts_with_it() -> None:
    pool = Mempool()
    parent, child, grandchild = _family(pool)
    pool.remove_for_block([pool.entries[parent].transaction])
    assert set(pool.entries) == {child, grandchild}
    assert pool.ancestors(pool.entries[child].transaction) == set()
    pool.remove_for_block([_spend(Outpoint(parent, 0), mark=5)])
    assert len(pool) == 0
    assert (pool.total_vsize, pool.total_fee_sat, pool.spends) == (0, 0, {})


def test_a_second_spend_is_a_conflict_and_the_same_one_is_not() -> None:
    pool = Mempool()
    first = _spend(Outpoint(COIN, 0))
    _enter(pool, first)
    assert pool.conflicts(first) == []
    assert pool.conflicts(_spend(Outpoint(COIN, 0), mark=1)) == [first.txid]


def test_the_best_paying_package_is_chosen_first_and_parents_precede() -> None:
    pool = Mempool()
    poor = _enter(pool, _spend(Outpoint(COIN, 0)), fee_sat=100)
    middle = _enter(pool, _spend(Outpoint(COIN, 1)), fee_sat=1_000)
    rich_child = _enter(pool, _spend(Outpoint(poor, 0)), fee_sat=10_000)
    chosen = [entry.txid for entry in choose_transactions(pool)]
    assert chosen == [poor, rich_child, middle]


def test_a_block_holds_no_more_than_it_may() -> None:
    pool = Mempool()
    for index in range(3):
        _enter(pool, _spend(Outpoint(COIN, index)), fee_sat=1_000 + index, sigops=MAX_BLOCK_SIGOPS_COST // 2)
    assert len(choose_transactions(pool)) == 1
    assert choose_transactions(Mempool()) == []


@pytest.mark.parametrize(
    ("script", "dust_sat"),
    [  # Core's well-known thresholds at 3,000 sat/kvB
        (p2pkh_script(bytes(20)), 546),
        (p2sh_script(bytes(20)), 540),
        (p2wpkh_script(bytes(20)), 294),
        (witness_script(0, bytes(32)), 330),
        (p2tr_script(bytes(32)), 330),
        (null_data_script(b"note"), 0),
    ],
)
def test_dust_thresholds_are_cores(script: bytes, dust_sat: int) -> None:
    assert dust_threshold_sat(TxOutput(0, script)) == dust_sat


def test_fees_round_up() -> None:
    assert fee_at_rate(141, 1_000) == 141
    assert fee_at_rate(1, 100) == 1


@pytest.mark.parametrize(
    ("transaction", "reason"),
    [
        (Transaction(0, (TxInput(Outpoint(COIN, 0)),), (TxOutput(1_000, PAY),)), "version"),
        (
            Transaction(2, (TxInput(Outpoint(COIN, 0), bytes(1651)),), (TxOutput(1_000, PAY),)),
            "scriptsig-size",
        ),
        (
            Transaction(2, (TxInput(Outpoint(COIN, 0), b"\x61"),), (TxOutput(1_000, PAY),)),
            "scriptsig-not-pushonly",
        ),
        (Transaction(2, (TxInput(Outpoint(COIN, 0)),), (TxOutput(1_000, b"\x51"),)), "scriptpubkey"),
        (Transaction(2, (TxInput(Outpoint(COIN, 0)),), (TxOutput(1, PAY),) * 2), "dust"),
        (
            Transaction(2, (TxInput(Outpoint(COIN, 0)),), (TxOutput(240, b"\x51\x02\x4e\x73"),)),
            "tx-size-small",
        ),
        (
            Transaction(2, (TxInput(Outpoint(COIN, 0), witness=(bytes(400_001),)),), (TxOutput(1_000, PAY),)),
            "tx-size",
        ),
        (
            Transaction(2, (TxInput(Outpoint(COIN, 0)),), (TxOutput(0, b"\x6a" + push(bytes(300)) * 400),)),
            "tx-size",
        ),
    ],
)
def test_what_is_not_relayed_is_named(transaction: Transaction, reason: str) -> None:
    with pytest.raises(RejectedTransactionError) as caught:
        verify_standard(transaction)
    assert caught.value.reason == reason


def test_inputs_of_unknown_kind_are_not_relayed() -> None:
    redeem = b"\xac" * 16
    spend = Transaction(2, (TxInput(Outpoint(COIN, 0), push(redeem)),), (TxOutput(1_000, PAY),))
    for script in (b"\x51", witness_script(2, bytes(32)), p2sh_script(hash160(redeem))):
        with pytest.raises(RejectedTransactionError, match="bad-txns-nonstandard-inputs"):
            verify_standard_inputs(spend, [TxOutput(1, script)])
    verify_standard_inputs(spend, [TxOutput(1, PAY)])


def test_signature_operations_are_counted_as_core_counts_them() -> None:
    key = push(b"\x02" + bytes(32))
    two_of_two = b"\x52" + key + key + b"\x52\xae"
    assert count_sigops(two_of_two, accurate=True) == 2
    assert count_sigops(two_of_two, accurate=False) == 20
    assert count_sigops(b"\xac\xad\x4c", accurate=False) == 2
    spend = Transaction(2, (TxInput(Outpoint(COIN, 0), push(two_of_two), witness=(two_of_two,)),), ())
    assert sigops_cost(spend, [TxOutput(1, p2sh_script(bytes(20)))]) == 8
    assert sigops_cost(spend, [TxOutput(1, witness_script(0, bytes(32)))]) == 2
    assert sigops_cost(spend, [TxOutput(1, PAY)]) == 1
    assert sigops_cost(spend, [TxOutput(1, p2tr_script(bytes(32)))]) == 0


@pytest.mark.parametrize(
    ("lock_time", "sequence", "final"),
    [
        (0, 0, True),
        (99, 0, True),
        (100, 0, False),
        (100, SEQUENCE_FINAL, True),
        (500_000_000, 0, True),
        (500_000_600, 0, False),
    ],
)
def test_lock_times_are_heights_or_times(lock_time: int, sequence: int, final: bool) -> None:
    transaction = Transaction(2, (TxInput(Outpoint(COIN, 0), sequence=sequence),), (), lock_time)
    assert is_final(transaction, 100, 500_000_600) is final


@pytest.mark.parametrize(
    ("version", "sequence", "passed"),
    [
        (2, 10, True),
        (2, 11, False),
        (1, 11, True),
        (2, 1 << 31 | 11, True),
        (2, 1 << 22 | 1, True),
        (2, 1 << 22 | 2, False),
    ],
)
def test_relative_locks_count_from_the_coin(version: int, sequence: int, passed: bool) -> None:
    transaction = Transaction(version, (TxInput(Outpoint(COIN, 0), sequence=sequence),), ())
    met = meets_sequence_locks(transaction, [90], 100, 1_000_600, lambda height: 1_000_000 + height - 89)
    assert met is passed

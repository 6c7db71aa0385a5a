"""Replacing waiting transactions, and what subscribers hear of the mempool."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from anya_actors.adapters.memory.append_log import MemoryAppendLog
from anya_actors.domain.bitcoin.coin_index import scripthash
from anya_actors.domain.bitcoin.errors import RejectedTransactionError
from anya_actors.domain.bitcoin.mempool import EntryAdded, EntryRemoved, RemovalReason
from anya_actors.domain.bitcoin.script import p2wpkh_script
from anya_actors.domain.bitcoin.transaction import SEQUENCE_FINAL, Transaction
from anya_actors.ports.append_log import AppendLog
from anya_actors.services.bitcoin_node.chain import ChainChange
from anya_actors.services.bitcoin_node.notices import MempoolChange, Notice
from anya_actors.services.bitcoin_node.service import BitcoinNodeService
from tests.unit.services.bitcoin_node.purse import Purse

StartNode = Callable[[AppendLog], Awaitable[BitcoinNodeService]]


@pytest.fixture
async def purse(node: BitcoinNodeService) -> Purse:
    return await Purse.filled(node, coins=4)


async def _refusal(node: BitcoinNodeService, transaction: Transaction) -> str:
    with pytest.raises(RejectedTransactionError) as caught:
        await node.submit_transaction(transaction)
    return caught.value.text


async def test_a_replacement_needs_no_signal(node: BitcoinNodeService, purse: Purse) -> None:
    coin = purse.coin()
    first = purse.spend([coin], fee_sat=1_000, sequence=SEQUENCE_FINAL)
    await node.submit_transaction(first)
    second = purse.spend([coin], fee_sat=2_000, sequence=SEQUENCE_FINAL)
    await node.submit_transaction(second)
    assert list(node.pool.entries) == [second.txid]


async def test_a_replacement_pays_what_all_evicted_ones_paid(node: BitcoinNodeService, purse: Purse) -> None:
    coin = purse.coin()
    parent = purse.spend([coin], fee_sat=1_000)
    await node.submit_transaction(parent)
    child = purse.spend([purse.output(parent)], fee_sat=5_000)
    await node.submit_transaction(child)
    poor = purse.spend([coin], fee_sat=5_999)
    assert await _refusal(node, poor) == (
        f"insufficient fee, rejecting replacement {poor.txid}, "
        "less fees than conflicting txs; 0.00005999 < 0.00006"
    )
    close = purse.spend([coin], fee_sat=6_000 + 10)
    assert await _refusal(node, close) == (
        f"insufficient fee, rejecting replacement {close.txid}, "
        "not enough additional fees to relay; 0.0000001 < 0.00000011"
    )
    rich = purse.spend([coin], fee_sat=6_000 + 11)
    await node.submit_transaction(rich)
    assert list(node.pool.entries) == [rich.txid]


async def test_a_replacement_must_make_the_fee_diagram_better(node: BitcoinNodeService, purse: Purse) -> None:
    coin = purse.coin()
    small = purse.spend([coin], fee_sat=1_000)
    await node.submit_transaction(small)
    # Pays more in all, but less for its size.
    large = purse.spend([coin, purse.coin(1), purse.coin(2)], fee_sat=1_200)
    assert await _refusal(node, large) == (
        "replacement-failed, insufficient feerate: does not improve feerate diagram"
    )


async def test_a_replacement_may_spend_waiting_outputs_but_not_those_it_replaces(
    node: BitcoinNodeService, purse: Purse
) -> None:
    coin, other = purse.coin(), purse.coin(1)
    parent = purse.spend([coin], fee_sat=1_000)
    unrelated = purse.spend([other], fee_sat=1_000)
    for transaction in (parent, unrelated):
        await node.submit_transaction(transaction)
    looped = purse.spend([coin, purse.output(parent)], fee_sat=50_000)
    assert await _refusal(node, looped) == (
        f"bad-txns-spends-conflicting-tx, {looped.txid} spends conflicting transaction {parent.txid}"
    )
    fresh = purse.spend([coin, purse.output(unrelated)], fee_sat=50_000)
    await node.submit_transaction(fresh)
    assert list(node.pool.entries) == [unrelated.txid, fresh.txid]


async def test_subscribers_hear_who_came_and_who_left_with_cores_numbers(
    node: BitcoinNodeService, purse: Purse
) -> None:
    heard: list[Notice] = []
    end = node.subscribe(heard.append)
    coin = purse.coin()
    first = purse.spend([coin], fee_sat=1_000)
    await node.submit_transaction(first)
    second = purse.spend([coin], fee_sat=2_000)
    await node.submit_transaction(second)
    await node.generate(b"\x51", 1)
    entries = {first.txid: "first", second.txid: "second"}
    told = [
        (type(item), entries[item.entry.txid], item.sequence)
        for notice in heard
        if isinstance(notice, MempoolChange)
        for item in notice.notices
    ]
    assert told == [
        (EntryAdded, "first", 1),
        (EntryRemoved, "first", 2),
        (EntryAdded, "second", 3),
        (EntryRemoved, "second", 4),
    ]
    assert node.pool.sequence == 5
    assert [type(notice) for notice in heard] == [MempoolChange, MempoolChange, ChainChange, MempoolChange]
    reasons = [
        item.reason
        for notice in heard
        if isinstance(notice, MempoolChange)
        for item in notice.notices
        if isinstance(item, EntryRemoved)
    ]
    assert reasons == [RemovalReason.REPLACED, RemovalReason.BLOCK]
    end()


async def test_waiting_transactions_are_found_by_the_scripts_they_touch(
    node: BitcoinNodeService, purse: Purse
) -> None:
    name, elsewhere = scripthash(purse.key.script_pubkey), p2wpkh_script(bytes(20))
    assert node.pool.touching(name) == []
    parent = purse.spend([purse.coin()], fee_sat=1_000)
    child = purse.spend([purse.output(parent)], fee_sat=1_000, to=elsewhere)
    for transaction in (parent, child):
        await node.submit_transaction(transaction)
    assert node.pool.touching(name) == [parent.txid, child.txid]
    assert node.pool.touching(scripthash(elsewhere)) == [child.txid]
    await node.generate(b"\x51", 1)
    assert node.pool.touching(name) == []


async def test_a_successor_knows_who_was_replaced_and_who_was_preferred(
    node: BitcoinNodeService, purse: Purse, log: MemoryAppendLog, start_node: StartNode
) -> None:
    coin = purse.coin()
    await node.submit_transaction(purse.spend([coin], fee_sat=1_000))
    second = purse.spend([coin], fee_sat=2_000)
    await node.submit_transaction(second)
    await node.prioritise(second.txid, 700)
    again = await start_node(log)
    assert again.pool.entries == node.pool.entries
    assert again.pool.deltas_sat == {second.txid: 700}
    await node.generate(b"\x51", 1)
    assert node.pool.deltas_sat == {}
    assert (await start_node(log)).pool.deltas_sat == {}

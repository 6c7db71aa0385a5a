"""The mempool's size, age and floor, its clusters, and what a reorganisation does to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from anya_actors.adapters.bitcoinkernel.engine import KernelEngines
from anya_actors.adapters.memory.append_log import MemoryAppendLog
from anya_actors.adapters.memory.chain_index import MemoryChainIndexes
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.domain.bitcoin.block import REGTEST_BITS
from anya_actors.domain.bitcoin.errors import RejectedTransactionError
from anya_actors.domain.bitcoin.mempool import EntryRemoved, RemovalReason
from anya_actors.domain.bitcoin.mempool_floor import FeerateFloor
from anya_actors.domain.bitcoin.mempool_policy import MempoolPolicy
from anya_actors.domain.bitcoin.mining import coinbase_transaction, solve, unsolved_block
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.transaction import Transaction
from anya_actors.services.bitcoin_node.notices import MempoolChange, Notice
from anya_actors.services.bitcoin_node.service import BitcoinNodeService
from anya_actors.testing.clock import ManualClock
from tests.unit.services.bitcoin_node.purse import Purse

TRUE = b"\x51"


def _reasons(heard: list[Notice]) -> list[RemovalReason]:
    return [
        item.reason
        for notice in heard
        if isinstance(notice, MempoolChange)
        for item in notice.notices
        if isinstance(item, EntryRemoved)
    ]


@pytest.fixture
async def purse(node: BitcoinNodeService) -> Purse:
    return await Purse.filled(node, coins=6)


async def _refusal(node: BitcoinNodeService, transaction: Transaction) -> str:
    with pytest.raises(RejectedTransactionError) as caught:
        await node.submit_transaction(transaction)
    return caught.value.text


async def test_a_cluster_counts_sixty_four(node: BitcoinNodeService, purse: Purse) -> None:
    parent = purse.spend([purse.coin()], fee_sat=10_000, outputs=64)
    await node.submit_transaction(parent)
    for index in range(63):
        await node.submit_transaction(purse.spend([purse.output(parent, index)], fee_sat=200))
    last = purse.spend([purse.output(parent, 63)], fee_sat=5_000)
    assert await _refusal(node, last) == "too-large-cluster"
    joined = purse.spend([purse.output(parent, 0)], fee_sat=5_000)
    await node.submit_transaction(joined)
    assert len(node.pool) == 64


async def test_what_waited_two_weeks_expires_when_another_comes(
    node: BitcoinNodeService, purse: Purse, clock: ManualClock
) -> None:
    heard: list[Notice] = []
    old = purse.spend([purse.coin()], fee_sat=500)
    child = purse.spend([purse.output(old)], fee_sat=500)
    for transaction in (old, child):
        await node.submit_transaction(transaction)
    node.subscribe(heard.append)
    await clock.advance(336 * 3600)
    await node.submit_transaction(purse.spend([purse.coin(1)], fee_sat=500))
    assert len(node.pool) == 3
    await clock.advance(1)
    fresh = purse.spend([purse.coin(2)], fee_sat=500)
    await node.submit_transaction(fresh)
    assert old.txid not in node.pool
    assert child.txid not in node.pool
    assert _reasons(heard) == [RemovalReason.EXPIRY] * 2


@pytest.fixture
async def small_node(tmp_path: Path, clock: ManualClock) -> AsyncIterator[BitcoinNodeService]:
    """Its mempool holds two or three transactions."""
    node = BitcoinNodeService(
        engines=KernelEngines(tmp_path / "small", Network.REGTEST, in_memory=True),
        log=MemoryAppendLog(),
        indexes=MemoryChainIndexes(),
        clock=clock,
        randomness=SystemRandomness(),
        mempool_policy=MempoolPolicy(max_bytes=7_000),
    )
    await node.start()
    yield node
    await node.close()


async def test_the_worst_paying_go_and_the_floor_rises(
    small_node: BitcoinNodeService, clock: ManualClock
) -> None:
    node, purse = small_node, await Purse.filled(small_node, coins=6)
    first = purse.spend([purse.coin()], fee_sat=1_000)
    second = purse.spend([purse.coin(1)], fee_sat=2_000)
    for transaction in (first, second):
        await node.submit_transaction(transaction)
    assert node.mempool_floor_sat_per_kvb() == 0
    third = purse.spend([purse.coin(2)], fee_sat=3_000)
    await node.submit_transaction(third)
    assert list(node.pool.entries) == [second.txid, third.txid]
    floor = 1_000 * 1_000 // first.vsize + 100
    assert node.mempool_floor_sat_per_kvb() == floor
    least_sat = -(-floor * first.vsize // 1_000)
    low = purse.spend([purse.coin(3)], fee_sat=least_sat - 1)
    assert await _refusal(node, low) == f"mempool min fee not met, {least_sat - 1} < {least_sat}"
    middle = purse.spend([purse.coin(3)], fee_sat=least_sat)
    assert await _refusal(node, middle) == "mempool full"
    assert list(node.pool.entries) == [second.txid, third.txid]
    await node.generate(TRUE, 1)
    await clock.advance(3 * 3600)  # a quarter of the half-life, for the mempool is nearly empty
    assert 0 < node.mempool_floor_sat_per_kvb() <= floor * 0.71
    await clock.advance(24 * 3600)
    assert node.mempool_floor_sat_per_kvb() == 0


def test_the_floor_falls_only_after_a_block() -> None:
    floor = FeerateFloor(100)
    floor.evicted(900)
    assert floor.feerate_sat_per_kvb(10**9, 0, 100) == 1_000
    floor.block_connected(10**9)
    assert floor.feerate_sat_per_kvb(10**9 + 10, 90, 100) == 1_000
    assert floor.feerate_sat_per_kvb(10**9 + 12 * 3600, 90, 100) == 500
    assert floor.feerate_sat_per_kvb(10**9 + 18 * 3600, 40, 100) == 250
    assert floor.feerate_sat_per_kvb(10**9 + 21 * 3600, 20, 100) == 125
    assert floor.feerate_sat_per_kvb(10**9 + 22 * 3600, 20, 100) == 100
    assert floor.feerate_sat_per_kvb(10**9 + 30 * 3600, 20, 100) == 0


async def test_priority_decides_who_is_mined_and_who_may_enter(
    node: BitcoinNodeService, purse: Purse
) -> None:
    free = purse.spend([purse.coin()], fee_sat=0)
    assert await _refusal(node, free) == f"min relay fee not met, 0 < {-(-free.vsize // 10)}"
    await node.prioritise(free.txid, 10_000)
    await node.submit_transaction(free)
    other = purse.spend([purse.coin(1)], fee_sat=2_000)
    await node.submit_transaction(other)
    assert [entry.txid for entry in node.miner.choose()] == [free.txid, other.txid]
    await node.prioritise(free.txid, -10_000)
    assert [entry.txid for entry in node.miner.choose()] == [other.txid]
    assert node.pool.deltas_sat == {}


async def test_priorities_beyond_64_bits_stop_no_block(node: BitcoinNodeService, purse: Purse) -> None:
    """The journal could not hold their sum: the block came, and nobody was told of it."""
    waiting = purse.spend([purse.coin()], fee_sat=1_000)
    await node.submit_transaction(waiting)
    for delta_sat in (1 << 62, 1 << 62, 1 << 62):
        await node.prioritise(waiting.txid, delta_sat)
    assert node.pool.deltas_sat == {waiting.txid: (1 << 63) - 1}
    heard: list[Notice] = []
    node.subscribe(heard.append)
    await node.generate(TRUE, 1)
    assert _reasons(heard) == [RemovalReason.BLOCK]
    assert node.pool.deltas_sat == {}


async def _rivals(node: BitcoinNodeService, height: int, blocks: int) -> None:
    parent = node.chain.tree.active[height]
    for mark in range(blocks):
        coinbase = coinbase_transaction(parent.height + 1, TRUE, 0, (), bytes([9, mark]))
        time_s = parent.median_time_past_s() + 1
        block = solve(unsolved_block(parent.hash, time_s, REGTEST_BITS, (coinbase,)))
        assert block is not None
        await node.submit_block(block)
        parent = node.node(block.hash)


async def test_a_reorganisation_gives_back_parents_of_what_waits(
    node: BitcoinNodeService, purse: Purse
) -> None:
    height = node.chain.tip.height
    parent = purse.spend([purse.coin()], fee_sat=500)
    await node.submit_transaction(parent)
    await node.generate(TRUE, 1)
    child = purse.spend([purse.output(parent)], fee_sat=500)
    grandchild = purse.spend([purse.output(child)], fee_sat=500)
    for transaction in (child, grandchild):
        await node.submit_transaction(transaction)
    await _rivals(node, height, 2)
    assert list(node.pool.entries) == [parent.txid, child.txid, grandchild.txid]
    assert len(node.pool.clusters.cluster(parent.txid)) == 3
    await node.generate(TRUE, 1)
    assert len(node.pool) == 0


async def test_what_a_reorganisation_makes_impossible_leaves(node: BitcoinNodeService, purse: Purse) -> None:
    await node.generate(purse.key.script_pubkey, 1)
    await node.generate(TRUE, 99)
    height = node.chain.tip.height
    young = Purse.of(node, purse.key).coins[-1]
    immature_soon = purse.spend([young], fee_sat=500)
    locked_soon = purse.spend([purse.coin(1)], fee_sat=500, lock_time=height, sequence=0)
    delayed_soon = purse.spend([purse.coin(2)], fee_sat=500, sequence=height - 2)
    stays = purse.spend([purse.coin(3)], fee_sat=500)
    for transaction in (immature_soon, locked_soon, delayed_soon, stays):
        await node.submit_transaction(transaction)
    child = purse.spend([purse.output(immature_soon)], fee_sat=500)
    await node.submit_transaction(child)
    heard: list[Notice] = []
    node.subscribe(heard.append)
    await node.invalidate_block(node.chain.tip.hash)
    assert set(node.pool.entries) == {stays.txid}
    assert _reasons(heard) == [RemovalReason.REORG] * 4

"""The indexes outlive the process: whatever they stood at, the node brings them to its chain."""

from __future__ import annotations

from typing import Protocol

import pytest

from anya_actors.adapters.memory.append_log import MemoryAppendLog
from anya_actors.adapters.memory.chain_index import Batch, MemoryChainIndex, MemoryChainIndexes
from anya_actors.domain.bitcoin.block import REGTEST_BITS, Block
from anya_actors.domain.bitcoin.block_tree import BlockNode
from anya_actors.domain.bitcoin.coin_index import MARK_KEY, OUTPUT
from anya_actors.domain.bitcoin.mining import coinbase_transaction, solve, unsolved_block
from anya_actors.ports.append_log import AppendLog
from anya_actors.ports.chain_index import ChainIndexStores
from anya_actors.services.bitcoin_node.service import BitcoinNodeService
from tests.unit.services.bitcoin_node.purse import pay, wallet_script

TRUE = b"\x51"


class StartNode(Protocol):
    async def __call__(
        self, log: AppendLog, indexes: ChainIndexStores | None = None
    ) -> BitcoinNodeService: ...


class CountingIndex(MemoryChainIndex):
    """Counts what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0

    def write(self, batch: Batch) -> None:
        self.writes += 1
        super().write(batch)


def _copy(store: MemoryChainIndex) -> MemoryChainIndexes:
    """Stores that open as this one is now."""
    made = MemoryChainIndexes()
    made.store = CountingIndex()
    made.store.write(made.store.prepare(list(store.scan(b"")), []))
    made.store.writes = 0
    return made


def _rival(parent: BlockNode, mark: int = 0) -> Block:
    coinbase = coinbase_transaction(parent.height + 1, TRUE, 0, [], bytes([9, mark]))
    time_s = parent.median_time_past_s() + 1
    block = solve(unsolved_block(parent.hash, time_s, REGTEST_BITS, (coinbase,)))
    assert block is not None
    return block


def _rows(indexes: MemoryChainIndexes) -> list[tuple[bytes, bytes]]:
    return list(indexes.store.scan(b""))


async def test_indexes_that_stand_at_the_tip_are_taken_as_they_are(
    start_node: StartNode, log: MemoryAppendLog
) -> None:
    indexes = MemoryChainIndexes()
    node = await start_node(log, indexes)
    await node.generate(TRUE, 5)
    again = _copy(indexes.store)
    successor = await start_node(log, again)
    assert successor.chain.index.tip == successor.chain.tip.hash == node.chain.tip.hash
    assert isinstance(again.store, CountingIndex)
    assert again.store.writes == 0


async def test_indexes_that_fell_behind_go_on_from_where_they_stood(
    start_node: StartNode, log: MemoryAppendLog
) -> None:
    indexes = MemoryChainIndexes()
    node = await start_node(log, indexes)
    await node.generate(TRUE, 3)
    stale = _copy(indexes.store)
    await node.generate(TRUE, 2)
    successor = await start_node(log, stale)
    assert successor.chain.tip.hash == node.chain.tip.hash
    assert _rows(stale) == _rows(indexes)
    assert isinstance(stale.store, CountingIndex)
    assert stale.store.writes == 2


async def test_indexes_of_a_branch_that_was_left_come_over(
    start_node: StartNode, log: MemoryAppendLog
) -> None:
    indexes = MemoryChainIndexes()
    node = await start_node(log, indexes)
    fork = (await node.generate(TRUE, 2))[0]
    left = _copy(indexes.store)
    parent = node.node(fork)
    for mark in range(3):
        block = _rival(parent, mark)
        await node.submit_block(block)
        parent = node.node(block.hash)
    assert node.chain.tip is parent
    successor = await start_node(log, left)
    assert successor.chain.tip.hash == parent.hash
    assert _rows(left) == _rows(indexes)
    assert [found.was_active for found in successor.chain.tree.tips()] == [True, True]


async def test_indexes_ahead_of_a_journal_from_a_backup_are_built_anew(start_node: StartNode) -> None:
    log, indexes = MemoryAppendLog(), MemoryChainIndexes()
    node = await start_node(log, indexes)
    await node.generate(TRUE, 3)
    backup = MemoryAppendLog()
    await backup.append(*(await log.read(0, 2)))
    ahead = _copy(indexes.store)
    successor = await start_node(backup, ahead)
    assert successor.chain.tip.height == successor.chain.index.height == 2
    fresh = MemoryChainIndexes()
    await start_node(backup, fresh)
    assert _rows(ahead) == _rows(fresh)


@pytest.mark.parametrize("lost", [MARK_KEY, OUTPUT])
async def test_indexes_that_lost_rows_are_built_anew_when_it_shows(
    start_node: StartNode, log: MemoryAppendLog, lost: bytes
) -> None:
    indexes = MemoryChainIndexes()
    node = await start_node(log, indexes)
    script = await wallet_script(node)
    await node.generate(script, 1)
    await node.generate(TRUE, 100)
    hollow = _copy(indexes.store)
    hollow.store.write(hollow.store.prepare([], [row for row, _ in hollow.store.scan(lost)]))
    await pay(node, script, 1_000_000)
    await node.generate(TRUE, 1)
    successor = await start_node(log, hollow)
    assert successor.chain.tip.hash == node.chain.tip.hash
    assert _rows(hollow) == _rows(indexes)

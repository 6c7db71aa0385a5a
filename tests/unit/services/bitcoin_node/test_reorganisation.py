"""Branches of a hundred blocks, left and taken again; and which of two equal ones is followed."""

from __future__ import annotations

from typing import Protocol

from anya_actors.adapters.memory.append_log import MemoryAppendLog
from anya_actors.adapters.memory.chain_index import MemoryChainIndexes
from anya_actors.domain.bitcoin.block import REGTEST_BITS, Block
from anya_actors.domain.bitcoin.block_tree import BlockNode
from anya_actors.domain.bitcoin.coin_index import FILTER
from anya_actors.domain.bitcoin.genesis import REGTEST_GENESIS
from anya_actors.domain.bitcoin.mining import coinbase_transaction, solve, unsolved_block
from anya_actors.ports.append_log import AppendLog
from anya_actors.ports.chain_index import ChainIndexStores
from anya_actors.ports.consensus import Standing
from anya_actors.services.bitcoin_node.chain import ChainChange
from anya_actors.services.bitcoin_node.service import BitcoinNodeService
from tests.unit.services.bitcoin_node.purse import pay, wallet_script

TRUE = b"\x51"
LENGTH = 100


class StartNode(Protocol):
    async def __call__(
        self, log: AppendLog, indexes: ChainIndexStores | None = None
    ) -> BitcoinNodeService: ...


def _rows(indexes: MemoryChainIndexes) -> list[tuple[bytes, bytes]]:
    """All rows but the filters, which outlive their blocks."""
    return [row for row in indexes.store.scan(b"") if not row[0].startswith(FILTER)]


async def _branch(node: BitcoinNodeService, parent: BlockNode, blocks: int) -> BlockNode:
    """Empty blocks on a parent."""
    for _ in range(blocks):
        block = _block(parent)
        assert (await node.submit_block(block)).standing is not Standing.INVALID
        parent = node.node(block.hash)
    return parent


def _block(parent: BlockNode) -> Block:
    coinbase = coinbase_transaction(parent.height + 1, TRUE, 0, [], b"rival")
    time_s = parent.median_time_past_s() + 1
    block = solve(unsolved_block(parent.hash, time_s, REGTEST_BITS, (coinbase,)))
    assert block is not None
    return block


async def test_a_hundred_blocks_with_payments_are_left_and_taken_again(
    start_node: StartNode, log: MemoryAppendLog
) -> None:
    indexes = MemoryChainIndexes()
    node = await start_node(log, indexes)
    script = await wallet_script(node)
    await node.generate(script, 10)
    await node.generate(TRUE, LENGTH)
    fork, at_fork = node.chain.tip, _rows(indexes)
    paid = []
    for step in range(LENGTH):
        if step % 10 == 0:
            paid += [await pay(node, script, 1_000_000) for _ in "ab"]
        await node.generate(TRUE, 1)
    first, at_first = node.chain.tip, _rows(indexes)
    assert all(node.chain.index.transaction(txid) is not None for txid in paid)
    changes: list[ChainChange] = []
    node.subscribe(lambda notice: changes.append(notice) if isinstance(notice, ChainChange) else None)

    second = await _branch(node, fork, LENGTH + 1)
    assert node.chain.tip is second
    assert [(len(change.disconnected), len(change.connected)) for change in changes] == [(100, 101)]
    assert changes[0].disconnected[0].hash == first.hash
    assert changes[0].connected[-1].hash == second.hash
    assert not any(node.chain.index.transaction(txid) for txid in paid)
    assert set(node.pool.entries) == set(paid)

    stem = next(found for found in second.branch() if found.parent is fork)
    await node.invalidate_block(stem.hash)
    assert node.chain.tip is first
    assert _rows(indexes) == at_first
    assert len(node.pool.entries) == 0
    await node.reconsider_block(second.hash)
    assert node.chain.tip is second
    await node.invalidate_block(stem.hash)
    await node.invalidate_block(next(found for found in first.branch() if found.parent is fork).hash)
    assert node.chain.tip is fork
    assert _rows(indexes) == at_fork


async def test_an_invalid_block_off_the_active_branch_changes_nothing_but_bars_its_branch(
    start_node: StartNode, log: MemoryAppendLog
) -> None:
    node = await start_node(log)
    await node.generate(TRUE, 3)
    tip = node.chain.tip
    rival = await _branch(node, node.chain.tree.active[1], 1)
    await node.invalidate_block(rival.hash)
    verdict = await node.submit_block(_block(rival))
    assert (verdict.standing, verdict.reason) == (Standing.INVALID, "bad-prevblk")
    await node.invalidate_block(REGTEST_GENESIS.hash)
    assert node.chain.tip is tip
    await node.reconsider_block(rival.hash)
    await _branch(node, rival, 2)
    assert node.chain.tip.height == 4


async def test_a_preferred_block_wins_among_equals_and_never_against_more_work(
    start_node: StartNode, log: MemoryAppendLog
) -> None:
    indexes = MemoryChainIndexes()
    node = await start_node(log, indexes)
    await node.generate(TRUE, 2)
    first, before = node.chain.tip, _rows(indexes)
    second = await _branch(node, node.chain.tree.active[1], 1)
    assert node.chain.tip is first
    await node.prefer_block(second.hash)
    assert node.chain.tip is second
    await node.prefer_block(first.hash)
    assert node.chain.tip is first
    assert _rows(indexes) == before
    await node.generate(TRUE, 1)
    tip = node.chain.tip
    await node.prefer_block(second.hash)
    assert node.chain.tip is tip


async def test_bytes_behind_a_block_are_left_as_core_leaves_them(
    start_node: StartNode, log: MemoryAppendLog
) -> None:
    node = await start_node(log)
    block = _block(node.chain.tip)
    verdict = await node.submit_raw_block(block.serialize() + b"behind")
    assert verdict.standing is Standing.VALID
    assert (await (await start_node(log)).chain.read_block(node.chain.tip)).serialize() == block.serialize()
    broken = _block(node.chain.tip).serialize()[:-1]
    verdict = await node.submit_raw_block(broken)
    assert (verdict.standing, verdict.reason) == (Standing.INVALID, "block-decode-failed")
    await node.check_health()

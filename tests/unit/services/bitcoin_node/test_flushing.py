"""The engine is flushed now and then, and a node that was killed goes on from there."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from anya_actors.adapters.bitcoinkernel.engine import KernelEngines
from anya_actors.adapters.memory.append_log import MemoryAppendLog
from anya_actors.adapters.memory.chain_index import MemoryChainIndexes
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.domain.bitcoin.block import REGTEST_BITS
from anya_actors.domain.bitcoin.block_tree import BlockNode
from anya_actors.domain.bitcoin.mining import coinbase_transaction, solve, unsolved_block
from anya_actors.domain.bitcoin.network import Network
from anya_actors.ports.append_log import AppendLog
from anya_actors.ports.consensus import Standing, Verdict
from anya_actors.services.bitcoin_node.flushing import mark_of
from anya_actors.services.bitcoin_node.journal import RECORDS, BranchReconsidered
from anya_actors.services.bitcoin_node.service import BitcoinNodeService
from anya_actors.testing.clock import ManualClock

LEFT, RIGHT = b"\x51", b"\x52"
BLOCKS_PER_FLUSH = 8


class SlowEngines(KernelEngines):
    """The real engine on disk, at which every block takes an eighth of a second."""

    def __init__(self, directory: Path, clock: ManualClock) -> None:
        super().__init__(directory, Network.REGTEST)
        self._clock = clock
        self.directory = directory
        self.judged = 0
        self.flushed = 0

    def open(self, *, wipe: bool) -> Any:
        engine: Any = super().open(wipe=wipe)
        judge, flush = engine.process_block, engine.flush

        def process_block(raw: bytes, begun: Callable[[], None] = lambda: None) -> Verdict:
            self.judged += 1
            self._clock._elapsed_s += 1 / BLOCKS_PER_FLUSH
            verdict: Verdict = judge(raw, begun)
            return verdict

        def count_flush(mark: bytes) -> None:
            self.flushed += 1
            flush(mark)

        engine.process_block, engine.flush = process_block, count_flush
        return engine


class Nodes:
    """Nodes of one journal, each on what the disk showed when the one before was killed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[BitcoinNodeService] = []
        self.engines: list[SlowEngines] = []
        self.log: AppendLog = MemoryAppendLog()

    async def start(self, directory: Path | None = None) -> BitcoinNodeService:
        clock = ManualClock()
        engines = SlowEngines(directory or self._folder / str(len(self.engines)), clock)
        self.engines.append(engines)
        node = BitcoinNodeService(
            engines=engines,
            log=self.log,
            indexes=MemoryChainIndexes(),
            clock=clock,
            randomness=SystemRandomness(),
        )
        await node.start()
        self._running.append(node)
        return node

    def kill(self) -> Path:
        """A copy of what the engine's directory holds while it is open: a kill leaves just that."""
        copy = self._folder / f"{len(self.engines)} killed"
        shutil.copytree(self.engines[-1].directory, copy)
        return copy

    def mark(self, directory: Path | None = None) -> Path:
        """Where the latest engine, or a copy of it, says what it was flushed with."""
        return (directory or self.engines[-1].directory) / "flush_mark"

    @property
    def judged(self) -> int:
        """How many blocks the latest node's engine was given."""
        return self.engines[-1].judged

    async def close(self) -> None:
        for node in self._running:
            await node.close()


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[Nodes]:
    nodes = Nodes(tmp_path)
    yield nodes
    await nodes.close()


async def test_after_a_kill_only_what_came_since_the_last_flush_is_judged_again(nodes: Nodes) -> None:
    node = await nodes.start()
    await node.generate(LEFT, 3 * BLOCKS_PER_FLUSH + 4)
    assert nodes.engines[0].flushed == 3
    again = await nodes.start(nodes.kill())
    assert nodes.judged == 4
    assert again.chain.tip.hash == node.chain.tip.hash == again.chain.index.tip
    await again.generate(LEFT, BLOCKS_PER_FLUSH)
    assert nodes.engines[-1].flushed == 1


async def test_before_the_first_flush_everything_is_judged_again(nodes: Nodes) -> None:
    node = await nodes.start()
    await node.generate(LEFT, 5)
    again = await nodes.start(nodes.kill())
    assert nodes.judged == 5
    assert again.chain.tip.hash == node.chain.tip.hash


async def test_a_replay_is_flushed_too_so_that_a_kill_does_not_undo_all_of_it(nodes: Nodes) -> None:
    await (await nodes.start()).generate(LEFT, 130)
    await nodes.start()
    assert nodes.judged == 130
    await nodes.start(nodes.kill())
    assert nodes.judged < 130


async def test_an_orderly_stop_leaves_nothing_to_judge(nodes: Nodes) -> None:
    node = await nodes.start()
    await node.generate(LEFT, 5)
    await node.chain.close()
    again = await nodes.start(nodes.kill())
    assert nodes.judged == 0
    assert again.chain.tip.hash == node.chain.tip.hash


async def test_an_engine_that_had_been_given_more_than_the_journal_holds_begins_anew(nodes: Nodes) -> None:
    node = await nodes.start()
    await node.generate(LEFT, 5)
    records = await nodes.log.read(0, len(nodes.log))
    await node.generate(LEFT, BLOCKS_PER_FLUSH)
    nodes.log = MemoryAppendLog()
    await nodes.log.append(*records)
    again = await nodes.start(nodes.kill())
    assert again.chain.tip.height == 5
    assert nodes.judged == 5


async def _rival(node: BitcoinNodeService, blocks: int) -> BlockNode:
    """A second branch on the genesis block, of as many blocks as the first."""
    parent = node.chain.tree.active[0]
    for _ in range(blocks):
        coinbase = coinbase_transaction(parent.height + 1, RIGHT, 0, [], b"rival")
        block = solve(unsolved_block(parent.hash, parent.median_time_past_s() + 1, REGTEST_BITS, (coinbase,)))
        assert block is not None
        assert (await node.submit_block(block)).standing is Standing.STORED
        parent = node.node(block.hash)
    return parent


async def test_of_branches_of_the_same_work_the_first_stays_active_over_flushes_and_kills(
    nodes: Nodes,
) -> None:
    node = await nodes.start()
    await node.generate(LEFT, BLOCKS_PER_FLUSH + 5)
    await _rival(node, BLOCKS_PER_FLUSH + 5)
    for _ in range(3):
        again = await nodes.start(nodes.kill())
        assert again.chain.tip.hash == node.chain.tip.hash


async def test_a_kill_between_a_flush_and_its_mark_loses_nothing(nodes: Nodes) -> None:
    node = await nodes.start()
    await node.generate(LEFT, BLOCKS_PER_FLUSH + 1)
    mark = nodes.mark().read_bytes()
    await node.generate(LEFT, 4)
    await node.chain.close()
    found = nodes.kill()
    nodes.mark(found).write_bytes(mark)
    again = await nodes.start(found)
    assert nodes.judged == 5
    assert again.chain.tip.hash == node.chain.tip.hash


async def test_an_engine_that_comes_back_on_another_branch_than_the_first_is_not_believed(
    nodes: Nodes,
) -> None:
    node = await nodes.start()
    await node.generate(LEFT, BLOCKS_PER_FLUSH + 1)
    first, mark = node.chain.tip.hash, nodes.mark().read_bytes()
    rival = await _rival(node, BLOCKS_PER_FLUSH + 1)
    await node.prefer_block(rival.hash)
    await node.chain.close()
    found = nodes.kill()
    nodes.mark(found).write_bytes(mark)
    again = await nodes.start(found)
    assert again.chain.tip.hash == first
    assert nodes.judged == len(node.chain.tree.not_invalidated()) * 2 - BLOCKS_PER_FLUSH


async def test_a_branch_invalidated_since_the_flush_is_not_followed(nodes: Nodes) -> None:
    node = await nodes.start()
    hashes = await node.generate(LEFT, BLOCKS_PER_FLUSH + 2)
    found = nodes.kill()
    await node.invalidate_block(hashes[4])
    again = await nodes.start(found)
    assert again.chain.tip.hash == hashes[3] == node.chain.tip.hash
    await again.reconsider_block(hashes[4])
    assert again.chain.tip.hash == hashes[-1]


async def test_a_branch_reconsidered_since_the_flush_is_judged_anew(nodes: Nodes) -> None:
    node = await nodes.start()
    hashes = await node.generate(LEFT, 5)
    await node.invalidate_block(hashes[2])
    await node.chain.close()
    found = nodes.kill()
    await nodes.log.append(RECORDS.encode(BranchReconsidered(bytes(hashes[2]))))
    assert (await nodes.start(found)).chain.tip.hash == hashes[-1]


async def test_a_block_that_the_journal_does_not_hold_is_forgotten(nodes: Nodes) -> None:
    node = await nodes.start()
    await node.generate(LEFT, 5)
    records = await nodes.log.read(0, len(nodes.log))
    await node.generate(LEFT, 1)
    await node.chain.close()
    found = nodes.kill()
    nodes.mark(found).write_bytes(mark_of(node.chain.tree.not_invalidated()[:5]))
    nodes.log = MemoryAppendLog()
    await nodes.log.append(*records)
    assert (await nodes.start(found)).chain.tip.height == 5
    assert nodes.judged == 5


async def test_an_engine_that_cannot_be_opened_is_built_anew(nodes: Nodes) -> None:
    node = await nodes.start()
    await node.generate(LEFT, 5)
    await node.chain.close()
    found = nodes.kill()
    (found / "chainstate" / "CURRENT").write_bytes(b"nothing that is there\n")
    again = await nodes.start(found)
    assert again.chain.tip.hash == node.chain.tip.hash
    assert nodes.judged == 5

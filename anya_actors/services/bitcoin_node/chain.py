"""The chain: the consensus engine, the journal of blocks, and the indexes, kept in step.

Order of every change: the engine judges the block, the journal keeps it, the indexes follow the
engine's tip, the caller hears of it. A crash in between loses nothing that anybody heard of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from anya_actors.domain.bitcoin.block import Block, parse_block, parse_start
from anya_actors.domain.bitcoin.block_tree import BlockNode, BlockTree
from anya_actors.domain.bitcoin.coin import Coin
from anya_actors.domain.bitcoin.coin_index import CoinIndex
from anya_actors.domain.bitcoin.genesis import REGTEST_GENESIS
from anya_actors.domain.bitcoin.hashes import BlockHash
from anya_actors.domain.bitcoin.transaction import Transaction, TxOutput
from anya_actors.ports.consensus import (
    ConsensusEngine,
    ConsensusEngines,
    EngineFailedError,
    Standing,
    Verdict,
)
from anya_actors.services.bitcoin_node.journal import (
    BlockKept,
    BranchInvalidated,
    BranchReconsidered,
    Journal,
)

T = TypeVar("T")

_CACHED_BLOCKS: Final = 16
_BATCH: Final = 64


@dataclass(frozen=True, slots=True)
class ChainChange:
    """How the active branch changed: highest block first, then lowest block first."""

    disconnected: tuple[Block, ...] = ()
    connected: tuple[Block, ...] = ()


class Chain:
    """Every known block and the state that the active ones lead to. Callers take turns."""

    def __init__(self, engines: ConsensusEngines, journal: Journal) -> None:
        self._engines = engines
        self._journal = journal
        self._engine: ConsensusEngine | None = None
        self.has_failed = False
        # The kernel is called by this one thread, so the event loop never waits for it.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="consensus")
        self._recent: dict[BlockHash, Block] = {}
        genesis = BlockNode(
            REGTEST_GENESIS.header, None, transactions=1, size=REGTEST_GENESIS.size, position=-1
        )
        self.tree = BlockTree(genesis)
        self.index = CoinIndex()

    @property
    def tip(self) -> BlockNode:
        return self.tree.tip

    @property
    def is_open(self) -> bool:
        return self._engine is not None

    async def _run(self, call: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)

    def _opened(self) -> ConsensusEngine:
        if self._engine is None:
            raise EngineFailedError("answer", "it is closed")
        return self._engine

    # Opening and closing

    async def note_block(self, raw: bytes, position: int) -> None:
        """Take a block found in the journal, before `open`."""
        header, transactions = parse_start(raw)
        self.tree.add(header, transactions=transactions, size=len(raw), position=position)

    async def open(self, *, clean: bool) -> None:
        """Open the engine and build the indexes; replay all blocks unless the last stop was clean."""
        if clean:
            self._engine = await self._run(lambda: self._engines.open(wipe=False))
            tip_hash, _ = await self._run(self._engine.tip)
            if tip_hash in self.tree.nodes and not self.tree.is_invalidated(self.tree.nodes[tip_hash]):
                await self._follow()
                return
            await self._run(self._engine.close)
        await self._replay()
        await self._follow()

    async def _replay(self) -> None:
        """Give a wiped engine every block of the journal, in the order they came."""
        engine = await self._run(lambda: self._engines.open(wipe=True))
        for nodes in _batches(self.tree.not_invalidated()):
            await self._run(_process_all, engine, await self._read_blocks(nodes))
        self._engine = engine

    async def close(self) -> None:
        """Flush and release the engine."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await self._run(engine.close)
        self._thread.shutdown(wait=False)

    # Reading

    async def read_block(self, node: BlockNode) -> Block:
        """The whole block."""
        if node.position < 0:
            return REGTEST_GENESIS
        block = self._recent.get(node.hash)
        if block is None:
            (block,) = await self._read_blocks([node])
            self._remember(block)
        return block

    async def _read_blocks(self, nodes: Sequence[BlockNode]) -> list[Block]:
        """Blocks in the order of their positions, read in one go."""
        if len(nodes) == 1 and nodes[0].hash in self._recent:
            return [self._recent[nodes[0].hash]]
        first, last = nodes[0].position, nodes[-1].position
        records = await self._journal.read(first, last)
        blocks = []
        for node in nodes:
            record = records[node.position - first]
            if not isinstance(record, BlockKept):
                raise EngineFailedError("read a block", f"record {node.position} is no block")
            blocks.append(parse_block(record.raw))
        return blocks

    def _remember(self, block: Block) -> None:
        self._recent[block.hash] = block
        while len(self._recent) > _CACHED_BLOCKS:
            del self._recent[next(iter(self._recent))]

    async def spent_coins(self, node: BlockNode) -> tuple[tuple[Coin, ...], ...]:
        """The coins that each transaction of the block spent, its coinbase left out."""
        return await self._run(self._opened().spent_coins, node.hash)

    async def verify_scripts(self, transaction: Transaction, spent: list[TxOutput]) -> None:
        """Raises `RejectedTransactionError`."""
        await self._run(self._opened().verify_scripts, transaction, spent)

    # Changing

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Memory must not be served from after what is done here broke off: a new start is needed."""
        try:
            yield
        except BaseException:
            self.has_failed = True
            raise

    async def submit(self, block: Block) -> tuple[Verdict, ChainChange]:
        """Judge a block and follow it if it makes the best chain; durable when it returns."""
        if block.header.previous not in self.tree.nodes:
            return Verdict(Standing.INVALID, reason="prev-blk-not-found"), ChainChange()
        if block.hash in self.tree.nodes:
            return self._known_again(block), ChainChange()
        if self.tree.is_invalidated(self.tree.nodes[block.header.previous]):
            return Verdict(Standing.INVALID, reason="bad-prevblk"), ChainChange()
        with self.whole():
            verdict = await self._run(self._opened().process_block, block)
        if verdict.standing is Standing.INVALID:
            return verdict, ChainChange()
        raw = block.serialize()
        try:
            position = await self._journal.append(BlockKept(raw))
        except BaseException:
            # The engine knows a block that the journal does not: build it anew from the journal.
            await self._rebuild()
            raise
        self.tree.add(block.header, transactions=len(block.transactions), size=len(raw), position=position)
        self._remember(block)
        with self.whole():
            return verdict, await self._follow()

    def _known_again(self, block: Block) -> Verdict:
        node = self.tree.nodes[block.hash]
        if self.tree.is_invalidated(node):
            return Verdict(Standing.INVALID, is_new=False, reason="duplicate-invalid")
        standing = Standing.VALID if self.tree.is_active(node) else Standing.STORED
        return Verdict(standing, is_new=False)

    async def invalidate(self, node: BlockNode) -> ChainChange:
        """Leave the branch of this block for ever, or until it is reconsidered."""
        await self._journal.append(BranchInvalidated(bytes(node.hash)))
        with self.whole():
            # The coins to restore are known only to the engine that connected the blocks.
            disconnected = await self._disconnect_from(node) if self.tree.is_active(node) else ()
            self.tree.invalidated.add(node.hash)
            return await self._choose_anew(disconnected)

    async def reconsider(self, node: BlockNode) -> ChainChange:
        """Forget that this block, an ancestor or a descendant of it was declared invalid."""
        line = {found.hash for found in node.branch()}
        doubted = [
            block_hash
            for block_hash in self.tree.invalidated
            if block_hash in line or node in self.tree.nodes[block_hash].branch()
        ]
        await self._journal.append(*(BranchReconsidered(bytes(block_hash)) for block_hash in doubted))
        self.tree.invalidated.difference_update(doubted)
        with self.whole():
            return await self._choose_anew(())

    async def _choose_anew(self, disconnected: tuple[Block, ...]) -> ChainChange:
        """Let a fresh engine choose among all branches, just as it would after a crash."""
        above = self.tree.child_on_active(self.tree.deepest_fork())
        if above is not None:
            disconnected += await self._disconnect_from(above)
        await self._rebuild()
        change = await self._follow()
        return ChainChange(disconnected + change.disconnected, change.connected)

    async def _rebuild(self) -> None:
        engine = self._opened()
        self._engine = None
        await self._run(engine.close)
        await self._replay()

    async def _follow(self) -> ChainChange:
        """Bring the indexes to the engine's tip."""
        tip_hash, _ = await self._run(self._opened().tip)
        target = self.tree.nodes[tip_hash]
        away, ahead = self.tree.path_to(target)
        disconnected = await self._disconnect_from(away[-1]) if away else ()
        connected: list[Block] = []
        for nodes in _batches(ahead):
            blocks = await self._read_blocks(nodes)
            for node, block in zip(nodes, blocks, strict=True):
                self.index.connect(block, node.height)
                self.tree.push(node)
            connected += blocks
        return ChainChange(disconnected, tuple(connected))

    async def _disconnect_from(self, lowest: BlockNode) -> tuple[Block, ...]:
        """Take this block and all above it off the active branch, highest first."""
        blocks: list[Block] = []
        while self.tree.is_active(lowest):
            node = self.tip
            block, spent = await self.read_block(node), await self.spent_coins(node)
            self.index.disconnect(block, spent)
            self.tree.pop()
            blocks.append(block)
        return tuple(blocks)


def _batches(nodes: Sequence[BlockNode]) -> Iterator[Sequence[BlockNode]]:
    for start in range(0, len(nodes), _BATCH):
        yield nodes[start : start + _BATCH]


def _process_all(engine: ConsensusEngine, blocks: Sequence[Block]) -> None:
    """Give blocks again; what was refused then is refused now."""
    for block in blocks:
        engine.process_block(block)

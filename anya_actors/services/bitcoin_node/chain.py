"""The chain: the consensus engine, the journal of blocks, and the indexes, kept in step.

Order of every change: the engine judges the block, the journal keeps it, the indexes follow the
engine's tip, the caller hears of it. A crash in between loses nothing that anybody heard of: the
engine and the indexes are only views of the journal, and each finds its way from where it stands.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from anya_actors.domain.bitcoin.block import Block, BlockHeader, parse_leading_block, parse_start
from anya_actors.domain.bitcoin.block_tree import BlockNode, BlockTree
from anya_actors.domain.bitcoin.coin import Coin
from anya_actors.domain.bitcoin.genesis import REGTEST_GENESIS
from anya_actors.domain.bitcoin.index_changes import IndexDamagedError
from anya_actors.domain.bitcoin.transaction import Transaction, TxOutput
from anya_actors.domain.machine import UnavailableError
from anya_actors.ports.chain_index import ChainIndexStores
from anya_actors.ports.consensus import (
    ConsensusEngine,
    ConsensusEngines,
    EngineFailedError,
    Standing,
    Verdict,
)
from anya_actors.services.bitcoin_node.chain_index import ChainIndex, PreparedChange
from anya_actors.services.bitcoin_node.flushing import Judging, is_where_it_should_be, lacking, mark_of
from anya_actors.services.bitcoin_node.journal import (
    BlockKept,
    BranchInvalidated,
    BranchReconsidered,
    Journal,
)
from anya_actors.services.bitcoin_node.kept_blocks import KeptBlocks, collector_resting, parse_all, parts
from anya_actors.services.bitcoin_node.node_clock import NodeClock

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ChainChange:
    """How the active branch changed: highest block first, then lowest block first."""

    disconnected: tuple[Block, ...] = ()
    connected: tuple[Block, ...] = ()


@dataclass(frozen=True, slots=True)
class _Arrival:
    """A block that came, parsed; with its change of the indexes if it follows the tip."""

    block: Block
    change: PreparedChange | None


class Chain:
    """Every known block and the state that the active ones lead to. Callers take turns."""

    def __init__(
        self, engines: ConsensusEngines, journal: Journal, indexes: ChainIndexStores, clock: NodeClock
    ) -> None:
        self._engines = engines
        self._clock = clock
        self._judging = Judging(clock)
        self._journal = journal
        self._indexes = indexes
        self._engine: ConsensusEngine | None = None
        self._index: ChainIndex | None = None
        self.has_failed = False
        # The kernel is called by one thread, so the event loop never waits for it; the other
        # parses and works out changes of the indexes meanwhile.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="consensus")
        self._second = ThreadPoolExecutor(max_workers=1, thread_name_prefix="indexes")
        self._blocks = KeptBlocks(journal, lambda raw: self._aside(parse_all, raw))
        genesis = BlockNode(
            REGTEST_GENESIS.header, None, transactions=1, size=REGTEST_GENESIS.size, position=-1
        )
        self.tree = BlockTree(genesis)

    @property
    def tip(self) -> BlockNode:
        return self.tree.tip

    @property
    def is_open(self) -> bool:
        return self._engine is not None

    @property
    def index(self) -> ChainIndex:
        """Every look-up in the active branch; raises `UnavailableError` before `open`."""
        if self._index is None:
            raise UnavailableError("the embedded Bitcoin node", "its indexes are not open")
        return self._index

    async def _run(self, call: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)

    async def _aside(self, call: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._second, call, *arguments)

    def _opened(self) -> ConsensusEngine:
        if self._engine is None:
            raise EngineFailedError("answer", "it is closed")
        return self._engine

    # Opening and closing

    async def note_block(self, raw: bytes, position: int) -> None:
        """Take a block found in the journal, before `open`."""
        header, transactions = parse_start(raw)
        self.tree.add(header, transactions=transactions, size=len(raw), position=position)

    async def open(self) -> None:
        """Open engine and indexes; replay to the engine the blocks that it was not flushed with."""
        self._index = await self._aside(lambda: ChainIndex(self._indexes.open()))
        await self._open_engine()
        stands_at = self.tree.nodes.get(self.index.tip)
        try:
            # Unknown: the journal was put back from a backup that is older than the indexes.
            if stands_at is None:
                raise IndexDamagedError("they stand at a block that the journal does not hold")
            self.tree.activate(stands_at)
            await self._follow(keep=False)
        except IndexDamagedError:
            self.index.begin_anew()
            self.tree.activate(self.tree.active[0])
            await self._follow(keep=False)
        for node in self.tree.nodes.values():
            node.was_active = self.tree.is_active(node) or self.index.block_filter(node.hash) is not None

    def follow_clock(self) -> None:
        """Let the engine judge new blocks by the node's clock."""
        self._engines.set_time(self._clock.mocked_s)

    @contextmanager
    def _time_of_all(self) -> Iterator[None]:
        """What was judged at a time that a test had set is judged again as if none came from the future."""
        latest_s = max(node.header.time_s for node in self.tree.nodes.values())
        if latest_s > self._clock.now_s():
            self._engines.set_time(latest_s)
        try:
            yield
        finally:
            self.follow_clock()

    async def _open_engine(self) -> None:
        self.follow_clock()
        with self._time_of_all():
            await self._open_or_replay()

    async def _open_or_replay(self) -> None:
        try:
            engine = await self._run(lambda: self._engines.open(wipe=False))
        except EngineFailedError:
            # It is only a view of the journal.
            return await self._replay()
        if engine.mark is None:
            return await self._fill(engine)
        nodes = self.tree.not_invalidated()
        rest = lacking(engine.mark, nodes)
        if rest is not None:
            await self._give(engine, rest)
            tip, _ = await self._run(engine.tip)
            if is_where_it_should_be(tip, self.tree, caught_up=bool(rest)):
                self._engine = engine
                return None
        await self._run(engine.close)
        return await self._replay()

    async def _replay(self, first: Sequence[BlockNode] = ()) -> None:
        """Give a wiped engine every block of the journal in the order they came, some before all others."""
        await self._fill(await self._run(lambda: self._engines.open(wipe=True)), first)

    async def _fill(self, engine: ConsensusEngine, first: Sequence[BlockNode] = ()) -> None:
        early = set(first)
        await self._give(engine, first, ())
        await self._give(engine, [node for node in self.tree.not_invalidated() if node not in early], first)
        self._engine = engine

    async def _give(
        self, engine: ConsensusEngine, nodes: Sequence[BlockNode], before: Sequence[BlockNode] | None = None
    ) -> None:
        """Give blocks of the journal to an engine; one that is known to have those before is flushed too."""
        count = 0
        for some in parts(nodes):
            await self._run(self._judging.process_all, engine, await self._blocks.raw(some))
            count += len(some)
            if before is not None and self._judging.is_flush_due:
                mark = mark_of([*before, *nodes[:count]])
                await self._run(self._judging.flush, engine, mark)

    async def close(self) -> None:
        """Flush and release the engine and the indexes."""
        engine, self._engine = self._engine, None
        if engine is not None:
            mark = None if self.has_failed else mark_of(self.tree.not_invalidated())
            await self._run(engine.close, mark)
            self._engines.set_time(0)
        index, self._index = self._index, None
        if index is not None:
            await self._aside(index.close)
        self._thread.shutdown(wait=False)
        self._second.shutdown(wait=False)

    # Reading

    async def read_block(self, node: BlockNode) -> Block:
        """The whole block."""
        return await self._blocks.one(node)

    async def spent_coins(self, node: BlockNode) -> tuple[tuple[Coin, ...], ...]:
        """The coins that each transaction of the block spent, its coinbase left out.

        Raises `KeyError` for a block that never was connected.
        """
        if self.tree.is_active(node):
            block = await self.read_block(node)
            if self.tree.is_active(node):
                return self.index.spent_by(block)
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

    async def submit(self, raw: bytes, block: Block | None = None) -> tuple[Verdict, ChainChange]:
        """Judge a block and follow it if it makes the best chain; durable when it returns.

        ``block`` is ``raw`` parsed, if the caller has it. Bytes behind the block are ignored, as
        by Core. Raises `MalformedBlockError` if there is no header.
        """
        header, _ = parse_start(raw)
        refusal = self._refusal(header)
        if refusal is not None:
            return refusal, ChainChange()
        with self.whole():
            if self._judging.is_flush_due:
                mark = mark_of(self.tree.not_invalidated())
                with self._time_of_all():
                    await self._run(self._judging.flush, self._opened(), mark)
            verdict, arrival = await self._judge(raw, block, header)
        if arrival is None:
            return verdict, ChainChange()
        block = arrival.block
        try:
            position = await self._journal.append(BlockKept(block.serialize()))
        except BaseException:
            # The engine knows a block that the journal does not: build it anew from the journal.
            await self._rebuild()
            raise
        count = len(block.transactions)
        node = self.tree.add(header, transactions=count, size=block.size, position=position)
        self._blocks.remember(block)
        with self.whole():
            if verdict.standing is Standing.VALID and arrival.change is not None:
                self._connect(node, arrival.change)
                return verdict, ChainChange(connected=(block,))
            return verdict, await self._follow()

    def _refusal(self, header: BlockHeader) -> Verdict | None:
        """The answer to a block that the engine need not see."""
        node = self.tree.nodes.get(header.hash)
        parent = self.tree.nodes.get(header.previous)
        if node is not None:
            if self.tree.is_invalidated(node):
                return Verdict(Standing.INVALID, is_new=False, reason="duplicate-invalid")
            standing = Standing.VALID if self.tree.is_active(node) else Standing.STORED
            return Verdict(standing, is_new=False)
        if parent is None:
            return Verdict(Standing.INVALID, reason="prev-blk-not-found")
        if self.tree.is_invalidated(parent):
            return Verdict(Standing.INVALID, reason="bad-prevblk")
        return None

    async def _judge(
        self, raw: bytes, block: Block | None, header: BlockHeader
    ) -> tuple[Verdict, _Arrival | None]:
        """Let the engine judge; meanwhile, without the engine's word, prepare what a yes will need."""
        is_next = header.previous == self.tip.hash
        begun = threading.Event()
        judged, prepared = await asyncio.gather(
            self._run(self._judging.process, self._opened(), raw, begun),
            self._aside(self._prepare, raw, block, is_next, begun),
            return_exceptions=True,
        )
        if isinstance(judged, BaseException):
            raise judged
        if judged.standing is Standing.INVALID:
            return judged, None
        if isinstance(prepared, BaseException):
            raise prepared
        return judged, prepared

    def _prepare(self, raw: bytes, block: Block | None, is_next: bool, begun: threading.Event) -> _Arrival:
        # Each of the engine's many short calls before that would wait for this thread to yield.
        begun.wait()
        with collector_resting():
            block = block or parse_leading_block(raw)
            return _Arrival(block, self.index.prepare_connect(block) if is_next else None)

    async def invalidate(self, node: BlockNode) -> ChainChange:
        """Leave the branch of this block for ever, or until it is reconsidered."""
        if node.parent is None:
            return ChainChange()  # as in Core, which keeps the genesis block without a word
        await self._journal.append(BranchInvalidated(bytes(node.hash)))
        self.tree.invalidated.add(node.hash)
        if not self.tree.is_active(node):
            return ChainChange()
        with self.whole():
            await self._rebuild()
            return await self._follow()

    async def reconsider(self, node: BlockNode) -> ChainChange:
        """Forget that this block, an ancestor or a descendant of it was declared invalid."""
        line = {found.hash for found in node.branch()}
        doubted = [
            block_hash
            for block_hash in self.tree.invalidated
            if block_hash in line or node in self.tree.nodes[block_hash].branch()
        ]
        if not doubted:
            return ChainChange()
        await self._journal.append(*(BranchReconsidered(bytes(block_hash)) for block_hash in doubted))
        self.tree.invalidated.difference_update(doubted)
        with self.whole():
            await self._rebuild()
            return await self._follow()

    async def prefer(self, node: BlockNode) -> ChainChange:
        """Choose this block's branch among those of equal work, until the engine is opened anew."""
        if node.work < self.tip.work or self.tree.is_active(node) or self.tree.is_invalidated(node):
            return ChainChange()
        with self.whole():
            await self._rebuild([*node.branch()][-2::-1])
            return await self._follow()

    async def _rebuild(self, first: Sequence[BlockNode] = ()) -> None:
        """Let a fresh engine choose among all branches, just as it would after a crash."""
        engine = self._opened()
        self._engine = None
        with self._time_of_all():
            await self._run(engine.close)
            await self._replay(first)

    async def _follow(self, *, keep: bool = True) -> ChainChange:
        """Bring the indexes to the engine's tip; the answer is empty unless its blocks are to be kept."""
        tip_hash, _ = await self._run(self._opened().tip)
        away, ahead = self.tree.path_to(self.tree.nodes[tip_hash])
        disconnected: list[Block] = []
        connected: list[Block] = []
        for node in away:
            block = await self.read_block(node)
            change = await self._aside(self.index.prepare_disconnect, block)
            self.index.apply(change)
            self.tree.pop()
            disconnected += [block] if keep else []
        for nodes in parts(ahead):
            blocks = await self._blocks.many(nodes)
            for node, block in zip(nodes, blocks, strict=True):
                self._connect(node, await self._aside(self.index.prepare_connect, block))
            connected += blocks if keep else []
        return ChainChange(tuple(disconnected), tuple(connected))

    def _connect(self, node: BlockNode, change: PreparedChange) -> None:
        # In the event loop and without an await: whoever reads finds tree and rows at one block.
        self.index.apply(change)
        self.tree.push(node)

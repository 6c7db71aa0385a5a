"""The blocks of the journal: read in parts that memory can hold, the latest ones remembered."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from anya_actors.domain.bitcoin.block import Block, parse_leading_block
from anya_actors.domain.bitcoin.block_tree import BlockNode
from anya_actors.domain.bitcoin.genesis import REGTEST_GENESIS
from anya_actors.domain.bitcoin.hashes import BlockHash
from anya_actors.ports.consensus import EngineFailedError
from anya_actors.services.bitcoin_node.journal import BlockKept, Journal

_CACHED_BLOCKS: Final = 16
_CACHED_SIZE: Final = 1 << 20
"""Of the raw blocks; parsed they take some ten times as much."""
_BATCH_BLOCKS: Final = 64
_BATCH_SIZE: Final = 4 << 20

Parse = Callable[[Sequence[bytes]], Awaitable[list[Block]]]


class KeptBlocks:
    """Reads blocks by their nodes. ``parse`` does what `parse_all` does, elsewhere than in the event loop."""

    def __init__(self, journal: Journal, parse: Parse) -> None:
        self._journal = journal
        self._parse = parse
        self._recent: dict[BlockHash, Block] = {}

    async def one(self, node: BlockNode) -> Block:
        """The whole block."""
        if node.position < 0:
            return REGTEST_GENESIS
        block = self._recent.get(node.hash)
        if block is None:
            (block,) = await self.many([node])
            self.remember(block)
        return block

    async def many(self, nodes: Sequence[BlockNode]) -> list[Block]:
        """Blocks in the order of their positions, read in one go."""
        if len(nodes) == 1 and nodes[0].hash in self._recent:
            return [self._recent[nodes[0].hash]]
        return await self._parse(await self.raw(nodes))

    async def raw(self, nodes: Sequence[BlockNode]) -> list[bytes]:
        """The same as bytes."""
        first, last = nodes[0].position, nodes[-1].position
        records = await self._journal.read(first, last)
        found = []
        for node in nodes:
            record = records[node.position - first]
            if not isinstance(record, BlockKept):
                raise EngineFailedError("read a block", f"record {node.position} is no block")
            found.append(record.raw)
        return found

    def remember(self, block: Block) -> None:
        """Keep it in memory, and forget older ones."""
        recent = self._recent
        recent[block.hash] = block
        while len(recent) > 1 and (
            len(recent) > _CACHED_BLOCKS or sum(found.size for found in recent.values()) > _CACHED_SIZE
        ):
            del recent[next(iter(recent))]


def parts(nodes: Sequence[BlockNode]) -> Iterator[Sequence[BlockNode]]:
    """What is read in one go; large blocks make small parts."""
    start = size = 0
    for at, node in enumerate(nodes):
        if at > start and (at - start == _BATCH_BLOCKS or size + node.size > _BATCH_SIZE):
            yield nodes[start:at]
            start, size = at, 0
        size += node.size
    if start < len(nodes):
        yield nodes[start:]


def parse_all(blocks: Sequence[bytes]) -> list[Block]:
    """Each of them parsed."""
    with collector_resting():
        return [parse_leading_block(raw) for raw in blocks]


@contextmanager
def collector_resting() -> Iterator[None]:
    """Nothing of a block or its rows is cyclic, but the collector would walk it again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()

"""Every block known, as a tree, and the one branch that is active."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from anya_actors.domain.bitcoin.block import HEADER_SIZE, BlockHeader, parse_header, work_of
from anya_actors.domain.bitcoin.hashes import BlockHash

_TIME: Final = struct.Struct("<I")
_TIME_OFFSET: Final = 68
_FACTS: Final = struct.Struct("<qII")


class BlockNode:
    """A block's place in the tree. ``position`` says where its bytes are kept (-1: genesis).

    ``was_active`` tells that it was checked in full, when it was connected. There is a node for
    every block that ever came, so what is rarely asked for lies packed in bytes.
    """

    __slots__ = ("_packed", "hash", "height", "parent", "was_active", "work")

    def __init__(
        self, header: BlockHeader, parent: BlockNode | None, *, transactions: int, size: int, position: int
    ) -> None:
        self.hash: BlockHash = header.hash
        self.parent = parent
        self.height: int = 0 if parent is None else parent.height + 1
        self.work: int = work_of(header.bits) + (0 if parent is None else parent.work)
        self.was_active = parent is None
        self._packed = header.serialize() + _FACTS.pack(position, size, transactions)

    @property
    def header(self) -> BlockHeader:
        return parse_header(self._packed[:HEADER_SIZE])

    @property
    def time_s(self) -> int:
        return int(_TIME.unpack_from(self._packed, _TIME_OFFSET)[0])

    @property
    def position(self) -> int:
        return int(_FACTS.unpack_from(self._packed, HEADER_SIZE)[0])

    @property
    def size(self) -> int:
        """Bytes of the block with witnesses."""
        return int(_FACTS.unpack_from(self._packed, HEADER_SIZE)[1])

    @property
    def transactions(self) -> int:
        """How many there are, the coinbase among them."""
        return int(_FACTS.unpack_from(self._packed, HEADER_SIZE)[2])

    def branch(self) -> Iterator[BlockNode]:
        """This block and its ancestors, down to the genesis block."""
        node: BlockNode | None = self
        while node is not None:
            yield node
            node = node.parent

    def median_time_past_s(self) -> int:
        """The median time of this block and the ten before it (BIP113)."""
        times = sorted(node.time_s for node, _ in zip(self.branch(), range(11), strict=False))
        return times[len(times) // 2]


class BlockTree:
    """All known blocks. ``active`` holds the active branch by height."""

    def __init__(self, genesis: BlockNode) -> None:
        self.nodes: dict[BlockHash, BlockNode] = {genesis.hash: genesis}
        self.active: list[BlockNode] = [genesis]
        self.active_transactions = genesis.transactions
        self.total_size = genesis.size
        self.best_height = 0
        self.invalidated: set[BlockHash] = set()
        self._ends: dict[BlockHash, BlockNode] = {genesis.hash: genesis}

    @property
    def tip(self) -> BlockNode:
        return self.active[-1]

    def add(self, header: BlockHeader, *, transactions: int, size: int, position: int) -> BlockNode:
        """Take a block whose parent is known; raises ``KeyError`` for any other."""
        known = self.nodes.get(header.hash)
        if known is not None:
            return known
        node = BlockNode(
            header, self.nodes[header.previous], transactions=transactions, size=size, position=position
        )
        self.nodes[header.hash] = node
        self._ends.pop(header.previous, None)
        self._ends[node.hash] = node
        self.total_size += size
        self.best_height = max(self.best_height, node.height)
        return node

    def is_active(self, node: BlockNode) -> bool:
        return node.height < len(self.active) and self.active[node.height] is node

    def child_on_active(self, node: BlockNode) -> BlockNode | None:
        """The next block of the active branch, or None at its end and off it."""
        if self.is_active(node) and node.height + 1 < len(self.active):
            return self.active[node.height + 1]
        return None

    def is_invalidated(self, node: BlockNode) -> bool:
        """Whether a person marked it or one of its ancestors invalid."""
        return bool(self.invalidated) and any(found.hash in self.invalidated for found in node.branch())

    def not_invalidated(self) -> list[BlockNode]:
        """All blocks but the genesis block and the invalidated branches, in the order they came."""
        doubted = set(self.invalidated)
        found: list[BlockNode] = []
        for node in sorted(self.nodes.values(), key=lambda node: node.position):
            if node.parent is None:
                continue
            if node.hash in doubted or node.parent.hash in doubted:
                doubted.add(node.hash)
            else:
                found.append(node)
        return found

    def path_to(self, tip: BlockNode) -> tuple[list[BlockNode], list[BlockNode]]:
        """What to disconnect, highest first, and what to connect, lowest first, to make it the tip."""
        connect: list[BlockNode] = []
        for node in tip.branch():
            if self.is_active(node):
                fork = node
                break
            connect.append(node)
        disconnect = self.active[fork.height + 1 :]
        return disconnect[::-1], connect[::-1]

    def activate(self, tip: BlockNode) -> None:
        """Make the branch that ends there the active one."""
        away, ahead = self.path_to(tip)
        for _ in away:
            self.pop()
        for node in ahead:
            self.push(node)

    def push(self, node: BlockNode) -> None:
        """Put the block on top of the active branch."""
        if node.parent is not self.tip:
            raise ValueError("a block is connected only to its parent")
        node.was_active = True
        self.active.append(node)
        self.active_transactions += node.transactions

    def pop(self) -> BlockNode:
        """Take the tip off the active branch; the genesis block stays."""
        if len(self.active) == 1:
            raise ValueError("the genesis block cannot be disconnected")
        node = self.active.pop()
        self.active_transactions -= node.transactions
        return node

    def tips(self) -> list[BlockNode]:
        """Every block without children, and the active tip."""
        ends = list(self._ends.values())
        return ends if self.tip in ends else [*ends, self.tip]

"""Every block known, as a tree, and the one branch that is active."""

from __future__ import annotations

from collections.abc import Iterator

from anya_actors.domain.bitcoin.block import BlockHeader, work_of
from anya_actors.domain.bitcoin.hashes import BlockHash


class BlockNode:
    """A block's place in the tree. ``position`` says where its bytes are kept (-1: genesis).

    ``was_active`` tells that it was checked in full, when it was connected.
    """

    __slots__ = ("header", "height", "parent", "position", "size", "transactions", "was_active", "work")

    def __init__(
        self, header: BlockHeader, parent: BlockNode | None, *, transactions: int, size: int, position: int
    ) -> None:
        self.header = header
        self.parent = parent
        self.height: int = 0 if parent is None else parent.height + 1
        self.work: int = work_of(header.bits) + (0 if parent is None else parent.work)
        self.transactions = transactions
        self.size = size
        self.position = position
        self.was_active = parent is None

    @property
    def hash(self) -> BlockHash:
        return self.header.hash

    def branch(self) -> Iterator[BlockNode]:
        """This block and its ancestors, down to the genesis block."""
        node: BlockNode | None = self
        while node is not None:
            yield node
            node = node.parent

    def median_time_past_s(self) -> int:
        """The median time of this block and the ten before it (BIP113)."""
        times = sorted(node.header.time_s for node, _ in zip(self.branch(), range(11), strict=False))
        return times[len(times) // 2]


class BlockTree:
    """All known blocks. ``active`` holds the active branch by height; it changes by `activate`."""

    def __init__(self, genesis: BlockNode) -> None:
        self.nodes: dict[BlockHash, BlockNode] = {genesis.hash: genesis}
        self.active: list[BlockNode] = [genesis]
        self.active_transactions = genesis.transactions
        self.total_size = genesis.size
        self.best_height = 0
        self.invalidated: set[BlockHash] = set()
        self._parents: set[BlockHash] = set()

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
        self._parents.add(header.previous)
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

    def deepest_fork(self) -> BlockNode:
        """The highest active block that every branch not invalidated, the active one too, goes through."""
        fork = self.tip
        for node in self.tips():
            if not self.is_invalidated(node):
                joined = next(found for found in node.branch() if self.is_active(found))
                fork = min(fork, joined, key=lambda found: found.height)
        return fork

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
        ends = [node for block_hash, node in self.nodes.items() if block_hash not in self._parents]
        return ends if self.tip in ends else [*ends, self.tip]

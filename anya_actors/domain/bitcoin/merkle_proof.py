"""Proofs that a block contains a transaction: single branches, and the partial trees of BIP37.

The bytes of a `MerkleBlock` are those of Core's ``gettxoutproof``. Both checks know the tricks that
Bitcoin's merkle tree invites: doubled last hashes (CVE-2012-2459) are refused here; transactions of 64
bytes that look like inner nodes (CVE-2017-12842) need the coinbase's branch, which `spv` checks.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from anya_actors.domain.bitcoin.block import HEADER_SIZE, MAX_BLOCK_WEIGHT, BlockHeader, parse_header
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.wire import Reader, TruncatedError, compact_size, prefixed, sha256d, u32
from anya_actors.domain.machine import InvalidInputError

MAX_TRANSACTIONS: Final = MAX_BLOCK_WEIGHT // 240
"""No block holds more: a transaction weighs 240 units at least (Core, ``consensus.h``)."""
_MAX_DEPTH: Final = 32


class MerkleProofError(InvalidInputError):
    """A proof that proves nothing."""

    code = "invalid-merkle-proof"
    message = "{} is not valid: {}"
    remedy = "Ask for the proof again, from another source if it fails again."


@dataclass(frozen=True)
class MerkleBranch:
    """The hashes beside the way from one transaction up to the root. ``index`` is its place in the block."""

    index: int
    hashes: tuple[bytes, ...]

    @property
    def depth(self) -> int:
        return len(self.hashes)

    def root(self, txid: bytes) -> bytes:
        """The root that the branch leads to; raises `MerkleProofError` for a branch that cannot be one."""
        if not 0 <= self.index < 1 << self.depth or self.depth > _MAX_DEPTH:
            raise MerkleProofError("the branch", f"place {self.index} does not exist at depth {self.depth}")
        node, position = bytes(txid), self.index
        for other in self.hashes:
            if len(other) != 32:
                raise MerkleProofError("the branch", "one of its hashes does not have 32 bytes")
            if position & 1:
                if other == node:
                    # The second half of a doubled pair: a place that the block does not have.
                    raise MerkleProofError("the branch", "it proves a doubled transaction (CVE-2012-2459)")
                node = sha256d(other + node)
            else:
                node = sha256d(node + other)
            position >>= 1
        return node

    def verify(self, txid: bytes, merkle_root: bytes) -> None:
        """Return if the branch leads from the transaction to this root; raise `MerkleProofError`."""
        if self.root(txid) != merkle_root:
            raise MerkleProofError("the branch", "it leads to another merkle root")


def make_branch(txids: Sequence[bytes], index: int) -> MerkleBranch:
    """The branch of one of a block's transactions; raises `MerkleProofError` for a place it does not have."""
    if not 0 <= index < len(txids):
        raise MerkleProofError("the place", f"the block has {len(txids)} transactions")
    hashes, position = [], index
    for level in _levels(txids)[:-1]:
        other = position ^ 1
        hashes.append(level[other] if other < len(level) else level[position])
        position >>= 1
    return MerkleBranch(index, tuple(hashes))


def _levels(txids: Sequence[bytes]) -> list[list[bytes]]:
    """The whole tree from the leaves to the root, without doubled hashes."""
    levels = [[bytes(txid) for txid in txids]]
    while len(levels[-1]) > 1:
        level = levels[-1]
        even = level if len(level) % 2 == 0 else [*level, level[-1]]
        levels.append([sha256d(even[at] + even[at + 1]) for at in range(0, len(even), 2)])
    return levels


@dataclass(frozen=True)
class PartialMerkleTree:
    """As much of a block's tree as it takes to show some of its transactions (BIP37).

    ``hashes`` and ``bits`` are in the order of a walk from the root, left before right.
    """

    transactions: int
    hashes: tuple[bytes, ...]
    bits: tuple[bool, ...]

    @cached_property
    def _walked(self) -> tuple[bytes, tuple[tuple[int, Txid], ...]]:
        return _Walk(self).result()

    @property
    def root(self) -> bytes:
        """The merkle root it proves; raises `MerkleProofError` for a tree that proves none."""
        return self._walked[0]

    @property
    def matches(self) -> tuple[tuple[int, Txid], ...]:
        """The transactions shown, each with its place in the block; raises `MerkleProofError`."""
        return self._walked[1]

    def serialize(self) -> bytes:
        """The bytes of BIP37."""
        flags = bytearray((len(self.bits) + 7) // 8)
        for at, bit in enumerate(self.bits):
            flags[at // 8] |= bit << (at % 8)
        return b"".join(
            (u32(self.transactions), compact_size(len(self.hashes)), *self.hashes, prefixed(bytes(flags)))
        )


class _Walk:
    """Core's ``TraverseAndExtract``: consumes bits and hashes, and refuses what Core refuses."""

    def __init__(self, tree: PartialMerkleTree) -> None:
        if not 0 < tree.transactions <= MAX_TRANSACTIONS:
            raise MerkleProofError("the tree", f"no block has {tree.transactions} transactions")
        if len(tree.hashes) > tree.transactions or len(tree.bits) < len(tree.hashes):
            raise MerkleProofError("the tree", "it has more hashes than transactions or bits")
        self._tree = tree
        self._bits = self._hashes = 0
        self._matches: list[tuple[int, Txid]] = []

    def result(self) -> tuple[bytes, tuple[tuple[int, Txid], ...]]:
        height = 0
        while _width(self._tree.transactions, height) > 1:
            height += 1
        root = self._node(height, 0)
        if (self._bits + 7) // 8 != (len(self._tree.bits) + 7) // 8 or self._hashes != len(self._tree.hashes):
            raise MerkleProofError("the tree", "it holds more than its walk uses")
        return root, tuple(self._matches)

    def _node(self, height: int, position: int) -> bytes:
        if self._bits >= len(self._tree.bits):
            raise MerkleProofError("the tree", "it has too few bits")
        shown = self._tree.bits[self._bits]
        self._bits += 1
        if height == 0 or not shown:
            if self._hashes >= len(self._tree.hashes):
                raise MerkleProofError("the tree", "it has too few hashes")
            node = self._tree.hashes[self._hashes]
            self._hashes += 1
            if shown:
                self._matches.append((position, Txid(node)))
            return node
        left = right = self._node(height - 1, 2 * position)
        if 2 * position + 1 < _width(self._tree.transactions, height - 1):
            right = self._node(height - 1, 2 * position + 1)
            if left == right:
                raise MerkleProofError("the tree", "two of its branches are the same (CVE-2012-2459)")
        return sha256d(left + right)


def _width(transactions: int, height: int) -> int:
    return (transactions + (1 << height) - 1) >> height


def make_partial_tree(txids: Sequence[bytes], shown: Collection[bytes]) -> PartialMerkleTree:
    """The tree that shows the transactions ``shown`` of a block whose transactions are ``txids``."""
    if not txids:
        raise MerkleProofError("the block", "it has no transactions")
    levels = _levels(txids)
    wanted = [[bytes(txid) in shown for txid in txids]]
    for level in levels[1:]:
        below = wanted[-1]
        wanted.append([any(below[2 * at : 2 * at + 2]) for at in range(len(level))])
    hashes: list[bytes] = []
    bits: list[bool] = []
    pending = [(len(levels) - 1, 0)]
    while pending:
        height, position = pending.pop()
        bits.append(wanted[height][position])
        if height == 0 or not bits[-1]:
            hashes.append(levels[height][position])
            continue
        if 2 * position + 1 < len(levels[height - 1]):
            pending.append((height - 1, 2 * position + 1))
        pending.append((height - 1, 2 * position))
    return PartialMerkleTree(len(txids), tuple(hashes), tuple(bits))


@dataclass(frozen=True)
class MerkleBlock:
    """A header with a partial tree, as ``gettxoutproof`` and the message ``merkleblock`` hold it."""

    header: BlockHeader
    tree: PartialMerkleTree

    def serialize(self) -> bytes:
        return self.header.serialize() + self.tree.serialize()

    def verify(self) -> tuple[tuple[int, Txid], ...]:
        """The transactions that the header commits to, with their places; raises `MerkleProofError`.

        Says nothing of the header's work: a `header_chain` must contain it.
        """
        if self.tree.root != self.header.merkle_root:
            raise MerkleProofError("the proof", "it leads to another merkle root than the header's")
        return self.tree.matches


def parse_partial_tree(data: bytes) -> PartialMerkleTree:
    """Read exactly one partial tree; raises `MerkleProofError`. Its walk is checked when it is used."""
    reader = Reader(data)
    try:
        tree = _read_tree(reader)
        if reader.left:
            raise TruncatedError(f"{reader.left} bytes follow it")
    except TruncatedError as error:
        raise MerkleProofError("the tree", str(error)) from error
    return tree


def _read_tree(reader: Reader) -> PartialMerkleTree:
    transactions, count = reader.u32(), reader.compact_size()
    if count * 32 > reader.left:
        raise TruncatedError("it ends too early")
    hashes = tuple(reader.take(32) for _ in range(count))
    flags = reader.prefixed()
    if len(flags) * 8 > 2 * MAX_TRANSACTIONS + 8:
        raise TruncatedError("it has more bits than a tree has nodes")
    bits = tuple(bool(byte >> at & 1) for byte in flags for at in range(8))
    return PartialMerkleTree(transactions, hashes, bits)


def parse_merkle_block(data: bytes) -> MerkleBlock:
    """Read exactly one header with its partial tree; raises `MerkleProofError`."""
    if len(data) < HEADER_SIZE:
        raise MerkleProofError("the proof", "it ends too early")
    return MerkleBlock(parse_header(data[:HEADER_SIZE]), parse_partial_tree(data[HEADER_SIZE:]))

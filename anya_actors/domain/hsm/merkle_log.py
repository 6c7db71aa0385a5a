"""The Merkle tree over a log that only grows (RFC 6962 section 2.1, verification as in RFC 9162).

A signed root stands for all entries up to its size. An *inclusion* proof shows that an entry is
under a root, a *consistency* proof that an older root's entries are still the first ones under a
newer root: neither needs the other entries.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

import msgspec

from anya_actors.domain.machine import AnyaError

EMPTY_ROOT: Final = hashlib.sha256(b"").digest()

Range = tuple[int, int]
"""Leaves from the first number on and before the second."""


class InvalidLogProofError(AnyaError):
    """A proof that does not lead from what is claimed to the root."""

    code = "invalid-log-proof"
    message = "the {} proof does not hold: {}"
    remedy = "Ask for the proof again; if it fails again, the log was rewritten: keep both checkpoints."

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(kind, reason)


def leaf_hash(data: bytes) -> bytes:
    """The hash of one entry."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash over two subtrees."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class MerkleTree(msgspec.Struct, frozen=True):
    """A tree as far as growing it needs: the roots of its whole subtrees, the largest first."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def grow(self, leaves: Sequence[bytes]) -> MerkleTree:
        """The tree with these leaf hashes behind its own."""
        size, peaks = self.size, list(self.peaks)
        for leaf in leaves:
            peaks.append(leaf)
            size += 1
            # As many subtrees of equal size now end here as the number has trailing zeros.
            for _ in range((size & -size).bit_length() - 1):
                right = peaks.pop()
                peaks.append(node_hash(peaks.pop(), right))
        return MerkleTree(size, tuple(peaks))

    @property
    def root(self) -> bytes:
        """The hash over all leaves."""
        if not self.peaks:
            return EMPTY_ROOT
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = node_hash(peak, root)
        return root


def root_of(hashes: Sequence[bytes]) -> bytes:
    """The root over hashes: of leaves, or of subtrees of one size of which the last may be smaller."""
    return MerkleTree().grow(hashes).root


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """The subtrees whose roots are the inclusion proof of a leaf, lowest first (PATH of RFC 6962)."""
    _check_index(index, size)
    ranges: list[Range] = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((begin, middle))
            begin = middle
    return ranges[::-1]


def consistency_ranges(first: int, second: int) -> list[Range]:
    """The subtrees whose roots are the consistency proof of two sizes (PROOF of RFC 6962)."""
    if not 0 < first <= second:
        raise InvalidLogProofError("consistency", f"{first} is no older size than {second}")
    ranges: list[Range] = []
    begin, end, is_whole = 0, second, True
    while first != end:
        middle = begin + _split(end - begin)
        if first <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((begin, middle))
            begin, is_whole = middle, False
    if not is_whole:
        ranges.append((begin, end))
    return ranges[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Return if ``leaf`` stands at ``index`` under the root of ``size`` leaves; else raise."""
    _check_index(index, size)
    place, last, found = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise InvalidLogProofError("inclusion", "it is too long")
        if place & 1 or place == last:
            found = node_hash(sibling, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        place, last = place >> 1, last >> 1
    if last != 0:
        raise InvalidLogProofError("inclusion", "it is too short")
    if not hmac.compare_digest(found, root):
        raise InvalidLogProofError("inclusion", "it leads to another root")


def verify_consistency(
    first: int, second: int, first_root: bytes, second_root: bytes, path: Sequence[bytes]
) -> None:
    """Return if the first root's leaves are the first ones under the second root; else raise."""
    if not 0 < first <= second:
        raise InvalidLogProofError("consistency", f"{first} is no older size than {second}")
    if first == second:
        if path or not hmac.compare_digest(first_root, second_root):
            raise InvalidLogProofError("consistency", "one size has two roots")
        return
    steps = list(path)
    if first & (first - 1) == 0:
        steps.insert(0, first_root)  # the older tree is one whole subtree of the newer
    if not steps:
        raise InvalidLogProofError("consistency", "it is too short")
    old, new = _fold(first - 1, second - 1, steps)
    if not hmac.compare_digest(old, first_root) or not hmac.compare_digest(new, second_root):
        raise InvalidLogProofError("consistency", "it leads to another root")


def _fold(place: int, last: int, steps: Sequence[bytes]) -> tuple[bytes, bytes]:
    while place & 1:
        place, last = place >> 1, last >> 1
    old = new = steps[0]
    for step in steps[1:]:
        if last == 0:
            raise InvalidLogProofError("consistency", "it is too long")
        if place & 1 or place == last:
            old, new = node_hash(step, old), node_hash(step, new)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            new = node_hash(new, step)
        place, last = place >> 1, last >> 1
    if last != 0:
        raise InvalidLogProofError("consistency", "it is too short")
    return old, new


def _split(count: int) -> int:
    """The greatest power of two that is less than ``count``."""
    return 1 << (count - 1).bit_length() - 1


def _check_index(index: int, size: int) -> None:
    if not 0 <= index < size:
        raise InvalidLogProofError("inclusion", f"there is no leaf {index} among {size}")

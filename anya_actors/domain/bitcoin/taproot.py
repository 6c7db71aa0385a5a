"""Taproot outputs (BIP341): leaf hashes, script trees, control blocks and tweaked keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from anya_actors.domain.bitcoin.script import p2tr_script
from anya_actors.domain.bitcoin.wire import prefixed
from anya_actors.domain.keys.curve import ORDER, CurveError, Point, tagged_hash
from anya_actors.domain.machine import InvalidInputError

TAPSCRIPT: Final = 0xC0
"""The leaf version of BIP342."""
MAX_DEPTH: Final = 128
# BIP341: a point whose discrete logarithm nobody knows, for outputs without a key path.
UNSPENDABLE_KEY: Final = bytes.fromhex("50929b74c1a04954b78b4b6035e97a5e078a5a0f28ec96d547bfee9ace803ac0")


class TaprootError(InvalidInputError):
    """Keys, trees or control blocks that make no taproot output."""

    code = "invalid-taproot"
    message = "{} is not valid: {}"
    remedy = "Check the internal key and the script tree."


class TapLeaf(msgspec.Struct, frozen=True):
    """One script of a tree, and how many branches lie above it."""

    script: bytes
    version: int = TAPSCRIPT
    depth: int = 0

    @property
    def leaf_hash(self) -> bytes:
        return leaf_hash(self.script, self.version)


class TapTree(msgspec.Struct, frozen=True):
    """A whole tree: its leaves, depth first, with the hashes beside each one's way to the root."""

    leaves: tuple[TapLeaf, ...]
    paths: tuple[tuple[bytes, ...], ...]
    merkle_root: bytes


class TapOutput(msgspec.Struct, frozen=True):
    """The tweaked output key, 32 bytes, and whether its y is odd."""

    key: bytes
    is_odd: bool

    @property
    def script_pubkey(self) -> bytes:
        return p2tr_script(self.key)


def leaf_hash(script: bytes, version: int = TAPSCRIPT) -> bytes:
    return tagged_hash("TapLeaf", bytes((version,)) + prefixed(script))


def branch_hash(first: bytes, second: bytes) -> bytes:
    return tagged_hash("TapBranch", min(first, second) + max(first, second))


def build_tree(leaves: Sequence[TapLeaf]) -> TapTree:
    """The tree of leaves given depth first; raises `TaprootError` if they make none."""
    # Each open subtree: its depth, its hash, the numbers of its leaves.
    stack: list[tuple[int, bytes, list[int]]] = []
    paths: list[tuple[bytes, ...]] = []
    for number, leaf in enumerate(leaves):
        if leaf.depth > MAX_DEPTH:
            raise TaprootError("the script tree", f"a leaf lies deeper than {MAX_DEPTH}")
        if stack and (stack[-1][0] > leaf.depth or stack[-1][0] == 0):
            raise TaprootError("the script tree", "its depths are not those of a binary tree")
        paths.append(())
        stack.append((leaf.depth, leaf.leaf_hash, [number]))
        while len(stack) > 1 and stack[-1][0] == stack[-2][0]:
            _join(stack, paths)
    if len(stack) != 1 or stack[0][0] != 0:
        raise TaprootError("the script tree", "its depths are not those of a binary tree")
    return TapTree(tuple(leaves), tuple(paths), stack[0][1])


def _join(stack: list[tuple[int, bytes, list[int]]], paths: list[tuple[bytes, ...]]) -> None:
    depth, right_hash, right = stack.pop()
    _, left_hash, left = stack.pop()
    for number in left:
        paths[number] += (right_hash,)
    for number in right:
        paths[number] += (left_hash,)
    stack.append((depth - 1, branch_hash(left_hash, right_hash), left + right))


def tweak(internal_key: bytes, merkle_root: bytes = b"") -> bytes:
    """What is added to the internal key: 32 bytes (BIP341). Without a root the key has no scripts."""
    return tagged_hash("TapTweak", internal_key + merkle_root)


def output_of(internal_key: bytes, merkle_root: bytes = b"") -> TapOutput:
    """The output of an x-only internal key; raises `TaprootError`."""
    number = int.from_bytes(tweak(internal_key, merkle_root), "big")
    try:
        point = Point.from_x(internal_key).plus(number)
    except CurveError as error:
        raise TaprootError("the internal key", str(error.args[1])) from error
    if number >= ORDER or point is None:
        raise TaprootError("the internal key", "it has no output with this tree")
    return TapOutput(point.x, not point.has_even_y)


def control_block(internal_key: bytes, tree: TapTree, number: int) -> bytes:
    """What proves that leaf ``number`` belongs to the output."""
    is_odd = output_of(internal_key, tree.merkle_root).is_odd
    head = bytes((tree.leaves[number].version | is_odd,))
    return head + internal_key + b"".join(tree.paths[number])


def merkle_root_of(control: bytes, script: bytes) -> bytes:
    """The root that a control block claims for a script; raises `TaprootError`."""
    if len(control) < 33 or (len(control) - 33) % 32 or (len(control) - 33) // 32 > MAX_DEPTH:
        raise TaprootError("the control block", f"no control block has {len(control)} bytes")
    found = leaf_hash(script, control[0] & 0xFE)
    for at in range(33, len(control), 32):
        found = branch_hash(found, control[at : at + 32])
    return found


def verify_script_path(output_key: bytes, control: bytes, script: bytes) -> None:
    """Raise `TaprootError` unless the script is one of the output's."""
    output = output_of(control[1:33], merkle_root_of(control, script))
    if output.key != output_key or output.is_odd != bool(control[0] & 1):
        raise TaprootError("the control block", "its script is not one of this output")

"""Miniscript expressions as trees, with their type and bounds computed as they are built."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

from anya_actors.domain.bitcoin.descriptors.miniscript import bounds, types
from anya_actors.domain.bitcoin.script import push_number

T = TypeVar("T")

WRAPPERS: Final = frozenset("ascdvjn")
ANDS: Final = frozenset({"and_v", "and_b"})
ORS: Final = frozenset({"or_b", "or_c", "or_d", "or_i"})
HASHES: Final = {"sha256": 32, "hash256": 32, "ripemd160": 20, "hash160": 20}
MAX_WSH_SCRIPT: Final = 3_600
# What a standard transaction of 400,000 weight units can spend in one tapscript input with a
# witness of greatest size (Core, ``miniscript.h``: MaxScriptSize).
MAX_TAPSCRIPT: Final = 329_482
MAX_OPS: Final = 201
MAX_WSH_STACK: Final = 100
MAX_STACK: Final = 1_000


class Node:
    """One expression. Immutable; keys are whatever the caller uses as keys."""

    __slots__ = ("data", "fragment", "k", "keys", "kind", "script_size", "subs", "tapscript", "ways")

    def __init__(
        self,
        fragment: str,
        subs: Sequence[Node] = (),
        *,
        tapscript: bool,
        k: int = 0,
        keys: Sequence[Any] = (),
        data: bytes = b"",
    ) -> None:
        self.fragment = fragment
        self.subs = tuple(subs)
        self.tapscript = tapscript
        self.k = k
        self.keys = tuple(keys)
        self.data = data
        self.kind = self._type()
        self.ways = self._ways()
        self.script_size = self._script_size()

    def _type(self) -> int:
        kinds = [sub.kind for sub in self.subs]
        if not all(kinds):
            return 0
        if self.fragment in WRAPPERS:
            return types.wrapper_type(self.fragment, kinds[0], tapscript=self.tapscript)
        if self.fragment in ANDS:
            return types.and_type(self.fragment, kinds[0], kinds[1])
        if self.fragment in ORS:
            return types.or_type(self.fragment, kinds[0], kinds[1])
        if self.fragment == "andor":
            return types.andor_type(*kinds)
        if self.fragment == "thresh":
            return types.thresh_type(kinds, self.k)
        return types.leaf_type(self.fragment, self.k)

    def _ways(self) -> bounds.Ways:
        ways = [sub.ways for sub in self.subs]
        if self.fragment in WRAPPERS:
            is_opcode = types.has(self.subs[0].kind, "x")
            return bounds.wrapper_ways(self.fragment, ways[0], verify_is_opcode=is_opcode)
        if self.fragment in ANDS:
            return bounds.and_ways(self.fragment, ways[0], ways[1])
        if self.fragment in ORS:
            return bounds.or_ways(self.fragment, ways[0], ways[1])
        if self.fragment == "andor":
            return bounds.andor_ways(*ways)
        if self.fragment == "thresh":
            return bounds.thresh_ways(ways, self.k)
        return bounds.leaf_ways(self.fragment, self.k, len(self.keys), tapscript=self.tapscript)

    def _script_size(self) -> int:
        inner = sum(sub.script_size for sub in self.subs)
        fragment, key = self.fragment, 33 if self.tapscript else 34
        if fragment in _ADDED_BYTES:
            return inner + _ADDED_BYTES[fragment]
        if fragment == "v":
            return inner + types.has(self.subs[0].kind, "x")
        if fragment == "pk_k":
            return key
        if fragment in ("older", "after"):
            return 1 + len(push_number(self.k))
        if fragment == "multi":
            return 1 + len(push_number(self.k)) + len(push_number(len(self.keys))) + key * len(self.keys)
        if fragment == "multi_a":
            return 34 * len(self.keys) + len(push_number(self.k)) + 1
        if fragment == "thresh":
            return inner + len(self.subs) + len(push_number(self.k))
        return 4 + 2 + 1 + len(self.data)  # SIZE <32> EQUALVERIFY <hash opcode> <hash> EQUAL

    @property
    def is_valid(self) -> bool:
        """Whether its parts fit together and its script is not too long."""
        return bool(self.kind) and self.script_size <= (MAX_TAPSCRIPT if self.tapscript else MAX_WSH_SCRIPT)

    @property
    def is_valid_top_level(self) -> bool:
        return self.is_valid and types.has(self.kind, "B")

    @property
    def is_non_malleable(self) -> bool:
        return types.has(self.kind, "m")

    @property
    def needs_signature(self) -> bool:
        return types.has(self.kind, "s")

    @property
    def keeps_timelocks_apart(self) -> bool:
        """Whether no way to spend needs both a time and a height."""
        return types.has(self.kind, "k")

    @property
    def max_ops(self) -> int | None:
        """The most opcodes a satisfaction executes, None if there is no satisfaction."""
        return bounds.plus(self.ways.ops, self.ways.keys_sat)

    @property
    def max_stack_items(self) -> int | None:
        """The most witness elements of a satisfaction, without the script; None if there is none."""
        trace = self.ways.stack_sat
        return None if trace is None else trace.shrinks + self._leaves_one

    @property
    def max_stack_size(self) -> int | None:
        """The most elements on the stack while it runs, None if there is no satisfaction."""
        trace = self.ways.stack_sat
        return None if trace is None else trace.peak + self._leaves_one

    @property
    def max_witness_bytes(self) -> int | None:
        """The most bytes of witness elements with their lengths, without the script."""
        return self.ways.bytes_sat

    @property
    def is_satisfiable(self) -> bool:
        return self.ways.stack_sat is not None

    @property
    def _leaves_one(self) -> int:
        return int(bool(self.kind & types.properties("BKW")))

    @property
    def is_within_limits(self) -> bool:
        """Whether each of its satisfactions keeps the limits of consensus and policy."""
        if not self.is_valid:
            return False
        if self.tapscript:
            return (self.max_stack_size or 0) <= MAX_STACK
        return (self.max_ops or 0) <= MAX_OPS and (self.max_stack_items or 0) <= MAX_WSH_STACK

    def is_sane_part(self, *, has_duplicates: bool) -> bool:
        """Whether what it says is what its script does."""
        return (
            self.is_within_limits
            and self.is_non_malleable
            and self.keeps_timelocks_apart
            and not has_duplicates
        )

    def walk(self) -> Iterator[Node]:
        """Every expression below and including this one, the innermost first, in order of the text."""
        stack = [(self, 0)]
        while stack:
            node, at = stack.pop()
            if at < len(node.subs):
                stack += [(node, at + 1), (node.subs[at], 0)]
            else:
                yield node

    def fold(self, combine: Callable[[Node, list[T]], T]) -> T:
        """Compute bottom-up. Not by recursion: scripts nest deeper than Python's stack."""
        results: list[T] = []
        for node in self.walk():
            count = len(node.subs)
            parts = results[len(results) - count :]
            del results[len(results) - count :]
            results.append(combine(node, parts))
        return results[0]

    def with_keys(self, replace: Callable[[Any], Any]) -> Node:
        """The same expression over other keys."""
        return self.fold(
            lambda node, subs: Node(
                node.fragment,
                subs,
                tapscript=node.tapscript,
                k=node.k,
                keys=tuple(replace(key) for key in node.keys),
                data=node.data,
            )
        )

    def all_keys(self) -> list[Any]:
        """Every key, in order of the text."""
        return [key for node in self.walk() for key in node.keys]


_ADDED_BYTES: Final = {
    "0": 1,
    "1": 1,
    "pk_h": 24,
    "a": 2,
    "s": 1,
    "c": 1,
    "d": 3,
    "j": 4,
    "n": 1,
    "and_v": 0,
    "and_b": 1,
    "or_b": 1,
    "or_c": 2,
    "or_d": 3,
    "or_i": 3,
    "andor": 3,
}

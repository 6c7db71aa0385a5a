"""How much a miniscript can need at most: opcodes, stack elements, witness bytes (BIP379)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec

T = TypeVar("T")

Most = int | None
"""A greatest number; None where there is no way at all."""


def plus(*numbers: Most) -> Most:
    """The sum; None if one of them is."""
    total = 0
    for number in numbers:
        if number is None:
            return None
        total += number
    return total


def worse(first: Most, second: Most) -> Most:
    """The greater one; the other where one is None."""
    if first is None or second is None:
        return second if first is None else first
    return max(first, second)


class Trace(msgspec.Struct, frozen=True):
    """What running a piece of script does to the stack.

    ``shrinks`` is by how much it shrinks in the end, ``peak`` how far above its final size it gets.
    """

    shrinks: int
    peak: int


Traces = Trace | None


def then(*traces: Traces) -> Traces:
    """Pieces of script one after the other; None if one cannot be run."""
    total = Trace(0, 0)
    for trace in traces:
        if trace is None:
            return None
        total = Trace(total.shrinks + trace.shrinks, max(trace.peak, trace.shrinks + total.peak))
    return total


def either(first: Traces, second: Traces) -> Traces:
    """The worst of two ways."""
    if first is None or second is None:
        return second if first is None else first
    return Trace(max(first.shrinks, second.shrinks), max(first.peak, second.peak))


PUSH: Final = Trace(-1, 0)  # also OP_DUP and OP_SIZE
NOTHING: Final = Trace(0, 0)
POP: Final = Trace(1, 1)  # OP_IF, OP_VERIFY, OP_CHECKSIG, OP_EQUAL and every operator of two numbers
POP_TWO: Final = Trace(2, 2)  # OP_EQUALVERIFY


class Ways(msgspec.Struct, frozen=True):
    """Bounds of one expression: of its satisfactions (``sat``) and dissatisfactions (``dsat``).

    ``ops`` counts its opcodes; the others those keys of executed CHECKMULTISIGs, stack traces and
    bytes of witness.
    """

    ops: int
    keys_sat: Most
    keys_dsat: Most
    stack_sat: Traces
    stack_dsat: Traces
    bytes_sat: Most
    bytes_dsat: Most


def leaf_ways(fragment: str, k: int, keys: int, *, tapscript: bool) -> Ways:
    """Bounds of a fragment without subexpressions."""
    signature, key = (66, 33) if tapscript else (73, 34)
    if fragment == "0":
        return Ways(0, None, 0, None, PUSH, None, 0)
    if fragment == "1":
        return Ways(0, 0, None, PUSH, None, 0, None)
    if fragment == "pk_k":
        return Ways(0, 0, 0, PUSH, PUSH, signature, 1)
    if fragment == "pk_h":
        trace = then(PUSH, NOTHING, PUSH, POP_TWO)
        return Ways(3, 0, 0, trace, trace, signature + key, 1 + key)
    if fragment in ("older", "after"):
        return Ways(1, 0, None, PUSH, None, 0, None)
    if fragment == "multi":
        trace = Trace(k, k + keys + 2)
        return Ways(1, keys, keys, trace, trace, k * signature + 1, k + 1)
    if fragment == "multi_a":
        trace = Trace(keys - 1, keys)
        return Ways(keys + 1, 0, 0, trace, trace, k * signature + keys - k, keys)
    return Ways(4, 0, None, then(PUSH, PUSH, POP_TWO, NOTHING, PUSH, POP), None, 33, None)


def wrapper_ways(fragment: str, x: Ways, *, verify_is_opcode: bool) -> Ways:
    """Bounds of ``fragment:X``."""
    if fragment == "v":
        ops = x.ops + verify_is_opcode
        return Ways(ops, x.keys_sat, None, then(x.stack_sat, POP), None, x.bytes_sat, None)
    if fragment == "d":
        enter = then(PUSH, POP)
        bytes_sat = plus(2, x.bytes_sat)
        return Ways(x.ops + 3, x.keys_sat, 0, then(enter, x.stack_sat), enter, bytes_sat, 1)
    if fragment == "j":
        enter = then(PUSH, NOTHING, POP)
        return Ways(x.ops + 4, x.keys_sat, 0, then(enter, x.stack_sat), enter, x.bytes_sat, 1)
    more = 2 if fragment == "a" else 1
    sat, dsat = x.stack_sat, x.stack_dsat
    if fragment == "c":
        sat, dsat = then(sat, POP), then(dsat, POP)
    return Ways(x.ops + more, x.keys_sat, x.keys_dsat, sat, dsat, x.bytes_sat, x.bytes_dsat)


def and_ways(fragment: str, x: Ways, y: Ways) -> Ways:
    """Bounds of and_v and and_b."""
    keys, size = plus(x.keys_sat, y.keys_sat), plus(x.bytes_sat, y.bytes_sat)
    if fragment == "and_v":
        return Ways(x.ops + y.ops, keys, None, then(x.stack_sat, y.stack_sat), None, size, None)
    return Ways(
        x.ops + y.ops + 1,
        keys,
        plus(x.keys_dsat, y.keys_dsat),
        then(x.stack_sat, y.stack_sat, POP),
        then(x.stack_dsat, y.stack_dsat, POP),
        size,
        plus(x.bytes_dsat, y.bytes_dsat),
    )


def or_ways(fragment: str, x: Ways, y: Ways) -> Ways:
    """Bounds of or_b, or_c, or_d and or_i."""
    if fragment == "or_i":
        return Ways(
            x.ops + y.ops + 3,
            worse(x.keys_sat, y.keys_sat),
            worse(x.keys_dsat, y.keys_dsat),
            then(POP, either(x.stack_sat, y.stack_sat)),
            then(POP, either(x.stack_dsat, y.stack_dsat)),
            worse(plus(x.bytes_sat, 2), plus(y.bytes_sat, 1)),
            worse(plus(x.bytes_dsat, 2), plus(y.bytes_dsat, 1)),
        )
    keys_dsat, bytes_dsat = plus(x.keys_dsat, y.keys_dsat), plus(x.bytes_dsat, y.bytes_dsat)
    if fragment == "or_b":
        return Ways(
            x.ops + y.ops + 1,
            worse(plus(x.keys_sat, y.keys_dsat), plus(y.keys_sat, x.keys_dsat)),
            keys_dsat,
            then(either(then(x.stack_sat, y.stack_dsat), then(x.stack_dsat, y.stack_sat)), POP),
            then(x.stack_dsat, y.stack_dsat, POP),
            worse(plus(x.bytes_dsat, y.bytes_sat), plus(x.bytes_sat, y.bytes_dsat)),
            bytes_dsat,
        )
    keys_sat = worse(x.keys_sat, plus(y.keys_sat, x.keys_dsat))
    bytes_sat = worse(x.bytes_sat, plus(x.bytes_dsat, y.bytes_sat))
    if fragment == "or_c":
        stack = either(then(x.stack_sat, POP), then(x.stack_dsat, POP, y.stack_sat))
        return Ways(x.ops + y.ops + 2, keys_sat, None, stack, None, bytes_sat, None)
    return Ways(
        x.ops + y.ops + 3,
        keys_sat,
        keys_dsat,
        either(then(x.stack_sat, PUSH, POP), then(x.stack_dsat, POP, y.stack_sat)),
        then(x.stack_dsat, POP, y.stack_dsat),
        bytes_sat,
        bytes_dsat,
    )


def andor_ways(x: Ways, y: Ways, z: Ways) -> Ways:
    """Bounds of andor."""
    return Ways(
        x.ops + y.ops + z.ops + 3,
        worse(plus(y.keys_sat, x.keys_sat), plus(x.keys_dsat, z.keys_sat)),
        plus(x.keys_dsat, z.keys_dsat),
        either(then(x.stack_sat, POP, y.stack_sat), then(x.stack_dsat, POP, z.stack_sat)),
        then(x.stack_dsat, POP, z.stack_dsat),
        worse(plus(x.bytes_sat, y.bytes_sat), plus(x.bytes_dsat, z.bytes_sat)),
        plus(x.bytes_dsat, z.bytes_dsat),
    )


def _choose(
    pairs: Sequence[tuple[T, T]], k: int, empty: T, join: Callable[[T, T], T], worst: Callable[[T, T], T]
) -> tuple[T, T]:
    # ways[j]: the worst way in which j of the subexpressions so far are satisfied.
    ways = [empty]
    for sat, dsat in pairs:
        following = [join(ways[0], dsat)]
        following += [worst(join(ways[j], dsat), join(ways[j - 1], sat)) for j in range(1, len(ways))]
        following.append(join(ways[-1], sat))
        ways = following
    return ways[k], ways[0]


def thresh_ways(subs: Sequence[Ways], k: int) -> Ways:
    """Bounds of thresh."""
    nothing: Most = 0
    keys = _choose([(sub.keys_sat, sub.keys_dsat) for sub in subs], k, nothing, plus, worse)
    size = _choose([(sub.bytes_sat, sub.bytes_dsat) for sub in subs], k, nothing, plus, worse)
    empty: Traces = NOTHING
    added = [
        (then(sub.stack_sat, POP), then(sub.stack_dsat, POP)) if place else (sub.stack_sat, sub.stack_dsat)
        for place, sub in enumerate(subs)
    ]
    sat, dsat = _choose(added, k, empty, then, either)
    ops = sum(sub.ops + 1 for sub in subs)
    return Ways(ops, *keys, then(sat, PUSH, POP), then(dsat, PUSH, POP), *size)

"""How much a miniscript can need at most: opcodes, stack elements, witness bytes (BIP379)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

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


def _most_of(pairs: Sequence[tuple[Most, Most]], k: int) -> Most:
    """The greatest sum when exactly k take their first number and the others their second."""
    if any(first is None and second is None for first, second in pairs):
        return None
    must = [first for first, second in pairs if second is None and first is not None]
    total = sum(must) + sum(second for _, second in pairs if second is not None)
    gains = sorted(
        (first - second for first, second in pairs if first is not None and second is not None), reverse=True
    )
    free = k - len(must)
    return total + sum(gains[:free]) if 0 <= free <= len(gains) else None


_IMPOSSIBLE: Final = -(10**12)


def _worst_traces(pairs: Sequence[tuple[Traces, Traces]], k: int) -> Traces:
    """The worst trace when exactly k run their first and the others their second."""
    # At j: the worst so far with j first ones. Plain numbers, as this is quadratic in the parts.
    shrinks, peaks = [0] + [_IMPOSSIBLE] * k, [0] + [_IMPOSSIBLE] * k
    for first, second in pairs:
        for j in range(k, -1, -1):
            shrink = peak = _IMPOSSIBLE
            if second is not None and shrinks[j] != _IMPOSSIBLE:
                shrink = shrinks[j] + second.shrinks
                peak = max(second.peak, second.shrinks + peaks[j])
            if j and first is not None and shrinks[j - 1] != _IMPOSSIBLE:
                shrink = max(shrink, shrinks[j - 1] + first.shrinks)
                peak = max(peak, first.peak, first.shrinks + peaks[j - 1])
            shrinks[j], peaks[j] = shrink, peak
    return Trace(shrinks[k], peaks[k]) if shrinks[k] != _IMPOSSIBLE else None


def thresh_ways(subs: Sequence[Ways], k: int) -> Ways:
    """Bounds of thresh."""
    keys = [(sub.keys_sat, sub.keys_dsat) for sub in subs]
    size = [(sub.bytes_sat, sub.bytes_dsat) for sub in subs]
    added = [
        (then(sub.stack_sat, POP), then(sub.stack_dsat, POP)) if place else (sub.stack_sat, sub.stack_dsat)
        for place, sub in enumerate(subs)
    ]
    return Ways(
        sum(sub.ops + 1 for sub in subs),
        _most_of(keys, k),
        _most_of(keys, 0),
        then(_worst_traces(added, k), PUSH, POP),
        then(_worst_traces(added, 0), PUSH, POP),
        _most_of(size, k),
        _most_of(size, 0),
    )

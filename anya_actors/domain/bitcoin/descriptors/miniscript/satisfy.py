"""The smallest witness that satisfies a miniscript and that no third party can change (BIP379)."""

from __future__ import annotations

from typing import Any, Final, Protocol

import msgspec

from anya_actors.domain.bitcoin.descriptors.errors import NotSatisfiableError
from anya_actors.domain.bitcoin.descriptors.miniscript.node import HASHES, Node


class Available(Protocol):
    """What whoever spends has."""

    def signature(self, key: Any) -> bytes | None:
        """The signature of a key, with its type byte where it has one."""

    def public_key(self, key: Any) -> bytes:
        """The key as the script holds it."""

    def preimage(self, fragment: str, digest: bytes) -> bytes | None:
        """32 bytes whose sha256, hash256, ripemd160 or hash160 is the digest."""

    def allows_older(self, k: int) -> bool:
        """Whether the input's sequence satisfies this relative lock (BIP112)."""

    def allows_after(self, k: int) -> bool:
        """Whether the transaction's lock time satisfies this absolute lock (BIP65)."""


class Stack(msgspec.Struct, frozen=True):
    """Witness elements, the last one on top; whether a signature is among them; whether others could do."""

    items: tuple[bytes, ...] = ()
    size: int = 0
    is_signed: bool = False
    is_malleable: bool = False


Way = Stack | None
"""None: there is none with what is available."""

_ZERO: Final = Stack((b"",), 1)
_ONE: Final = Stack((b"\x01",), 2)
_NOTHING: Final = Stack()
# Any 32 bytes that are not the preimage would do: a third party may put others.
_WRONG_PREIMAGE: Final = Stack((bytes(32),), 33, is_malleable=True)


class _Ways(msgspec.Struct, frozen=True):
    sat: Way
    dsat: Way


def _both(first: Way, second: Way) -> Way:
    if first is None or second is None:
        return None
    return Stack(
        first.items + second.items,
        first.size + second.size,
        first.is_signed or second.is_signed,
        first.is_malleable or second.is_malleable,
    )


def _marked(way: Way) -> Way:
    return None if way is None else msgspec.structs.replace(way, is_malleable=True)


def _better(first: Way, second: Way) -> Way:
    """The way to choose. What needs no signature can be put by anyone, so it must be the one chosen."""
    if first is None or second is None:
        return second if first is None else first
    if first.is_signed != second.is_signed:
        return second if first.is_signed else first
    if not first.is_signed:
        first, second = msgspec.structs.replace(first, is_malleable=True), _marked(second)
    elif first.is_malleable != second.is_malleable:
        return second if first.is_malleable else first
    return first if second is None or first.size <= second.size else second


def satisfy(node: Node, available: Available, *, allow_malleable: bool = False) -> tuple[bytes, ...]:
    """The witness elements in front of the script; raises `NotSatisfiableError`.

    Malleable witnesses, and those without a signature, are only given if the caller allows them.
    """
    found = node.fold(lambda part, subs: _ways(part, subs, available)).sat
    if found is None:
        raise NotSatisfiableError("signatures, preimages or lock times are missing")
    if not allow_malleable and (found.is_malleable or not found.is_signed):
        raise NotSatisfiableError("every witness for it could be changed by others")
    return found.items


def _ways(node: Node, subs: list[_Ways], available: Available) -> _Ways:
    fragment = node.fragment
    if not subs:
        return _leaf(node, available)
    x = subs[0]
    if fragment in ("a", "s", "c", "n"):
        return x
    if fragment == "v":
        return _Ways(x.sat, None)
    if fragment == "d":
        return _Ways(_both(x.sat, _ONE), _ZERO)
    if fragment == "j":
        # An unsigned dissatisfaction of X with a nonzero top element would be another way.
        is_other = x.dsat is not None and not x.dsat.is_signed
        return _Ways(x.sat, _marked(_ZERO) if is_other else _ZERO)
    if fragment == "thresh":
        return _thresh(subs, node.k)
    if fragment == "andor":
        return _andor(x, subs[1], subs[2])
    return _pair(fragment, x, subs[1])


def _pair(fragment: str, x: _Ways, y: _Ways) -> _Ways:
    if fragment == "and_v":
        return _Ways(_both(y.sat, x.sat), _both(y.dsat, x.sat))
    if fragment == "and_b":
        dsat = _better(_both(y.dsat, x.dsat), _marked(_both(y.sat, x.dsat)))
        return _Ways(_both(y.sat, x.sat), _better(dsat, _marked(_both(y.dsat, x.sat))))
    if fragment == "or_i":
        sat = _better(_both(x.sat, _ONE), _both(y.sat, _ZERO))
        return _Ways(sat, _better(_both(x.dsat, _ONE), _both(y.dsat, _ZERO)))
    if fragment == "or_b":
        sat = _better(_both(y.dsat, x.sat), _both(y.sat, x.dsat))
        return _Ways(_better(sat, _marked(_both(y.sat, x.sat))), _both(y.dsat, x.dsat))
    sat = _better(x.sat, _both(y.sat, x.dsat))
    return _Ways(sat, None if fragment == "or_c" else _both(y.dsat, x.dsat))


def _andor(x: _Ways, y: _Ways, z: _Ways) -> _Ways:
    sat = _better(_both(y.sat, x.sat), _both(z.sat, x.dsat))
    return _Ways(sat, _better(_both(y.dsat, x.sat), _both(z.dsat, x.dsat)))


def _choose(parts: list[_Ways], start: Way) -> list[Way]:
    """For each count j: the best way in which j of the parts are satisfied, the others not."""
    ways = [start]
    for part in parts:
        following = [_both(ways[0], part.dsat)]
        for j in range(1, len(ways)):
            following.append(_better(_both(ways[j], part.dsat), _both(ways[j - 1], part.sat)))
        following.append(_both(ways[-1], part.sat))
        ways = following
    return ways


def _thresh(subs: list[_Ways], k: int) -> _Ways:
    ways = _choose(subs[::-1], _NOTHING)
    dsat = ways[0]
    for count, way in enumerate(ways):
        if count not in (0, k):
            dsat = _better(dsat, _marked(way))
    return _Ways(ways[k], dsat)


def _leaf(node: Node, available: Available) -> _Ways:
    fragment = node.fragment
    if fragment in ("0", "1"):
        return _Ways(_NOTHING, None) if fragment == "1" else _Ways(None, _NOTHING)
    if fragment == "older":
        return _Ways(_NOTHING if available.allows_older(node.k) else None, None)
    if fragment == "after":
        return _Ways(_NOTHING if available.allows_after(node.k) else None, None)
    if fragment in HASHES:
        preimage = available.preimage(fragment, node.data)
        known = preimage is not None and len(preimage) == 32
        return _Ways(Stack((preimage,), 33) if preimage is not None and known else None, _WRONG_PREIMAGE)
    if fragment == "pk_k":
        return _Ways(_signed(available.signature(node.keys[0])), _ZERO)
    if fragment == "pk_h":
        key = _element(available.public_key(node.keys[0]))
        return _Ways(_both(_signed(available.signature(node.keys[0])), key), _both(_ZERO, key))
    return _multisig(node, [available.signature(key) for key in node.keys])


def _multisig(node: Node, signatures: list[bytes | None]) -> _Ways:
    is_tapscript = node.fragment == "multi_a"
    # The smallest that are there; of equal ones those that Core's search comes to first.
    order = range(len(signatures))[::-1] if is_tapscript else range(len(signatures))
    there = sorted((at for at in order if signatures[at]), key=lambda at: len(signatures[at] or b""))
    chosen = set(there[: node.k])
    items = [(signatures[at] or b"") if at in chosen else b"" for at in range(len(signatures))]
    # The first key's signature lies on top. CHECKMULTISIG takes none for keys that do not sign, but
    # one element too many.
    stack = items[::-1] if is_tapscript else [b"", *(items[at] for at in sorted(chosen))]
    count = len(signatures) if is_tapscript else node.k + 1
    size = sum(1 + len(item) for item in stack)
    sat = Stack(tuple(stack), size, is_signed=True) if len(chosen) == node.k else None
    return _Ways(sat, Stack((b"",) * count, count))


def _element(item: bytes) -> Stack:
    return Stack((item,), 1 + len(item))


def _signed(signature: bytes | None) -> Way:
    return Stack((signature,), 1 + len(signature), is_signed=True) if signature else None

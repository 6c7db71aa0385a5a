"""Miniscript's type system (BIP379): which fragments may be composed, and what is known of the result.

A type is a set of properties, one letter each: the basic types B, V, K, W; z o n d u of correctness;
e f s m of malleability; x (its last opcode has no VERIFY form); g h i j (holds a relative time or
height, an absolute time or height) and k (no branch needs times and heights together).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

SEQUENCE_TYPE_FLAG: Final = 1 << 22
LOCK_TIME_THRESHOLD: Final = 500_000_000
_LETTERS: Final = {letter: 1 << place for place, letter in enumerate("BVKWzonduefsmxghijk")}


@lru_cache(maxsize=1024)
def properties(letters: str) -> int:
    """A set of properties by their letters."""
    return sum(_LETTERS[letter] for letter in letters)


def has(kind: int, letters: str) -> bool:
    """Whether a type has all of these properties."""
    wanted = properties(letters)
    return kind & wanted == wanted


def letters_of(kind: int) -> str:
    return "".join(letter for letter, bit in _LETTERS.items() if kind & bit)


def _when(condition: bool, kind: int) -> int:
    return kind if condition else 0


def _mixes(x: int, y: int) -> bool:
    pairs = (("g", "h"), ("h", "g"), ("i", "j"), ("j", "i"))
    return any(has(x, first) and has(y, second) for first, second in pairs)


_P = properties


def leaf_type(fragment: str, k: int) -> int:
    """The type of a fragment without subexpressions."""
    if fragment == "older":
        return _P("gBzfmxk") if k & SEQUENCE_TYPE_FLAG else _P("hBzfmxk")
    if fragment == "after":
        return _P("iBzfmxk") if k >= LOCK_TIME_THRESHOLD else _P("jBzfmxk")
    return _P(_LEAVES[fragment])


_LEAVES: Final = {
    "0": "Bzudemsxk",
    "1": "Bzufmxk",
    "pk_k": "Konudemsxk",
    "pk_h": "Knudemsxk",
    "sha256": "Bonudmk",
    "hash256": "Bonudmk",
    "ripemd160": "Bonudmk",
    "hash160": "Bonudmk",
    "multi": "Bnudemsk",
    "multi_a": "Budemsk",
}


def wrapper_type(fragment: str, x: int, *, tapscript: bool) -> int:
    """The type of ``fragment:X``; 0 if X may not be wrapped so."""
    locks = x & _P("ghijk")
    if fragment == "a":
        return _when(has(x, "B"), _P("W") | locks | x & _P("udfems") | _P("x"))
    if fragment == "s":
        return _when(has(x, "Bo"), _P("W") | locks | x & _P("udfemsx"))
    if fragment == "c":
        return _when(has(x, "K"), _P("B") | locks | x & _P("ondfem") | _P("us"))
    if fragment == "d":
        kind = _when(has(x, "z"), _P("o")) | _when(has(x, "f"), _P("e")) | x & _P("ms")
        # MINIMALIF is consensus in tapscript only: there the 1 in front is really a 1.
        kind |= _when(tapscript, _P("u")) | _P("ndx")
        return _when(has(x, "Vz"), _P("B") | locks | kind)
    if fragment == "v":
        return _when(has(x, "B"), _P("V") | locks | x & _P("zonms") | _P("fx"))
    if fragment == "j":
        kind = _when(has(x, "f"), _P("e")) | x & _P("oums") | _P("ndx")
        return _when(has(x, "Bn"), _P("B") | locks | kind)
    return _when(has(x, "B"), locks | x & _P("Bzondfems") | _P("ux"))


def and_type(fragment: str, x: int, y: int) -> int:
    """The type of and_v and and_b; 0 if these two cannot be composed."""
    both, either = x & y, x | y
    kind = _when(has(either, "z"), either & _P("o")) | x & _P("n") | _when(has(x, "z"), y & _P("n"))
    kind |= both & _P("dmz") | either & _P("sghij")
    kind |= _when(has(both, "k") and not _mixes(x, y), _P("k"))
    if fragment == "and_v":
        kind |= y & _P("KVBux") | _when(has(y, "f") or has(x, "s"), _P("f"))
        return _when(has(x, "V") and bool(y & _P("KVB")), kind)
    kind |= _P("Bux") | _when(has(both, "s"), both & _P("e"))
    kind |= _when(has(both, "f") or has(x, "sf") or has(y, "sf"), _P("f"))
    return _when(has(x, "B") and has(y, "W"), kind)


def or_type(fragment: str, x: int, y: int) -> int:
    """The type of or_b, or_c, or_d and or_i; 0 if these two cannot be composed."""
    both, either = x & y, x | y
    locks = either & _P("ghij") | both & _P("k")
    if fragment == "or_i":
        kind = both & _P("VBKufs") | _when(has(both, "z"), _P("o"))
        kind |= _when(has(either, "f"), either & _P("e")) | _when(has(either, "s"), both & _P("m"))
        return _when(bool(both & _P("VBK")), kind | either & _P("d") | _P("x") | locks)
    if fragment == "or_b":
        kind = _when(has(either, "z"), either & _P("o")) | both & _P("zse") | _P("Bdux")
        kind |= _when(has(either, "s") and has(both, "e"), both & _P("m"))
        return _when(has(x, "Bd") and has(y, "Wd"), kind | locks)
    kind = _when(has(y, "z"), x & _P("o")) | both & _P("zs")
    kind |= _when(has(x, "e") and has(either, "s"), both & _P("m"))
    if fragment == "or_c":
        return _when(has(x, "Bdu") and has(y, "V"), kind | _P("Vfx") | locks)
    return _when(has(x, "Bdu") and has(y, "B"), kind | y & _P("ufde") | _P("Bx") | locks)


def andor_type(x: int, y: int, z: int) -> int:
    """The type of andor; 0 if these three cannot be composed."""
    last = y & z
    kind = last & _P("BKVu") | x & last & _P("z") | z & _P("d") | z & (x | y) & _P("s") | _P("x")
    kind |= _when(has(x | last, "z"), (x | last) & _P("o"))
    kind |= _when(has(x, "s") or has(y, "f"), z & _P("fe"))
    kind |= _when(has(x, "e") and has(x | y | z, "s"), x & last & _P("m"))
    kind |= (x | y | z) & _P("ghij") | _when(has(x & last, "k") and not _mixes(x, y), _P("k"))
    return _when(has(x, "Bdu") and bool(last & _P("BKV")), kind)


def thresh_type(kinds: Sequence[int], k: int) -> int:
    """The type of thresh; 0 if these cannot be composed."""
    arguments, signed, locks = 0, 0, _P("k")
    for place, kind in enumerate(kinds):
        if not has(kind, "Wdu" if place else "Bdu"):
            return 0
        arguments += 0 if has(kind, "z") else 1 if has(kind, "o") else 2
        signed += has(kind, "s")
        mixed = k > 1 and _mixes(locks, kind)
        locks = (locks | kind) & _P("ghij") | _when(has(locks & kind, "k") and not mixed, _P("k"))
    all_e = all(has(kind, "e") for kind in kinds)
    all_m = all(has(kind, "m") for kind in kinds)
    count = len(kinds)
    return (
        _P("Bdu")
        | locks
        | _when(arguments == 0, _P("z"))
        | _when(arguments == 1, _P("o"))
        | _when(all_e and signed == count, _P("e"))
        | _when(all_e and all_m and signed >= count - k, _P("m"))
        | _when(signed >= count - k + 1, _P("s"))
    )

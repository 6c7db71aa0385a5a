"""Where a key comes from: the fingerprint of its master key and the path below it (BIP32, BIP380)."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from anya_actors.domain.machine import InvalidInputError

HARDENED: Final = 0x80000000
KeyPath = tuple[int, ...]
"""Child numbers; those of hardened children have `HARDENED` set."""

_STEP: Final = re.compile(r"([0-9]{1,10})(h|H|'?)", re.ASCII)


class KeyPathError(InvalidInputError):
    """Text that is no derivation path."""

    code = "invalid-key-path"
    message = "{} is not a derivation path: {}"
    remedy = "Write it like m/84h/0h/0h/0/5, with numbers below 2147483648."


class KeyOrigin(msgspec.Struct, frozen=True, order=True):
    """The first four bytes of the master key's HASH160, and the path from it to a key."""

    fingerprint: bytes
    path: KeyPath = ()

    def __str__(self) -> str:
        return "/".join((self.fingerprint.hex(), *(format_step(step) for step in self.path)))

    def child(self, step: int) -> KeyOrigin:
        return KeyOrigin(self.fingerprint, (*self.path, step))


def format_step(step: int, marker: str = "h") -> str:
    """One child number as text: ``84h`` or ``5``."""
    return f"{step - HARDENED}{marker}" if step >= HARDENED else str(step)


def format_key_path(path: KeyPath, marker: str = "h") -> str:
    """A path as text, from the master key: ``m/84h/0h/0h``."""
    return "/".join(("m", *(format_step(step, marker) for step in path)))


def parse_step(text: str) -> int:
    """One child number; raises `KeyPathError`."""
    match = _STEP.fullmatch(text)
    if match is None:
        raise KeyPathError(text[:100], f"Key path value '{text[:50]}' is not a valid uint32")
    number = int(match[1])
    if number >= HARDENED:
        raise KeyPathError(text, f"Key path value {number} is out of range")
    return number | (HARDENED if match[2] else 0)


def parse_key_path(text: str) -> KeyPath:
    """A path like ``m/84h/0h/0'/1``; raises `KeyPathError`."""
    first, *steps = text.split("/")
    if first in ("m", "M"):
        return tuple(parse_step(step) for step in steps)
    if not text:
        return ()
    return tuple(parse_step(step) for step in (first, *steps))

"""What a key may be asked to do: one struct per operation, alike for every door and every backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from anya_actors.domain.machine import InvalidInputError

KeyPath = tuple[int, ...]
"""Child numbers from a BIP32 key; those of hardened children have `HARDENED` set."""

HARDENED: Final = 0x80000000
MAX_PATH_DEPTH: Final = 10


class SignRequest(msgspec.Struct, frozen=True, tag=True):
    """A signature by ``key``, of a 32-byte digest or of a message, as ``algorithm`` wants it.

    ``path`` derives from a BIP32 key. ``taproot_merkle_root`` tweaks the key as BIP341 says before
    a BIP340 signature: empty for an output without scripts (BIP86), None for no tweak.
    """

    key: str
    message: bytes
    algorithm: str
    path: KeyPath = ()
    taproot_merkle_root: bytes | None = None


class MusigRound(msgspec.Struct, frozen=True, tag=True):
    """What all signers of one MuSig2 signature agree on (BIP327).

    ``tweaks`` are applied in order to the aggregate of ``public_keys``; True marks one that is
    x-only, as taproot's is. ``aggregate_nonce`` is the sum of all signers' public nonces.
    """

    public_keys: tuple[bytes, ...]
    aggregate_nonce: bytes
    message: bytes
    tweaks: tuple[tuple[bytes, bool], ...] = ()


def check_path(path: Sequence[int]) -> KeyPath:
    """The path as a tuple; raise `InvalidInputError` for one that is too deep or no path."""
    if len(path) > MAX_PATH_DEPTH:
        raise InvalidInputError("path", f"at most {MAX_PATH_DEPTH} steps, not {len(path)}")
    if any(type(step) is not int or not 0 <= step <= 0xFFFFFFFF for step in path):
        raise InvalidInputError("path", "each step is a number of 32 bits")
    return tuple(path)


def check_merkle_root(root: bytes | None) -> None:
    """Raise `InvalidInputError` unless it is None, empty or 32 bytes."""
    if root is not None and len(root) not in (0, 32):
        raise InvalidInputError("taproot_merkle_root", f"it has 32 bytes or none, not {len(root)}")

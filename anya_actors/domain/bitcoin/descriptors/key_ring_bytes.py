"""The private keys of descriptors as bytes, to be sealed, and back again.

A version byte, then the keys one behind the other: ``x``, depth, parent's fingerprint (4), child number
(4), network, chain code (32), secret (32); or ``s``, length of the public key, public key, whether it is
compressed, network, secret (32). The network is 1 for the main one, 0 for the others.
"""

from __future__ import annotations

from typing import Final

from anya_actors.domain.bitcoin.descriptors.keys import KeyRing
from anya_actors.domain.keys.curve import CurveError, Point, check_secret
from anya_actors.domain.keys.extended import ExtendedPrivateKey
from anya_actors.domain.keys.private_text import PrivateKey
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import InvalidInputError

_VERSION: Final = 1
_EXTENDED: Final = b"x"
_SINGLE: Final = b"s"
_KEY_SIZES: Final = (33, 65)


class KeyRingError(InvalidInputError):
    """Bytes that are no private keys. The error quotes nothing of them."""

    code = "invalid-key-ring"
    message = "{} are not valid: {}"
    remedy = "Restore the wallet from a backup."


def write_key_ring(ring: KeyRing) -> Secret:
    """All keys of a ring; the caller wipes it."""
    data = bytearray((_VERSION,))
    for extended in ring.extended.values():
        place = bytes((extended.depth,)) + extended.parent_fingerprint
        place += extended.child_number.to_bytes(4, "big") + bytes((extended.is_mainnet,))
        data = _grown(data, _EXTENDED + place + extended.chain_code, extended.secret)
    for public_key, single in ring.single.items():
        head = _SINGLE + bytes((len(public_key),)) + public_key
        data = _grown(data, head + bytes((single.is_compressed, single.is_mainnet)), single.secret)
    return Secret(data)


def _grown(data: bytearray, head: bytes, secret: Secret) -> bytearray:
    # A bytearray that grows may leave a copy of itself behind.
    grown = bytearray(len(data) + len(head) + len(secret))
    grown[: len(data)] = data
    grown[len(data) : len(data) + len(head)] = head
    grown[len(data) + len(head) :] = secret.buffer
    data[:] = bytes(len(data))
    return grown


class _Reader:
    """Takes bytes off a secret's front."""

    def __init__(self, data: Secret) -> None:
        self._data = memoryview(data.buffer)
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._data)

    def take(self, size: int) -> memoryview:
        if self._at + size > len(self._data):
            raise KeyRingError("the private keys", "they end too early")
        self._at += size
        return self._data[self._at - size : self._at]

    def flag(self) -> bool:
        (found,) = self.take(1)
        if found > 1:
            raise KeyRingError("the private keys", "a flag is neither 0 nor 1")
        return bool(found)

    def secret(self) -> Secret:
        secret = Secret(bytearray(self.take(32)))
        try:
            check_secret(secret)
        except CurveError:
            secret.wipe()
            raise KeyRingError("the private keys", "one is zero or not below the group order") from None
        return secret


def read_key_ring(data: Secret, ring: KeyRing) -> None:
    """Put the keys into a ring; raises `KeyRingError`, and then the ring is empty."""
    try:
        reader = _Reader(data)
        if bytes(reader.take(1)) != bytes((_VERSION,)):
            raise KeyRingError("the private keys", "their version is unknown")
        while not reader.is_at_end:
            kind = bytes(reader.take(1))
            if kind == _EXTENDED:
                _read_extended(reader, ring)
            elif kind == _SINGLE:
                _read_single(reader, ring)
            else:
                raise KeyRingError("the private keys", "one is of an unknown kind")
    except BaseException:
        ring.wipe()
        raise


def _read_extended(reader: _Reader, ring: KeyRing) -> None:
    (depth,) = reader.take(1)
    parent, number = bytes(reader.take(4)), int.from_bytes(reader.take(4), "big")
    is_mainnet, chain_code = reader.flag(), bytes(reader.take(32))
    private = ExtendedPrivateKey(reader.secret(), chain_code, depth, parent, number, is_mainnet)
    ring.extended[private.public] = private


def _read_single(reader: _Reader, ring: KeyRing) -> None:
    (size,) = reader.take(1)
    if size not in _KEY_SIZES:
        raise KeyRingError("the private keys", "a public key has another length")
    public_key = bytes(reader.take(size))
    single = PrivateKey(is_compressed=reader.flag(), is_mainnet=reader.flag(), secret=reader.secret())
    ring.single[public_key] = single
    if Point.of_secret(single.secret).serialize()[1:] != public_key[1:33]:
        raise KeyRingError("the private keys", "one is not that of its public key")

"""libsodium's sealed boxes, through PyNaCl: an ephemeral X25519 key, XSalsa20-Poly1305.

Through its private bindings: the public ones leave copies of what was sealed, which nobody can zero.
"""

from __future__ import annotations

from typing import Final

from nacl._sodium import ffi, lib  # type: ignore[import-not-found] # a compiled module
from nacl.public import PrivateKey

from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import InvalidInputError
from anya_actors.ports.sealing import UnopenableError

SEAL_BYTES: Final = 48  # crypto_box_SEALBYTES: the ephemeral key and the tag


class NaclRecipient:
    """A key pair of this process. It is drawn by libsodium, and never stored or sent."""

    def __init__(self) -> None:
        self._key: PrivateKey | None = PrivateKey.generate()
        self._public_key = bytes(self._key.public_key)

    def __repr__(self) -> str:
        return f"NaclRecipient({self._public_key.hex()})"

    @property
    def public_key(self) -> bytes:
        """X25519, 32 bytes."""
        return self._public_key

    def open(self, box: bytes) -> Secret:
        """What was sealed to this process, or `UnopenableError`."""
        if self._key is None:
            raise UnopenableError
        plaintext = Secret(bytearray(max(0, len(box) - SEAL_BYTES)))
        place, key = ffi.from_buffer("unsigned char[]", plaintext.buffer), bytes(self._key)
        if lib.crypto_box_seal_open(place, box, len(box), self._public_key, key) != 0:
            raise UnopenableError
        return plaintext

    def wipe(self) -> None:
        """Drop the private half."""
        self._key = None


class NaclSealedBoxes:
    """Makes recipients and seals to them."""

    def recipient(self) -> NaclRecipient:
        """A fresh key pair."""
        return NaclRecipient()

    def seal(self, plaintext: Secret, public_key: bytes) -> bytes:
        """A box for the holder of the X25519 key."""
        if len(public_key) != 32:
            raise InvalidInputError("recipient_public_key", "an X25519 key has 32 bytes")
        box = ffi.new("unsigned char[]", len(plaintext) + SEAL_BYTES)
        place = ffi.from_buffer("unsigned char[]", plaintext.buffer)
        if lib.crypto_box_seal(box, place, len(plaintext), public_key) != 0:
            raise InvalidInputError("recipient_public_key", "it is not a usable X25519 key")
        return bytes(ffi.buffer(box))

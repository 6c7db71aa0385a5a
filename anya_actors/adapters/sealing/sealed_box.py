"""libsodium's sealed boxes, through PyNaCl: an ephemeral X25519 key, XSalsa20-Poly1305."""

from __future__ import annotations

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox

from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import InvalidInputError
from anya_actors.ports.sealing import UnopenableError


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
        try:
            return Secret(SealedBox(self._key).decrypt(box))
        except (CryptoError, ValueError, TypeError):
            raise UnopenableError from None

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
        try:
            return SealedBox(PublicKey(public_key)).encrypt(plaintext.reveal())
        except (CryptoError, ValueError):
            raise InvalidInputError("recipient_public_key", "it is not a usable X25519 key") from None

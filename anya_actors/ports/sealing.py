"""What keeps secrets closed: key derivation, authenticated encryption, boxes for one recipient."""

from __future__ import annotations

from typing import Protocol

from anya_actors.domain.hsm.root import KdfParameters
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import AnyaError


class UnopenableError(AnyaError):
    """The key is wrong, or the sealed bytes or their context were altered. Nothing tells which."""

    code = "unopenable"
    message = "sealed bytes do not open"
    remedy = "Use the key and the context that they were sealed with."


class PassphraseKdf(Protocol):
    """Makes a key of a passphrase, slowly on purpose."""

    async def derive(self, passphrase: Secret, salt: bytes, parameters: KdfParameters) -> Secret:
        """32 bytes by Argon2id (RFC 9106), without blocking the event loop."""


class Cipher(Protocol):
    """Authenticated encryption with a random nonce."""

    def seal(self, key: Secret, plaintext: bytes | bytearray, context: bytes) -> bytes:
        """Nonce, ciphertext and tag; opens only with the same 32-byte key and context."""

    def open(self, key: Secret, sealed: bytes, context: bytes) -> Secret:
        """The plaintext. Raises `UnopenableError`."""


class Recipient(Protocol):
    """A key pair that lives and dies with this process."""

    @property
    def public_key(self) -> bytes:
        """X25519, 32 bytes."""

    def open(self, box: bytes) -> Secret:
        """What was sealed to `public_key`. Raises `UnopenableError`."""

    def wipe(self) -> None:
        """Forget the private half; nothing opens any more."""


class SealedBoxes(Protocol):
    """Anonymous public-key encryption (libsodium's sealed boxes)."""

    def recipient(self) -> Recipient:
        """A fresh key pair."""

    def seal(self, plaintext: Secret, public_key: bytes) -> bytes:
        """A box that only the holder of the X25519 key opens. Raises `InvalidInputError`."""

"""The arithmetic of keys: drawing, signing, verifying."""

from __future__ import annotations

from typing import Protocol

from anya_actors.domain.keys.secret import Secret


class SigningKey(Protocol):
    """A private key ready for use. Its repr shows nothing."""

    @property
    def public_key(self) -> bytes:
        """As `KeyAlgorithms.public_key`."""

    def sign(self, message: bytes, algorithm: str) -> bytes:
        """Sign a message (Ed25519) or a 32-byte digest (ECDSA, BIP340).

        Returns DER with low S (ECDSA, nonce by RFC 6979) or 64 bytes. Raises `InvalidInputError`.
        """

    def wipe(self) -> None:
        """Forget the private half, as far as the library behind allows; signing ends."""


class KeyAlgorithms(Protocol):
    """Every key type of the platform."""

    def generate(self, key_type: str) -> Secret:
        """A new private key of 32 bytes, uniform over the valid ones."""

    def load(self, key_type: str, private_key: Secret) -> SigningKey:
        """Make a private key ready for signing. Raises `InvalidInputError` if it is out of range."""

    def verify(
        self, key_type: str, public_key: bytes, message: bytes, signature: bytes, algorithm: str
    ) -> None:
        """Return if ``signature`` holds; raise `InvalidSignatureError` or `InvalidInputError`."""

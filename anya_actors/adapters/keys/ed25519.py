"""Ed25519 (RFC 8032) on OpenSSL, through cryptography; of digests (Ed25519ph) on libsodium."""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from anya_actors.adapters.keys import ed25519_prehashed
from anya_actors.domain.keys.algorithms import InvalidSignatureError, check_algorithm
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import InvalidInputError
from anya_actors.ports.randomness import Randomness

KEY_TYPE: Final = "ed25519"


class Ed25519SigningKey:
    """An Ed25519 private key."""

    def __init__(self, private_key: Secret) -> None:
        if len(private_key) != 32:
            raise InvalidInputError("private_key", "it is not 32 bytes long")
        with private_key.revealed() as seed:
            self._key: Ed25519PrivateKey | None = Ed25519PrivateKey.from_private_bytes(seed)
        self._public_key = self._key.public_key().public_bytes_raw()

    def __repr__(self) -> str:
        return f"Ed25519SigningKey({self._public_key.hex()})"

    @property
    def public_key(self) -> bytes:
        """32 bytes."""
        return self._public_key

    def sign(self, message: bytes, algorithm: str) -> bytes:
        """64 bytes; deterministic."""
        check_algorithm(KEY_TYPE, algorithm)
        if self._key is None:
            raise InvalidInputError("key", "it was wiped")
        if algorithm == ed25519_prehashed.ALGORITHM:
            with Secret.taken(self._key.private_bytes_raw()) as seed:
                return ed25519_prehashed.sign(seed, self._public_key, message)
        return self._key.sign(message)

    def wipe(self) -> None:
        """Drop the key object; OpenSSL zeroes its copy when it is freed."""
        self._key = None


def generate(randomness: Randomness) -> Secret:
    """A private key: 32 random bytes, the seed of RFC 8032 section 5.1.5."""
    return Secret.taken(randomness.token_bytes(32))


def verify(public_key: bytes, message: bytes, signature: bytes, algorithm: str) -> None:
    """Return if the signature holds; raise `InvalidSignatureError` or `InvalidInputError`."""
    check_algorithm(KEY_TYPE, algorithm)
    if len(public_key) != 32:
        raise InvalidInputError("public_key", "it is not 32 bytes long")
    if algorithm == ed25519_prehashed.ALGORITHM:
        ed25519_prehashed.verify(public_key, message, signature)
        return
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except InvalidSignature:
        raise InvalidSignatureError(algorithm) from None

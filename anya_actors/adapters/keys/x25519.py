"""X25519 (RFC 7748) on OpenSSL, through cryptography."""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from anya_actors.domain.keys.algorithms import check_algorithm
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import InvalidInputError
from anya_actors.ports.randomness import Randomness

KEY_TYPE: Final = "x25519"


class X25519Key:
    """An X25519 private key, 32 bytes."""

    def __init__(self, private_key: Secret) -> None:
        if len(private_key) != 32:
            raise InvalidInputError("private_key", "it is not 32 bytes long")
        with private_key.revealed() as scalar:
            self._key: X25519PrivateKey | None = X25519PrivateKey.from_private_bytes(scalar)
        self._public_key = self._key.public_key().public_bytes_raw()

    def __repr__(self) -> str:
        return f"X25519Key({self._public_key.hex()})"

    @property
    def public_key(self) -> bytes:
        """32 bytes."""
        return self._public_key

    def agree(self, public_key: bytes, algorithm: str) -> bytes:
        """The shared secret, 32 bytes; a public key that gives zeros is refused (RFC 7748, 6.1)."""
        check_algorithm(KEY_TYPE, algorithm, "agree")
        if self._key is None:
            raise InvalidInputError("key", "it was wiped")
        return _exchanged(self._key, public_key)

    def wipe(self) -> None:
        """Drop the key object; OpenSSL zeroes its copy when it is freed."""
        self._key = None


def check_public_key(public_key: bytes) -> None:
    """Raise `InvalidInputError` for a public key that gives zeros with every private key."""
    _exchanged(_PROBE, public_key)


def _exchanged(key: X25519PrivateKey, public_key: bytes) -> bytes:
    if len(public_key) != 32:
        raise InvalidInputError("public_key", "it is not 32 bytes long")
    try:
        return key.exchange(X25519PublicKey.from_public_bytes(public_key))
    except ValueError:
        raise InvalidInputError("public_key", "it is of small order: the secret would be zero") from None


# Nobody's: private keys are multiples of 8, so any of them tells points of small order.
_PROBE: Final = X25519PrivateKey.from_private_bytes(bytes(32))


def generate(randomness: Randomness) -> Secret:
    """A private key: any 32 bytes, which RFC 7748 clamps at use."""
    return Secret.taken(randomness.token_bytes(32))

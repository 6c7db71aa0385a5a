"""secp256k1 on libsecp256k1, through coincurve: ECDSA for Bitcoin, and BIP340."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from coincurve import PrivateKey, PublicKey, PublicKeyXOnly

from anya_actors.domain.keys.algorithms import InvalidSignatureError, check_algorithm, check_message
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import InvalidInputError
from anya_actors.ports.randomness import Randomness

KEY_TYPE: Final = "secp256k1"
# SEC 2, section 2.4.1.
ORDER: Final = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141


class Secp256k1SigningKey:
    """A secp256k1 private key. Without ``randomness`` BIP340 signs with 32 zero bytes of auxiliary data."""

    def __init__(self, private_key: Secret, randomness: Randomness | None) -> None:
        if len(private_key) != 32:
            raise InvalidInputError("private_key", "it is not 32 bytes long")
        try:
            self._key: PrivateKey | None = PrivateKey(private_key.reveal())
        except ValueError:
            # The library's error may quote the value: cut the chain.
            raise InvalidInputError("private_key", "it is zero or not below the group order") from None
        self._public_key: bytes = self._key.public_key.format(compressed=True)
        self._randomness = randomness

    def __repr__(self) -> str:
        return f"Secp256k1SigningKey({self._public_key.hex()})"

    @property
    def public_key(self) -> bytes:
        """SEC1 compressed, 33 bytes."""
        return self._public_key

    def sign(self, message: bytes, algorithm: str) -> bytes:
        """ECDSA: DER, low S, RFC 6979. BIP340: 64 bytes. ``message`` is the 32 bytes to sign."""
        check_algorithm(KEY_TYPE, algorithm)
        check_message(algorithm, message)
        if self._key is None:
            raise InvalidInputError("key", "it was wiped")
        if algorithm == "ecdsa-secp256k1":
            return bytes(self._key.sign(message, hasher=None))
        auxiliary = bytes(32) if self._randomness is None else self._randomness.token_bytes(32)
        return bytes(self._key.sign_schnorr(message, auxiliary))

    def wipe(self) -> None:
        """Drop the key object; coincurve keeps the private half in ``bytes``, which Python frees unzeroed."""
        self._key = None


def generate(randomness: Randomness) -> Secret:
    """A private key, uniform in 1 to n-1."""
    while True:
        candidate = Secret(randomness.token_bytes(32))
        if 0 < int.from_bytes(candidate.buffer, "big") < ORDER:
            return candidate
        candidate.wipe()


def verify(public_key: bytes, message: bytes, signature: bytes, algorithm: str) -> None:
    """Return if the signature holds; raise `InvalidSignatureError` or `InvalidInputError`.

    ``public_key`` is SEC1 (33 or 65 bytes), for BIP340 also x-only (32). ECDSA refuses a high S.
    BIP340 takes a message of any length.
    """
    check_algorithm(KEY_TYPE, algorithm)
    if algorithm == "ecdsa-secp256k1":
        check_message(algorithm, message)
        point = _point(public_key)
        holds = _holds(lambda: point.verify(signature, message, hasher=None))
    else:
        x_only = _x_only(public_key)
        holds = _holds(lambda: x_only.verify(signature, message))
    if not holds:
        raise InvalidSignatureError(algorithm)


def _holds(check: Callable[[], bool]) -> bool:
    try:
        return check()
    except ValueError:  # the signature cannot even be parsed
        return False


def _point(public_key: bytes) -> PublicKey:
    try:
        return PublicKey(public_key)
    except ValueError as error:
        raise InvalidInputError("public_key", "it is not a point of secp256k1") from error


def _x_only(public_key: bytes) -> PublicKeyXOnly:
    if len(public_key) != 32:
        public_key = _point(public_key).format(compressed=True)[1:]
    try:
        return PublicKeyXOnly(public_key)
    except ValueError as error:
        raise InvalidInputError("public_key", "no point of secp256k1 has this x") from error

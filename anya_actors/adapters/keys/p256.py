"""NIST P-256 on OpenSSL, through cryptography: ECDSA with SHA-256, and ECDH."""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from anya_actors.domain.keys.algorithms import InvalidSignatureError, check_algorithm, check_message
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import InvalidInputError
from anya_actors.ports.randomness import Randomness

KEY_TYPE: Final = "p256"
# FIPS 186-5 (SP 800-186, 3.2.1.3): the order of the group.
ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
KEY_ALGORITHM: Final = "ecdsa-p256"
_HASHED: Final = ec.ECDSA(hashes.SHA256())
_DIGEST: Final = ec.ECDSA(Prehashed(hashes.SHA256()))


class P256Key:
    """A P-256 private key, 32 bytes."""

    def __init__(self, private_key: Secret) -> None:
        if len(private_key) != 32:
            raise InvalidInputError("private_key", "it is not 32 bytes long")
        value = int.from_bytes(private_key.buffer, "big")
        if not 0 < value < ORDER:
            raise InvalidInputError("private_key", "it is zero or not below the group order")
        self._key: ec.EllipticCurvePrivateKey | None = ec.derive_private_key(value, ec.SECP256R1())
        self._public_key = compressed(self._key.public_key())

    def __repr__(self) -> str:
        return f"P256Key({self._public_key.hex()})"

    @property
    def public_key(self) -> bytes:
        """SEC1 compressed, 33 bytes."""
        return self._public_key

    def sign(self, message: bytes, algorithm: str) -> bytes:
        """ECDSA over SHA-256 of the message (``ecdsa-p256``: of a digest); DER, or r and s in 64 bytes."""
        check_algorithm(KEY_TYPE, algorithm)
        check_message(algorithm, message)
        signature = self._private().sign(message, _DIGEST if algorithm == KEY_ALGORITHM else _HASHED)
        if algorithm.endswith("-p1363"):
            r, s = decode_dss_signature(signature)
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return signature

    def agree(self, public_key: bytes, algorithm: str) -> bytes:
        """The x coordinate of the shared point, 32 bytes (SP 800-56A, 5.7.1.2)."""
        check_algorithm(KEY_TYPE, algorithm, "agree")
        return self._private().exchange(ec.ECDH(), point(public_key))

    def wipe(self) -> None:
        """Drop the key object; OpenSSL zeroes its copy when it is freed."""
        self._key = None

    def _private(self) -> ec.EllipticCurvePrivateKey:
        if self._key is None:
            raise InvalidInputError("key", "it was wiped")
        return self._key


def generate(randomness: Randomness) -> Secret:
    """A private key, uniform in 1 to n-1."""
    while True:
        candidate = Secret.taken(randomness.token_bytes(32))
        if 0 < int.from_bytes(candidate.buffer, "big") < ORDER:
            return candidate
        candidate.wipe()


def verify(public_key: bytes, message: bytes, signature: bytes, algorithm: str) -> None:
    """Return if the signature holds; raise `InvalidSignatureError` or `InvalidInputError`."""
    check_algorithm(KEY_TYPE, algorithm)
    key = point(public_key)
    try:
        if algorithm.endswith("-p1363"):
            if len(signature) != 64:
                raise InvalidSignatureError(algorithm)
            r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
            signature = encode_dss_signature(r, s)
        check_message(algorithm, message)
        key.verify(signature, message, _DIGEST if algorithm == KEY_ALGORITHM else _HASHED)
    except InvalidSignature:
        raise InvalidSignatureError(algorithm) from None


def point(public_key: bytes) -> ec.EllipticCurvePublicKey:
    """A public key of SEC1, compressed or not."""
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public_key)
    except ValueError:
        raise InvalidInputError("public_key", "it is not a point of P-256") from None


def compressed(key: ec.EllipticCurvePublicKey) -> bytes:
    """The point in 33 bytes."""
    return key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)

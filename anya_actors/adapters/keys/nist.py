"""NIST's curves on OpenSSL, through cryptography: ECDSA and ECDH on P-256, P-384 and P-521."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from anya_actors.adapters.keys.hashing import BY_DIGEST_BYTES, HASHES
from anya_actors.domain.keys.algorithms import (
    NIST_CURVES,
    InvalidSignatureError,
    check_algorithm,
    check_message,
)
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import InvalidInputError
from anya_actors.ports.randomness import Randomness


@dataclass(frozen=True, slots=True)
class Curve:
    """One curve, with the order of its group (SP 800-186, 3.2.1)."""

    curve: ec.EllipticCurve
    order: int


CURVES: Final[Mapping[str, Curve]] = {
    "p256": Curve(ec.SECP256R1(), 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551),
    "p384": Curve(ec.SECP384R1(), 2**384 - 0x389CB27E0BC8D220A7E5F24DB74F58851313E695333AD68D),
    "p521": Curve(
        ec.SECP521R1(), 2**521 - 0x5AE79787C40D069948033FEB708F65A2FC44A36477663B851449048E16EC79BF7
    ),
}


class NistKey:
    """A private key of one of the curves: 32, 48 or 66 bytes."""

    def __init__(self, key_type: str, private_key: Secret) -> None:
        if len(private_key) != NIST_CURVES[key_type]:
            raise InvalidInputError("private_key", f"it is not {NIST_CURVES[key_type]} bytes long")
        value = int.from_bytes(private_key.buffer, "big")
        if not 0 < value < CURVES[key_type].order:
            raise InvalidInputError("private_key", "it is zero or not below the group order")
        self._key_type = key_type
        self._key: ec.EllipticCurvePrivateKey | None = ec.derive_private_key(value, CURVES[key_type].curve)
        self._public_key = compressed(self._key.public_key())

    def __repr__(self) -> str:
        return f"NistKey({self._key_type}, {self._public_key.hex()})"

    @property
    def public_key(self) -> bytes:
        """SEC1 compressed."""
        return self._public_key

    def sign(self, message: bytes, algorithm: str) -> bytes:
        """ECDSA over the hash that the algorithm names, or of a digest; DER, or r and s (P1363)."""
        check_algorithm(self._key_type, algorithm)
        check_message(algorithm, message)
        signature = self._private().sign(message, _scheme(algorithm, len(message)))
        if algorithm.endswith("-p1363"):
            size = NIST_CURVES[self._key_type]
            r, s = decode_dss_signature(signature)
            return r.to_bytes(size, "big") + s.to_bytes(size, "big")
        return signature

    def agree(self, public_key: bytes, algorithm: str) -> bytes:
        """The x coordinate of the shared point, as long as the field (SP 800-56A, 5.7.1.2)."""
        check_algorithm(self._key_type, algorithm, "agree")
        return self._private().exchange(ec.ECDH(), point(self._key_type, public_key))

    def wipe(self) -> None:
        """Drop the key object; OpenSSL zeroes its copy when it is freed."""
        self._key = None

    def _private(self) -> ec.EllipticCurvePrivateKey:
        if self._key is None:
            raise InvalidInputError("key", "it was wiped")
        return self._key


def generate(key_type: str, randomness: Randomness) -> Secret:
    """A private key, uniform in 1 to n-1."""
    order = CURVES[key_type].order
    unused = -order.bit_length() % 8
    while True:
        candidate = Secret.taken(randomness.token_bytes(NIST_CURVES[key_type]))
        candidate.buffer[0] >>= unused
        if 0 < int.from_bytes(candidate.buffer, "big") < order:
            return candidate
        candidate.wipe()


def verify(key_type: str, public_key: bytes, message: bytes, signature: bytes, algorithm: str) -> None:
    """Return if the signature holds; raise `InvalidSignatureError` or `InvalidInputError`."""
    check_algorithm(key_type, algorithm, "verify")
    key, size = point(key_type, public_key), NIST_CURVES[key_type]
    check_message(algorithm, message)
    if algorithm.endswith("-p1363"):
        if len(signature) != 2 * size:
            raise InvalidSignatureError(algorithm)
        r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
        signature = encode_dss_signature(r, s)
    try:
        key.verify(signature, message, _scheme(algorithm, len(message)))
    except InvalidSignature:
        raise InvalidSignatureError(algorithm) from None


def point(key_type: str, public_key: bytes) -> ec.EllipticCurvePublicKey:
    """A public key of SEC1, compressed or not."""
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(CURVES[key_type].curve, public_key)
    except ValueError:
        raise InvalidInputError("public_key", f"it is not a point of {key_type}") from None


def compressed(key: ec.EllipticCurvePublicKey) -> bytes:
    """The point with the sign of y instead of y."""
    return key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)


@lru_cache(maxsize=128)
def _scheme(algorithm: str, message_bytes: int) -> ec.ECDSA:
    named = algorithm.removesuffix("-p1363").split("-", 2)[2:]
    if named:
        return ec.ECDSA(HASHES[named[0]])
    # Of a digest ECDSA takes the leftmost bits (FIPS 186-5, 6.4.1), whatever made it.
    return ec.ECDSA(Prehashed(BY_DIGEST_BYTES[message_bytes]))

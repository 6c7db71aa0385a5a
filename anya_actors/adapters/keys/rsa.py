"""RSA (RFC 8017) on OpenSSL, through cryptography: PSS, PKCS#1 v1.5 signatures, OAEP."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import NoDigestInfo, Prehashed
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)

from anya_actors.adapters.keys.hashing import HASHES
from anya_actors.domain.keys.algorithms import (
    RSA_BITS,
    InvalidCiphertextError,
    InvalidSignatureError,
    check_algorithm,
)
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import InvalidInputError

_SIGNATURE: Final = re.compile(
    r"rsa-(pss|pkcs1)-(none|sha(?:3-)?[0-9]+)(?:-(auto)|-salt([0-9]+))?(-digest)?\Z", re.ASCII
)


class RsaKey:
    """An RSA private key of one of the served sizes, kept as PKCS#8 DER."""

    def __init__(self, key_type: str, private_key: Secret) -> None:
        try:
            with private_key.revealed() as encoded:
                key = load_der_private_key(encoded, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise InvalidInputError("private_key", "it is not PKCS#8 of an RSA key") from None
        if not isinstance(key, rsa.RSAPrivateKey):
            raise InvalidInputError("private_key", "it is not an RSA key")
        if key.key_size != RSA_BITS[key_type] or key.public_key().public_numbers().e != 65537:
            raise InvalidInputError("private_key", f"{key_type} has that many bits and the exponent 65537")
        self._key_type = key_type
        self._key: rsa.RSAPrivateKey | None = key
        self._public_key = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def __repr__(self) -> str:
        return f"RsaKey({self._key_type}, {self._public_key.hex()})"

    @property
    def public_key(self) -> bytes:
        """SubjectPublicKeyInfo, DER."""
        return self._public_key

    def sign(self, message: bytes, algorithm: str) -> bytes:
        """PSS or PKCS#1 v1.5, over the hash that the algorithm names or of a digest by it."""
        check_algorithm(self._key_type, algorithm)
        scheme, hashed = _signature_scheme(algorithm, padding.PSS.MAX_LENGTH)
        try:
            return self._private().sign(message, scheme, hashed)
        except ValueError as error:  # tells of lengths alone
            raise InvalidInputError("message", str(error)) from None

    def encrypt(self, plaintext: bytes, algorithm: str, associated_data: bytes, nonce: bytes) -> bytes:
        """OAEP with the public half; the associated data is its label."""
        return encrypt(self._key_type, self._public_key, plaintext, algorithm, associated_data)

    def decrypt(self, ciphertext: bytes, algorithm: str, associated_data: bytes) -> bytes:
        """OAEP; raises `InvalidCiphertextError`, which tells nothing more."""
        check_algorithm(self._key_type, algorithm, "decrypt")
        try:
            return self._private().decrypt(ciphertext, _oaep(algorithm, associated_data))
        except ValueError:
            raise InvalidCiphertextError(algorithm) from None

    def wipe(self) -> None:
        """Drop the key object; OpenSSL zeroes its copy when it is freed."""
        self._key = None

    def _private(self) -> rsa.RSAPrivateKey:
        if self._key is None:
            raise InvalidInputError("key", "it was wiped")
        return self._key


def generate(key_type: str) -> Secret:
    """A private key, drawn by OpenSSL; takes a tenth of a second (2048 bits) to some seconds (4096)."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS[key_type])
    return Secret.taken(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))


def verify(key_type: str, public_key: bytes, message: bytes, signature: bytes, algorithm: str) -> None:
    """Return if the signature holds; raise `InvalidSignatureError` or `InvalidInputError`."""
    check_algorithm(key_type, algorithm, "verify")
    scheme, hashed = _signature_scheme(algorithm, padding.PSS.AUTO)
    key = _public(key_type, public_key)
    try:
        key.verify(signature, message, scheme, hashed)
    except InvalidSignature:
        raise InvalidSignatureError(algorithm) from None
    except ValueError as error:  # tells of lengths alone
        raise InvalidInputError("message", str(error)) from None


def encrypt(
    key_type: str, public_key: bytes, plaintext: bytes, algorithm: str, associated_data: bytes
) -> bytes:
    """OAEP under a public key; raises `InvalidInputError` for a plaintext that does not fit."""
    check_algorithm(key_type, algorithm, "encrypt")
    try:
        return _public(key_type, public_key).encrypt(plaintext, _oaep(algorithm, associated_data))
    except ValueError:
        raise InvalidInputError("plaintext", f"it is too long for {algorithm} under {key_type}") from None


@lru_cache(maxsize=64)
def _public(key_type: str, public_key: bytes) -> rsa.RSAPublicKey:
    try:
        key = load_der_public_key(public_key)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise InvalidInputError("public_key", "it is not a SubjectPublicKeyInfo") from None
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size != RSA_BITS[key_type]:
        raise InvalidInputError("public_key", f"it is not a key of type {key_type}")
    return key


@lru_cache(maxsize=128)
def _signature_scheme(algorithm: str, any_salt: Any) -> tuple[padding.AsymmetricPadding, Any]:
    """Padding and hash of a name that was checked; ``any_salt`` is what ``-auto`` means."""
    named = _SIGNATURE.match(algorithm)
    if named is None:
        raise InvalidInputError("algorithm", "it is not an RSA signature")
    form, name, auto, salt, digest = named.groups()
    if name == "none":
        return padding.PKCS1v15(), NoDigestInfo()
    hashed = HASHES[name]
    taken = Prehashed(hashed) if digest else hashed
    if form == "pkcs1":
        return padding.PKCS1v15(), taken
    length = any_salt if auto else hashed.digest_size if salt is None else int(salt)
    return padding.PSS(padding.MGF1(hashed), length), taken


def _oaep(algorithm: str, label: bytes) -> padding.OAEP:
    hashed = HASHES[algorithm.rpartition("-")[2]]
    return padding.OAEP(padding.MGF1(hashed), hashed, label=label or None)

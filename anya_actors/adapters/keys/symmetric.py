"""Secret-key algorithms on OpenSSL, through cryptography: AEAD, HMAC, key derivation."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import cmac, hashes
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from anya_actors.domain.keys.algorithms import (
    CMACS,
    InvalidCiphertextError,
    InvalidSignatureError,
    check_algorithm,
)
from anya_actors.domain.keys.operations import StretchRequest
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import InvalidInputError

NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
# RFC 5869, 2.3: 255 times the hash; the others get the same bound.
MAX_STRETCHED_BYTES: Final = {"hkdf-sha384": 255 * 48, "hkdf-sha512": 255 * 64}
MAX_ITERATIONS: Final = 2_000_000
MAX_MEMORY_KIB: Final = 512 * 1024

KEY_BYTES: Final[Mapping[str, int]] = {"aes128-gcm": 16, "hmac-sha384": 48, "hmac-sha512": 64, **CMACS}
"""Of new keys; the others have 32."""
CIPHERS: Final[Mapping[str, type[AESGCM] | type[ChaCha20Poly1305]]] = {
    "aes128-gcm": AESGCM,
    "aes256-gcm": AESGCM,
    "chacha20-poly1305": ChaCha20Poly1305,
}
_HASHES: Final[Mapping[str, Callable[[], hashes.HashAlgorithm]]] = {
    "hkdf-sha256": hashes.SHA256,
    "hkdf-sha384": hashes.SHA384,
    "hkdf-sha512": hashes.SHA512,
}


class CipherKey:
    """A key of authenticated encryption. A ciphertext is nonce 12, ciphertext, tag 16."""

    def __init__(self, key_type: str, private_key: Secret) -> None:
        _check_size(key_type, private_key)
        self._key_type = key_type
        self._cipher: AESGCM | ChaCha20Poly1305 | None = CIPHERS[key_type](private_key.buffer)

    def __repr__(self) -> str:
        return f"CipherKey({self._key_type})"

    @property
    def public_key(self) -> bytes:
        """None."""
        return b""

    def encrypt(self, plaintext: bytes, algorithm: str, associated_data: bytes, nonce: bytes) -> bytes:
        """Encrypt under a nonce that no other encryption by this key has."""
        check_algorithm(self._key_type, algorithm, "encrypt")
        if len(nonce) != NONCE_BYTES:
            raise InvalidInputError("nonce", f"it has {NONCE_BYTES} bytes, not {len(nonce)}")
        return nonce + self._loaded().encrypt(nonce, plaintext, associated_data)

    def decrypt(self, ciphertext: bytes, algorithm: str, associated_data: bytes) -> bytes:
        """The plaintext, or `InvalidCiphertextError`."""
        check_algorithm(self._key_type, algorithm, "decrypt")
        if len(ciphertext) < NONCE_BYTES + TAG_BYTES:
            raise InvalidCiphertextError(algorithm)
        nonce, sealed = ciphertext[:NONCE_BYTES], ciphertext[NONCE_BYTES:]
        try:
            return self._loaded().decrypt(nonce, sealed, associated_data)
        except InvalidTag:
            raise InvalidCiphertextError(algorithm) from None

    def wipe(self) -> None:
        """Drop the key object."""
        self._cipher = None

    def _loaded(self) -> AESGCM | ChaCha20Poly1305:
        if self._cipher is None:
            raise InvalidInputError("key", "it was wiped")
        return self._cipher


class MacKey:
    """An HMAC key (RFC 2104), 16 to 512 bytes."""

    def __init__(self, key_type: str, private_key: Secret) -> None:
        if not 16 <= len(private_key) <= 512:
            raise InvalidInputError("private_key", "an HMAC key has 16 to 512 bytes")
        self._key_type = key_type
        self._secret: Secret | None = Secret(bytearray(private_key.buffer))

    def __repr__(self) -> str:
        return f"MacKey({self._key_type})"

    @property
    def public_key(self) -> bytes:
        """None."""
        return b""

    def mac(self, message: bytes, algorithm: str) -> bytes:
        """The whole code, as long as the hash."""
        check_algorithm(self._key_type, algorithm, "mac")
        digest = algorithm.removeprefix("hmac-").replace("-", "_")  # hashlib's sha3_256
        return hmac.digest(_revealed(self._secret), message, digest)

    def verify_mac(self, message: bytes, mac: bytes, algorithm: str) -> None:
        """Return if the code holds, compared in constant time; raise `InvalidSignatureError`."""
        _check_mac(self.mac(message, algorithm), mac, algorithm)

    def wipe(self) -> None:
        """Zero the key."""
        if self._secret is not None:
            self._secret.wipe()
        self._secret = None


class CmacKey:
    """An AES key for CMAC (SP 800-38B)."""

    def __init__(self, key_type: str, private_key: Secret) -> None:
        _check_size(key_type, private_key)
        self._key_type = key_type
        self._secret = Secret(bytearray(private_key.buffer))
        self._cipher: algorithms.AES | None = algorithms.AES(self._secret.buffer)

    def __repr__(self) -> str:
        return f"CmacKey({self._key_type})"

    @property
    def public_key(self) -> bytes:
        """None."""
        return b""

    def mac(self, message: bytes, algorithm: str) -> bytes:
        """The whole code: 16 bytes."""
        check_algorithm(self._key_type, algorithm, "mac")
        if self._cipher is None:
            raise InvalidInputError("key", "it was wiped")
        context = cmac.CMAC(self._cipher)
        context.update(message)
        return context.finalize()

    def verify_mac(self, message: bytes, mac: bytes, algorithm: str) -> None:
        """Return if the code holds, compared in constant time; raise `InvalidSignatureError`."""
        _check_mac(self.mac(message, algorithm), mac, algorithm)

    def wipe(self) -> None:
        """Zero the key."""
        self._cipher = None
        self._secret.wipe()


class SecretKey:
    """A secret that others are derived from: a key for HKDF, a password for PBKDF2 and Argon2id."""

    def __init__(self, private_key: Secret) -> None:
        if not 1 <= len(private_key) <= 1024:
            raise InvalidInputError("private_key", "a secret has 1 to 1024 bytes")
        self._secret: Secret | None = Secret(bytearray(private_key.buffer))

    def __repr__(self) -> str:
        return "SecretKey()"

    @property
    def public_key(self) -> bytes:
        """None."""
        return b""

    def stretch(self, request: StretchRequest) -> bytes:
        """Derive bytes (RFC 5869, RFC 8018, RFC 9106); raises `InvalidInputError`."""
        check_algorithm("secret", request.algorithm, "stretch")
        longest = MAX_STRETCHED_BYTES.get(request.algorithm, 255 * 32)
        if not 1 <= request.length <= longest:
            raise InvalidInputError("length", f"choose 1 to {longest} bytes")
        secret = _revealed(self._secret)
        if request.algorithm == "argon2id":
            return _argon2id(secret, request)
        if request.algorithm in _HASHES:
            hashed = _HASHES[request.algorithm]()
            return HKDF(hashed, request.length, salt=request.salt, info=request.info).derive(secret)
        if not 1 <= request.iterations <= MAX_ITERATIONS:
            raise InvalidInputError("iterations", f"choose 1 to {MAX_ITERATIONS}")
        digest = request.algorithm.rpartition("-")[2]
        return hashlib.pbkdf2_hmac(digest, secret, request.salt, request.iterations, request.length)

    def wipe(self) -> None:
        """Zero the secret."""
        if self._secret is not None:
            self._secret.wipe()
        self._secret = None


def _argon2id(secret: bytes, request: StretchRequest) -> bytes:
    if not 1 <= request.memory_kib <= MAX_MEMORY_KIB or not 1 <= request.iterations <= 100:
        raise InvalidInputError("memory_kib", f"at most {MAX_MEMORY_KIB} KiB, and 1 to 100 iterations")
    try:
        return Argon2id(
            salt=request.salt,
            length=request.length,
            iterations=request.iterations,
            lanes=request.lanes,
            memory_cost=request.memory_kib,
        ).derive(secret)
    except ValueError as error:  # tells of the parameters alone
        raise InvalidInputError("argon2id", str(error)) from None


def _check_size(key_type: str, private_key: Secret) -> None:
    size = KEY_BYTES.get(key_type, 32)
    if len(private_key) != size:
        raise InvalidInputError("private_key", f"it is not {size} bytes long")


def _check_mac(found: bytes, mac: bytes, algorithm: str) -> None:
    if len(mac) != len(found):
        raise InvalidInputError("mac", f"{algorithm} gives {len(found)} bytes, not {len(mac)}")
    if not hmac.compare_digest(found, mac):
        raise InvalidSignatureError(algorithm)


def _revealed(secret: Secret | None) -> bytes:
    if secret is None:
        raise InvalidInputError("key", "it was wiped")
    return secret.reveal()

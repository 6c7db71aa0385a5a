"""Keys derived for a context, and convergent encryption: the third version of Vault Transit's scheme."""

from __future__ import annotations

import contextlib
import hmac
from collections.abc import Iterator
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from anya_actors.adapters.keys import ed25519, symmetric
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import InvalidInputError
from anya_actors.ports.key_algorithms import PrivateKey

MAX_CONTEXT_BYTES: Final = 4096
_NONCE_KEY_BYTES: Final = 32


class ConvergentKey(symmetric.CipherKey):
    """A key of authenticated encryption whose nonce is a MAC of the plaintext.

    So the same text gives the same ciphertext, and no nonce serves two texts. A nonce that took no part
    in associated data would serve two tags; that gives GCM's authentication away, so there is none.
    """

    def __init__(self, key_type: str, private_key: Secret, nonce_key: Secret) -> None:
        super().__init__(key_type, private_key)
        self._nonce_key = nonce_key

    def encrypt(self, plaintext: bytes, algorithm: str, associated_data: bytes, nonce: bytes) -> bytes:
        """Encrypt under the text's own nonce; that of the caller is not used."""
        _check_alone(associated_data)
        own = hmac.digest(self._nonce_key.buffer, plaintext, "sha256")[: symmetric.NONCE_BYTES]
        return super().encrypt(plaintext, algorithm, associated_data, own)

    def decrypt(self, ciphertext: bytes, algorithm: str, associated_data: bytes) -> bytes:
        """The plaintext, or `InvalidCiphertextError`."""
        _check_alone(associated_data)
        return super().decrypt(ciphertext, algorithm, associated_data)

    def wipe(self) -> None:
        """Drop the key object, zero the other key."""
        super().wipe()
        self._nonce_key.wipe()


class DerivedKeys:
    """The keys of one root: HKDF-SHA-256 without salt, the context as info."""

    def __init__(self, key_type: str, private_key: Secret, *, convergent: bool) -> None:
        if key_type == ed25519.KEY_TYPE:
            root = ed25519.Ed25519SigningKey(private_key)
            self._public_key = root.public_key
            # Vault derives from the 64 bytes that Go calls a private key: seed and public key.
            self._root: Secret | None = Secret(private_key.buffer + self._public_key)
            root.wipe()
        else:
            symmetric.CipherKey(key_type, private_key).wipe()
            self._public_key, self._root = b"", Secret(bytearray(private_key.buffer))
        self._key_type = key_type
        self._size = len(private_key)
        self._convergent = convergent

    def __repr__(self) -> str:
        return f"DerivedKeys({self._key_type})"

    @property
    def public_key(self) -> bytes:
        """That of the root, which never acts itself."""
        return self._public_key

    @contextlib.contextmanager
    def under(self, context: bytes) -> Iterator[PrivateKey]:
        """The key of a context."""
        if not 1 <= len(context) <= MAX_CONTEXT_BYTES:
            raise InvalidInputError("context", f"a derived key takes one of 1 to {MAX_CONTEXT_BYTES} bytes")
        if self._root is None:
            raise InvalidInputError("key", "it was wiped")
        size = self._size + (_NONCE_KEY_BYTES if self._convergent else 0)
        hkdf = HKDF(hashes.SHA256(), size, salt=None, info=context)
        with self._root.revealed() as root, Secret.taken(hkdf.derive(root)) as derived:
            key = self._child(derived)
        try:
            yield key
        finally:
            key.wipe()

    def wipe(self) -> None:
        """Zero the root."""
        if self._root is not None:
            self._root.wipe()
        self._root = None

    def _child(self, derived: Secret) -> PrivateKey:
        with Secret(derived.buffer[: self._size]) as private_key:
            if self._key_type == ed25519.KEY_TYPE:
                return ed25519.Ed25519SigningKey(private_key)
            if self._convergent:
                return ConvergentKey(self._key_type, private_key, Secret(derived.buffer[self._size :]))
            return symmetric.CipherKey(self._key_type, private_key)


def _check_alone(associated_data: bytes) -> None:
    if associated_data:
        raise InvalidInputError("associated_data", "convergent encryption has none: put it into the context")

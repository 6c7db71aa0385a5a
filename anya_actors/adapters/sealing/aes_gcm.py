"""AES-256-GCM (NIST SP 800-38D) on OpenSSL, through cryptography."""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from anya_actors.domain.keys.secret import Secret
from anya_actors.ports.randomness import Randomness
from anya_actors.ports.sealing import UnopenableError

NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16


class AesGcmCipher:
    """Random 96-bit nonces: one key may seal 2**32 times (section 8.3), far beyond our use."""

    def __init__(self, randomness: Randomness) -> None:
        self._randomness = randomness

    def seal(self, key: Secret, plaintext: bytes | bytearray, context: bytes) -> bytes:
        """Nonce, ciphertext, tag."""
        nonce = self._randomness.token_bytes(NONCE_BYTES)
        return nonce + AESGCM(key.buffer).encrypt(nonce, plaintext, context)

    def open(self, key: Secret, sealed: bytes, context: bytes) -> Secret:
        """The plaintext, or `UnopenableError`."""
        if len(sealed) < NONCE_BYTES + TAG_BYTES:
            raise UnopenableError
        plaintext = Secret(bytearray(len(sealed) - NONCE_BYTES - TAG_BYTES))
        try:
            AESGCM(key.buffer).decrypt_into(
                sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], context, plaintext.buffer
            )
        except InvalidTag:
            plaintext.wipe()
            raise UnopenableError from None
        return plaintext

"""Keys on their way between machines: RSA-OAEP around an AES key, AES-KWP (RFC 5649) around the key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.keywrap import (
    InvalidUnwrap,
    aes_key_unwrap_with_padding,
    aes_key_wrap_with_padding,
)
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_public_key

from anya_actors.domain.keys.algorithms import InvalidCiphertextError
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import InvalidInputError
from anya_actors.ports.randomness import Randomness

MINIMUM_BITS: Final = 2048
_HASHES: Final[Mapping[str, hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1(),  # noqa: S303 - OAEP needs no collision resistance, and some senders have no other
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


def wrap(key: Secret, plaintext: Secret) -> bytes:
    """AES-KWP under a key of 32 bytes."""
    _check_size(key)
    with key.revealed() as wrapping, plaintext.revealed() as wrapped:
        return aes_key_wrap_with_padding(wrapping, wrapped)


def unwrap(key: Secret, wrapped: bytes) -> Secret:
    """What AES-KWP wrapped; raises `InvalidCiphertextError`."""
    _check_size(key)
    try:
        with key.revealed() as wrapping:
            return Secret.taken(aes_key_unwrap_with_padding(wrapping, wrapped))
    except (InvalidUnwrap, ValueError):
        raise InvalidCiphertextError("aes-kwp") from None


def wrap_to(recipient_pem: bytes, plaintext: Secret, randomness: Randomness, digest: str = "sha256") -> bytes:
    """A fresh AES-256 key under OAEP, and ``plaintext`` under that key."""
    try:
        recipient = load_pem_public_key(recipient_pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise InvalidInputError("recipient", "it is not a public key in PEM") from None
    if not isinstance(recipient, rsa.RSAPublicKey) or recipient.key_size < MINIMUM_BITS:
        raise InvalidInputError("recipient", f"it is not an RSA key of {MINIMUM_BITS} bits or more")
    with Secret.taken(randomness.token_bytes(32)) as key, key.revealed() as drawn:
        return recipient.encrypt(drawn, _oaep(digest)) + wrap(key, plaintext)


def unwrap_with(private_key: Secret, blob: bytes, digest: str = "sha256") -> Secret:
    """What `wrap_to` made for the RSA key (PKCS#8); raises `InvalidCiphertextError`."""
    # Our own key, authenticated when it was unwrapped: no need to test its primes at every use.
    with private_key.revealed() as encoded:
        key = load_der_private_key(encoded, None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise InvalidInputError("wrapping_key", "it is not an RSA key")
    size = key.key_size // 8
    try:
        with Secret.taken(key.decrypt(blob[:size], _oaep(digest))) as ephemeral:
            return unwrap(ephemeral, blob[size:])
    except (ValueError, InvalidInputError):
        raise InvalidCiphertextError("rsa-oaep and aes-kwp") from None


def _oaep(digest: str) -> padding.OAEP:
    if digest not in _HASHES:
        raise InvalidInputError("hash_function", f"choose one of {', '.join(_HASHES)}")
    hashed = _HASHES[digest]
    return padding.OAEP(padding.MGF1(hashed), hashed, label=None)


def _check_size(key: Secret) -> None:
    if len(key) != 32:
        raise InvalidInputError("key", f"AES-KWP takes a key of 32 bytes here, not {len(key)}")

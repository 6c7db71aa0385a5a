"""Which key types exist and which algorithms each one serves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, get_args

from anya_actors.domain.machine import AnyaError, InvalidInputError

KeyType = Literal[
    "secp256k1",
    "ed25519",
    "bip32",
    "x25519",
    "p256",
    "rsa-2048",
    "rsa-3072",
    "rsa-4096",
    "aes256-gcm",
    "chacha20-poly1305",
    "hmac-sha256",
    "hmac-sha384",
    "hmac-sha512",
    "secret",
]
SignatureAlgorithm = Literal[
    "ecdsa-secp256k1",
    "ecdsa-secp256k1-recoverable",
    "ecdsa-secp256k1-sha256",
    "ecdsa-secp256k1-sha256-p1363",
    "schnorr-bip340",
    "ed25519",
    "ecdsa-p256",
    "ecdsa-p256-sha256",
    "ecdsa-p256-sha256-p1363",
    "rsa-pss-sha256",
    "rsa-pss-sha384",
    "rsa-pss-sha512",
    "rsa-pkcs1-sha256",
    "rsa-pkcs1-sha384",
    "rsa-pkcs1-sha512",
]

_SECP256K1: Final = frozenset(
    {
        "ecdsa-secp256k1",
        "ecdsa-secp256k1-recoverable",
        "ecdsa-secp256k1-sha256",
        "ecdsa-secp256k1-sha256-p1363",
        "schnorr-bip340",
    }
)
_RSA_HASHES: Final = ("sha256", "sha384", "sha512")
_RSA: Final = frozenset(f"rsa-{form}-{name}" for form in ("pss", "pkcs1") for name in _RSA_HASHES)
_OAEP: Final = frozenset(f"rsa-oaep-{name}" for name in _RSA_HASHES)
RSA_BITS: Final[Mapping[str, int]] = {"rsa-2048": 2048, "rsa-3072": 3072, "rsa-4096": 4096}

SIGNATURE_ALGORITHMS: Final[Mapping[str, frozenset[str]]] = {
    "secp256k1": _SECP256K1,
    "ed25519": frozenset({"ed25519"}),
    "bip32": _SECP256K1,
    "p256": frozenset({"ecdsa-p256", "ecdsa-p256-sha256", "ecdsa-p256-sha256-p1363"}),
    **dict.fromkeys(RSA_BITS, _RSA),
}
CIPHER_ALGORITHMS: Final[Mapping[str, frozenset[str]]] = {
    "aes256-gcm": frozenset({"aes256-gcm"}),
    "chacha20-poly1305": frozenset({"chacha20-poly1305"}),
    **dict.fromkeys(RSA_BITS, _OAEP),
}
MAC_ALGORITHMS: Final[Mapping[str, frozenset[str]]] = {
    name: frozenset({name}) for name in ("hmac-sha256", "hmac-sha384", "hmac-sha512")
}
AGREEMENT_ALGORITHMS: Final[Mapping[str, frozenset[str]]] = {
    "x25519": frozenset({"x25519"}),
    "p256": frozenset({"ecdh-p256"}),
    "secp256k1": frozenset({"ecdh-secp256k1", "point-secp256k1"}),
    "bip32": frozenset({"ecdh-secp256k1", "point-secp256k1"}),
}
STRETCH_ALGORITHMS: Final[Mapping[str, frozenset[str]]] = {
    "secret": frozenset(
        {"hkdf-sha256", "hkdf-sha384", "hkdf-sha512", "pbkdf2-sha256", "pbkdf2-sha512", "argon2id"}
    ),
}
ALGORITHMS_OF: Final[Mapping[str, Mapping[str, frozenset[str]]]] = {
    "sign": SIGNATURE_ALGORITHMS,
    "verify": SIGNATURE_ALGORITHMS,
    "encrypt": CIPHER_ALGORITHMS,
    "decrypt": CIPHER_ALGORITHMS,
    "mac": MAC_ALGORITHMS,
    "verify-mac": MAC_ALGORITHMS,
    "agree": AGREEMENT_ALGORITHMS,
    "stretch": STRETCH_ALGORITHMS,
}
"""For each operation, which algorithms each key type serves."""

# These sign a digest that the caller has computed; the others hash the message themselves.
DIGEST_BYTES: Final[Mapping[str, int]] = {
    "ecdsa-secp256k1": 32,
    "ecdsa-secp256k1-recoverable": 32,
    "schnorr-bip340": 32,
    "ecdsa-p256": 32,
}

AEADS: Final = frozenset({"aes256-gcm", "chacha20-poly1305"})
DERIVABLE: Final = AEADS | {"ed25519"}
"""Key types that can act through a key derived for each context (HKDF-SHA-256), as Vault's Transit does."""
SYMMETRIC: Final = AEADS | frozenset(MAC_ALGORITHMS) | {"secret"}
"""Key types without a public half."""


class InvalidSignatureError(AnyaError):
    """The signature is not one of this message by this key."""

    code = "invalid-signature"
    message = "the signature does not verify under {}"
    remedy = "Check that message, key and algorithm are those of the signer."

    def __init__(self, algorithm: str) -> None:
        super().__init__(algorithm)


class InvalidCiphertextError(AnyaError):
    """The ciphertext was not made by this key with this associated data. Nothing tells what is wrong."""

    code = "invalid-ciphertext"
    message = "the ciphertext does not open under {}"
    remedy = "Check that ciphertext, key, version and associated data are those of the encryption."

    def __init__(self, algorithm: str) -> None:
        super().__init__(algorithm)


def usual_operations(key_type: str) -> tuple[str, ...]:
    """What a key of this type is for where nobody says more: RSA signs, what serves nothing else derives."""
    if key_type in SIGNATURE_ALGORITHMS or key_type in MAC_ALGORITHMS:
        return ("sign", "verify")
    return ("decrypt", "encrypt") if key_type in CIPHER_ALGORITHMS else ("derive",)


def check_key_type(key_type: str) -> None:
    """Raise `InvalidInputError` for a key type that does not exist here."""
    if key_type not in get_args(KeyType):
        raise InvalidInputError("key_type", f"choose one of {', '.join(get_args(KeyType))}")


def check_algorithm(key_type: str, algorithm: str, operation: str = "sign") -> None:
    """Raise `InvalidInputError` unless keys of this type serve the algorithm in this operation."""
    served = ALGORITHMS_OF[operation].get(key_type, frozenset())
    if not served:
        raise InvalidInputError("key", f"a {key_type} key cannot {operation}")
    if algorithm not in served:
        raise InvalidInputError("algorithm", f"a {key_type} key serves {', '.join(sorted(served))}")


def check_message(algorithm: str, message: bytes) -> None:
    """Raise `InvalidInputError` if an algorithm that signs a digest is given something else."""
    size = DIGEST_BYTES.get(algorithm)
    if size is not None and len(message) != size:
        raise InvalidInputError("message", f"{algorithm} signs exactly {size} bytes, not {len(message)}")

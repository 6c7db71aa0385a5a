"""Which key types exist and which algorithms each one serves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal, get_args

from anya_actors.domain.machine import AnyaError, InvalidInputError

KeyType = Literal[
    "secp256k1",
    "ed25519",
    "bip32",
    "x25519",
    "p256",
    "p384",
    "p521",
    "rsa-2048",
    "rsa-3072",
    "rsa-4096",
    "aes128-gcm",
    "aes256-gcm",
    "chacha20-poly1305",
    "hmac-sha256",
    "hmac-sha384",
    "hmac-sha512",
    "aes128-cmac",
    "aes256-cmac",
    "secret",
]

HASH_BYTES: Final[Mapping[str, int]] = {
    "sha224": 28,
    "sha256": 32,
    "sha384": 48,
    "sha512": 64,
    "sha3-224": 28,
    "sha3-256": 32,
    "sha3-384": 48,
    "sha3-512": 64,
}
"""Hashes of new signatures and MACs. Signatures over SHA-1 are verified, none is made."""
NIST_CURVES: Final[Mapping[str, int]] = {"p256": 32, "p384": 48, "p521": 66}
"""How many bytes a coordinate has."""
RSA_BITS: Final[Mapping[str, int]] = {"rsa-2048": 2048, "rsa-3072": 3072, "rsa-4096": 4096}
_FORMS: Final = ("", "-p1363")
_HASHES: Final = frozenset(HASH_BYTES)
_OLD: Final = frozenset({"sha1"})

_SECP256K1: Final = frozenset(
    {
        "ecdsa-secp256k1",
        "ecdsa-secp256k1-recoverable",
        "ecdsa-secp256k1-sha256",
        "ecdsa-secp256k1-sha256-p1363",
        "schnorr-bip340",
    }
)
_OAEP: Final = frozenset(f"rsa-oaep-{name}" for name in ("sha256", "sha384", "sha512"))


def _ecdsa(curve: str, hashes: frozenset[str]) -> frozenset[str]:
    """Over a hash of the message; r and s in DER, or side by side (IEEE P1363, as JWS has them)."""
    return frozenset(f"ecdsa-{curve}-{name}{form}" for name in hashes for form in _FORMS)


def _rsa(hashes: frozenset[str]) -> frozenset[str]:
    """Over a hash of the message, or (``-digest``) of the digest itself.

    A PSS salt is as long as the hash; ``-auto`` makes the longest and verifies any. ``-salt20`` in its
    place is one of 20 bytes, see `check_algorithm`.
    """
    pss = frozenset(f"rsa-pss-{name}{salt}" for name in hashes for salt in ("", "-auto"))
    plain = pss | {f"rsa-pkcs1-{name}" for name in hashes}
    return plain | {f"{name}-digest" for name in plain}


# One that names no hash signs a digest of any hash; of PKCS#1, whatever the caller has encoded.
_DIGESTS_OF_CURVES: Final = {curve: {f"ecdsa-{curve}{form}" for form in _FORMS} for curve in NIST_CURVES}
SIGNATURE_ALGORITHMS: Final[Mapping[str, frozenset[str]]] = {
    "secp256k1": _SECP256K1,
    "ed25519": frozenset({"ed25519", "ed25519ph"}),
    "bip32": _SECP256K1,
    **{curve: _ecdsa(curve, _HASHES) | _DIGESTS_OF_CURVES[curve] for curve in NIST_CURVES},
    **dict.fromkeys(RSA_BITS, _rsa(_HASHES) | {"rsa-pkcs1-none"}),
}
VERIFICATION_ALGORITHMS: Final[Mapping[str, frozenset[str]]] = {
    **SIGNATURE_ALGORITHMS,
    **{curve: SIGNATURE_ALGORITHMS[curve] | _ecdsa(curve, _OLD) for curve in NIST_CURVES},
    **{size: SIGNATURE_ALGORITHMS[size] | _rsa(_OLD) for size in RSA_BITS},
}
AEADS: Final = frozenset({"aes128-gcm", "aes256-gcm", "chacha20-poly1305"})
CIPHER_ALGORITHMS: Final[Mapping[str, frozenset[str]]] = {
    **{name: frozenset({name}) for name in sorted(AEADS)},
    **dict.fromkeys(RSA_BITS, _OAEP),
}
HMACS: Final = ("hmac-sha256", "hmac-sha384", "hmac-sha512")
CMACS: Final[Mapping[str, int]] = {"aes128-cmac": 16, "aes256-cmac": 32}
MAC_ALGORITHMS: Final[Mapping[str, frozenset[str]]] = {
    **dict.fromkeys(HMACS, frozenset(f"hmac-{name}" for name in HASH_BYTES)),
    **{name: frozenset({name}) for name in CMACS},
}
AGREEMENT_ALGORITHMS: Final[Mapping[str, frozenset[str]]] = {
    "x25519": frozenset({"x25519"}),
    **{curve: frozenset({f"ecdh-{curve}"}) for curve in NIST_CURVES},
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
    "verify": VERIFICATION_ALGORITHMS,
    "encrypt": CIPHER_ALGORITHMS,
    "decrypt": CIPHER_ALGORITHMS,
    "mac": MAC_ALGORITHMS,
    "verify-mac": MAC_ALGORITHMS,
    "agree": AGREEMENT_ALGORITHMS,
    "stretch": STRETCH_ALGORITHMS,
}
"""For each operation, which algorithms each key type serves."""

DIGEST_BYTES: Final[Mapping[str, tuple[int, ...]]] = {
    **dict.fromkeys(("ecdsa-secp256k1", "ecdsa-secp256k1-recoverable", "schnorr-bip340"), (32,)),
    "ed25519ph": (64,),
    **{name: (28, 32, 48, 64) for names in _DIGESTS_OF_CURVES.values() for name in names},
}
"""These sign a digest that the caller has computed; the others hash the message, or say ``-digest``."""

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


_USUAL: Final = (
    "ecdsa-secp256k1-sha256",
    "ecdsa-p256-sha256",
    "ecdsa-p384-sha384",
    "ecdsa-p521-sha512",
    "rsa-pss-sha256",
    "rsa-oaep-sha256",
    *(f"ecdh-{curve}" for curve in ("secp256k1", *NIST_CURVES)),
)
_SALTED: Final = re.compile(r"(rsa-pss-sha(?:3-)?[0-9]+)-salt(?:0|[1-9][0-9]{0,2})(-digest)?\Z")


def usual_algorithm(key_type: str, operation: str) -> str:
    """What a key of this type does where nobody says how; raise `InvalidInputError` if one must."""
    served = ALGORITHMS_OF[operation].get(key_type, frozenset())
    for algorithm in (key_type, *_USUAL):
        if algorithm in served:
            return algorithm
    check_algorithm(key_type, "", operation)
    raise AssertionError("no algorithm is named so")


def check_key_type(key_type: str) -> None:
    """Raise `InvalidInputError` for a key type that does not exist here."""
    if key_type not in get_args(KeyType):
        raise InvalidInputError("key_type", f"choose one of {', '.join(get_args(KeyType))}")


def check_algorithm(key_type: str, algorithm: str, operation: str = "sign") -> None:
    """Raise `InvalidInputError` unless keys of this type serve the algorithm in this operation."""
    served = ALGORITHMS_OF[operation].get(key_type, frozenset())
    if algorithm in served:
        return
    if not served:
        raise InvalidInputError("key", f"a {key_type} key cannot {operation}")
    salted = _SALTED.match(algorithm)
    if salted is None or salted[1] + (salted[2] or "") not in served:
        raise InvalidInputError("algorithm", f"a {key_type} key serves {', '.join(sorted(served))}")


def check_message(algorithm: str, message: bytes) -> None:
    """Raise `InvalidInputError` if an algorithm that signs a digest is given something else."""
    sizes = DIGEST_BYTES.get(algorithm)
    if sizes is not None and len(message) not in sizes:
        exactly = " or ".join(str(size) for size in sizes)
        raise InvalidInputError("message", f"{algorithm} signs exactly {exactly} bytes, not {len(message)}")

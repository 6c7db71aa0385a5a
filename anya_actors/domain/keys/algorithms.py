"""Which key types exist and which signature algorithms each one serves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, get_args

from anya_actors.domain.machine import AnyaError, InvalidInputError

KeyType = Literal["secp256k1", "ed25519", "bip32"]
SignatureAlgorithm = Literal["ecdsa-secp256k1", "schnorr-bip340", "ed25519"]

SIGNATURE_ALGORITHMS: Final[Mapping[str, frozenset[str]]] = {
    "secp256k1": frozenset({"ecdsa-secp256k1", "schnorr-bip340"}),
    "ed25519": frozenset({"ed25519"}),
    "bip32": frozenset({"ecdsa-secp256k1", "schnorr-bip340"}),
}

# These sign a digest that the caller has computed; Ed25519 hashes the message itself.
DIGEST_BYTES: Final[Mapping[str, int]] = {"ecdsa-secp256k1": 32, "schnorr-bip340": 32}


class InvalidSignatureError(AnyaError):
    """The signature is not one of this message by this key."""

    code = "invalid-signature"
    message = "the signature does not verify under {}"
    remedy = "Check that message, key and algorithm are those of the signer."

    def __init__(self, algorithm: str) -> None:
        super().__init__(algorithm)


def check_key_type(key_type: str) -> None:
    """Raise `InvalidInputError` for a key type that does not exist here."""
    if key_type not in SIGNATURE_ALGORITHMS:
        raise InvalidInputError("key_type", f"choose one of {', '.join(get_args(KeyType))}")


def check_algorithm(key_type: str, algorithm: str) -> None:
    """Raise `InvalidInputError` unless keys of this type serve the algorithm."""
    served = SIGNATURE_ALGORITHMS.get(key_type, frozenset())
    if algorithm not in served:
        raise InvalidInputError("algorithm", f"a {key_type} key serves {', '.join(sorted(served))}")


def check_message(algorithm: str, message: bytes) -> None:
    """Raise `InvalidInputError` if an algorithm that signs a digest is given something else."""
    size = DIGEST_BYTES.get(algorithm)
    if size is not None and len(message) != size:
        raise InvalidInputError("message", f"{algorithm} signs exactly {size} bytes, not {len(message)}")

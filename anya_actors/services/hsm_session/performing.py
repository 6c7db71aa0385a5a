"""One operation by one key, once it is permitted: which method of which key answers it."""

from __future__ import annotations

from typing import Final

from anya_actors.domain.hsm.parcel import ParcelKey
from anya_actors.domain.keys.algorithms import AEADS, check_algorithm
from anya_actors.domain.keys.operations import (
    AgreeRequest,
    DecryptRequest,
    EncryptRequest,
    MacRequest,
    Request,
    SignRequest,
    StretchRequest,
    VerifyMacRequest,
    VerifyRequest,
)
from anya_actors.domain.machine import InvalidInputError
from anya_actors.ports.key_algorithms import (
    AgreeingKey,
    CipherKey,
    KeyAlgorithms,
    KeyTree,
    MacKey,
    PrivateKey,
    SigningKey,
    StretchingKey,
    sign_by,
)

MAX_RANDOM_BYTES: Final = 64 * 1024


def perform(
    algorithms: KeyAlgorithms, facts: ParcelKey, private: PrivateKey, request: Request, nonce: bytes
) -> bytes:
    """What the request gives; raises what the key raises. ``nonce`` is for an AEAD alone."""
    match request, private:
        case SignRequest(), _:
            return _sign(facts, private, request)
        case VerifyRequest(), _:
            public_key = _public_key(facts, private, request)
            algorithms.verify(
                facts.key_type, public_key, request.message, request.signature, request.algorithm
            )
            return b""
        case EncryptRequest(), CipherKey():
            return private.encrypt(request.plaintext, request.algorithm, request.associated_data, nonce)
        case DecryptRequest(), CipherKey():
            return private.decrypt(request.ciphertext, request.algorithm, request.associated_data)
        case MacRequest(), MacKey():
            return private.mac(request.message, request.algorithm)
        case VerifyMacRequest(), MacKey():
            private.verify_mac(request.message, request.mac, request.algorithm)
            return b""
        case AgreeRequest(), _:
            return _agree(algorithms, facts, private, request)
        case StretchRequest(), StretchingKey():
            return private.stretch(request)
    raise InvalidInputError("key", f"a {facts.key_type} key has no part in this operation")


def needs_nonce(facts: ParcelKey, request: Request) -> bool:
    """Whether the request uses up one of the encryptions that the key has."""
    if isinstance(request, EncryptRequest):
        check_algorithm(facts.key_type, request.algorithm, "encrypt")
        return request.algorithm in AEADS
    return False


def _sign(facts: ParcelKey, private: PrivateKey, request: SignRequest) -> bytes:
    if isinstance(private, KeyTree):
        with private.at(request.path) as key:
            return sign_by(key, request)
    if request.path or request.taproot_merkle_root is not None:
        raise InvalidInputError("path", f"a {facts.key_type} key has no children and no tweaks")
    if not isinstance(private, SigningKey):
        raise InvalidInputError("key", f"a {facts.key_type} key cannot sign")
    return private.sign(request.message, request.algorithm)


def _public_key(facts: ParcelKey, private: PrivateKey, request: VerifyRequest) -> bytes:
    if not request.path:
        return facts.public_key
    if not isinstance(private, KeyTree):
        raise InvalidInputError("path", f"a {facts.key_type} key has no children")
    with private.at(request.path) as key:
        return key.public_key


def _agree(algorithms: KeyAlgorithms, facts: ParcelKey, private: PrivateKey, request: AgreeRequest) -> bytes:
    check_algorithm(facts.key_type, request.algorithm, "agree")
    other = algorithms.read_public_key(facts.key_type, request.public_key)
    if isinstance(private, KeyTree):
        with private.at(request.path) as key:
            return key.agree(other, request.algorithm)
    if request.path or not isinstance(private, AgreeingKey):
        raise InvalidInputError("path", f"a {facts.key_type} key has no children")
    return private.agree(other, request.algorithm)

"""One operation by one key, once it is permitted: which method of which key answers it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar, cast

import msgspec

from anya_actors.domain.hsm.parcel import ParcelKey
from anya_actors.domain.keys.algorithms import AEADS, check_algorithm
from anya_actors.domain.keys.operations import (
    AgreeRequest,
    DecryptRequest,
    EncryptRequest,
    InContext,
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
    KeyFamily,
    KeyTree,
    MacKey,
    PrivateKey,
    SigningKey,
    StretchingKey,
    sign_by,
)


def perform(
    algorithms: KeyAlgorithms, facts: ParcelKey, private: PrivateKey, request: Request, nonce: bytes
) -> bytes:
    """What the request gives; raises what the key raises. ``nonce`` is for an AEAD alone."""
    context = request.context if isinstance(request, InContext) else b""
    if facts.policy.derived:
        with as_kind(KeyFamily, facts, private).under(context) as child:
            own = msgspec.structs.replace(facts, public_key=child.public_key)
            return _perform(algorithms, own, child, request, nonce)
    if context:
        raise InvalidInputError("context", "the key is not derived")
    return _perform(algorithms, facts, private, request, nonce)


def _perform(
    algorithms: KeyAlgorithms, facts: ParcelKey, private: PrivateKey, request: Request, nonce: bytes
) -> bytes:
    match request:
        case SignRequest():
            return _sign(facts, private, request)
        case VerifyRequest():
            public_key = _public_key(facts, private, request)
            algorithms.verify(
                facts.key_type, public_key, request.message, request.signature, request.algorithm
            )
            return b""
        case EncryptRequest():
            cipher = as_kind(CipherKey, facts, private)
            return cipher.encrypt(request.plaintext, request.algorithm, request.associated_data, nonce)
        case DecryptRequest():
            cipher = as_kind(CipherKey, facts, private)
            return cipher.decrypt(request.ciphertext, request.algorithm, request.associated_data)
        case MacRequest():
            return as_kind(MacKey, facts, private).mac(request.message, request.algorithm)
        case VerifyMacRequest():
            as_kind(MacKey, facts, private).verify_mac(request.message, request.mac, request.algorithm)
            return b""
        case AgreeRequest():
            return _agree(algorithms, facts, private, request)
        case StretchRequest():
            return as_kind(StretchingKey, facts, private).stretch(request)
    raise InvalidInputError("key", f"a {facts.key_type} key has no part in this operation")


T = TypeVar("T")
_KNOWN: Final[dict[tuple[type, type], bool]] = {}


def is_kind(protocol: type, private: PrivateKey) -> bool:
    """Whether the key is of this kind, which its class decides; asking a protocol takes 50 µs."""
    place = (protocol, type(private))
    if place not in _KNOWN:
        _KNOWN[place] = isinstance(private, protocol)
    return _KNOWN[place]


def as_kind(protocol: Callable[..., T], facts: ParcelKey, private: PrivateKey) -> T:
    """The key as one of this kind; raise `InvalidInputError`."""
    if not is_kind(cast(type, protocol), private):
        raise InvalidInputError("key", f"a {facts.key_type} key has no part in this operation")
    return cast(T, private)


def needs_nonce(facts: ParcelKey, request: Request) -> bool:
    """Whether the request uses up one of the encryptions that the key has."""
    if isinstance(request, EncryptRequest):
        check_algorithm(facts.key_type, request.algorithm, "encrypt")
        return request.algorithm in AEADS and not facts.policy.convergent
    return False


def public_key_under(facts: ParcelKey, private: PrivateKey, context: bytes) -> bytes:
    """The public half of what is derived for a context."""
    with as_kind(KeyFamily, facts, private).under(context) as child:
        return child.public_key


def _sign(facts: ParcelKey, private: PrivateKey, request: SignRequest) -> bytes:
    if is_kind(KeyTree, private):
        with cast(KeyTree, private).at(request.path) as key:
            return sign_by(key, request)
    if request.path or request.taproot_merkle_root is not None or request.tweak is not None:
        raise InvalidInputError("path", f"a {facts.key_type} key has no children and no tweaks")
    return as_kind(SigningKey, facts, private).sign(request.message, request.algorithm)


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

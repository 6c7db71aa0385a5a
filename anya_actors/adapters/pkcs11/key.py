"""One key of a token."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Any, Final

import pkcs11
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11 import KDF, MGF, Attribute, GCMParams, KeyType, Mechanism, ObjectClass

from anya_actors.adapters.keys import rsa as library_rsa
from anya_actors.adapters.keys import x25519
from anya_actors.adapters.pkcs11.objects import CURVES, octet_string
from anya_actors.adapters.pkcs11.token import LOST, NAME, Token, check_mechanisms
from anya_actors.domain.keys.algorithms import (
    NIST_CURVES,
    RSA_BITS,
    SYMMETRIC,
    InvalidCiphertextError,
    InvalidSignatureError,
    check_algorithm,
    check_message,
)
from anya_actors.domain.keys.curve import ORDER
from anya_actors.domain.machine import InvalidInputError, NotSupportedError, UnavailableError

NONCE_BYTES: Final = 12
TAG_BITS: Final = 128
_HASHED: Final[Mapping[str, tuple[Mechanism, Mechanism, Mechanism, MGF]]] = {
    "sha256": (Mechanism.SHA256_RSA_PKCS, Mechanism.SHA256_RSA_PKCS_PSS, Mechanism.SHA256, MGF.SHA256),
    "sha384": (Mechanism.SHA384_RSA_PKCS, Mechanism.SHA384_RSA_PKCS_PSS, Mechanism.SHA384, MGF.SHA384),
    "sha512": (Mechanism.SHA512_RSA_PKCS, Mechanism.SHA512_RSA_PKCS_PSS, Mechanism.SHA512, MGF.SHA512),
}
_MACS: Final[Mapping[str, Mechanism]] = {
    "hmac-sha256": Mechanism.SHA256_HMAC,
    "hmac-sha384": Mechanism.SHA384_HMAC,
    "hmac-sha512": Mechanism.SHA512_HMAC,
}
_AGREEING: Final[Mapping[str, ec.EllipticCurve]] = {
    "ecdh-p256": ec.SECP256R1(),
    "ecdh-p384": ec.SECP384R1(),
    "ecdh-p521": ec.SECP521R1(),
    "ecdh-secp256k1": ec.SECP256K1(),
}
_NOT_OFFERED: Final = (
    *(pkcs11.ArgumentsBad, pkcs11.MechanismInvalid, pkcs11.MechanismParamInvalid),
    *(pkcs11.FunctionNotSupported, pkcs11.FunctionRejected),
)
"""What tokens answer to a mechanism, or a hash of it, that they lack."""


class TokenKey:
    """One key of a token. Its repr shows its id, which is of no use without the token's PIN."""

    def __init__(self, key_type: str, token: Token, identity: bytes, public_key: bytes) -> None:
        self._key_type = key_type
        self._token = token
        self._identity = identity
        self._public_key = public_key
        self._is_wiped = False
        self._opened = 0
        self._opens: set[str] = set()
        self._key: Any = None

    @classmethod
    def found(
        cls, key_type: str, token: Token, identity: bytes, read: Callable[[str, bytes], bytes]
    ) -> TokenKey:
        """The key of this id; ``read`` gives a public key our own form. Raises `UnavailableError`."""
        with token.session() as session:
            public_key = b""
            if key_type not in SYMMETRIC:
                public = _find(session, ObjectClass.PUBLIC_KEY, identity)
                public_key = read(key_type, _written(key_type, public))
            key = cls(key_type, token, identity, public_key)
            key._loaded(session)
        return key

    def __repr__(self) -> str:
        return f"TokenKey({self._key_type}, {self._identity.hex()})"

    @property
    def public_key(self) -> bytes:
        """In our own form; nothing for secret keys."""
        return self._public_key

    def sign(self, message: bytes, algorithm: str) -> bytes:
        """As `SigningKey.sign`; BIP340 is not among what tokens do."""
        check_algorithm(self._key_type, algorithm)
        check_message(algorithm, message)
        if self._key_type in RSA_BITS:
            return self._sign_rsa(message, algorithm)
        if self._key_type == "ed25519":
            if algorithm != "ed25519":
                raise _unserved(algorithm)
            return self._signed(message, Mechanism.EDDSA)
        return self._sign_ecdsa(message, algorithm)

    def encrypt(self, plaintext: bytes, algorithm: str, associated_data: bytes, nonce: bytes) -> bytes:
        """AES-GCM with the nonce in front; RSA-OAEP by the libraries, if the token will open it."""
        check_algorithm(self._key_type, algorithm, "encrypt")
        if self._key_type in RSA_BITS:
            self._check_opens(algorithm)
            return library_rsa.encrypt(
                self._key_type, self._public_key, plaintext, algorithm, associated_data
            )
        if len(nonce) != NONCE_BYTES:
            raise InvalidInputError("nonce", f"it has {NONCE_BYTES} bytes, not {len(nonce)}")
        parameters = GCMParams(nonce, associated_data, TAG_BITS)
        with self._token.session() as session:
            sealed = self._loaded(session).encrypt(
                plaintext, mechanism=Mechanism.AES_GCM, mechanism_param=parameters
            )
        return nonce + bytes(sealed)

    def decrypt(self, ciphertext: bytes, algorithm: str, associated_data: bytes) -> bytes:
        """The plaintext, or `InvalidCiphertextError`."""
        check_algorithm(self._key_type, algorithm, "decrypt")
        if self._key_type in RSA_BITS:
            return self._decrypt_rsa(ciphertext, algorithm, associated_data)
        if len(ciphertext) < NONCE_BYTES + TAG_BITS // 8:
            raise InvalidCiphertextError(algorithm)
        parameters = GCMParams(ciphertext[:NONCE_BYTES], associated_data, TAG_BITS)
        sealed = ciphertext[NONCE_BYTES:]
        with self._token.session() as session:
            key = self._loaded(session)
            try:
                return bytes(key.decrypt(sealed, mechanism=Mechanism.AES_GCM, mechanism_param=parameters))
            except LOST:
                raise
            except (pkcs11.PKCS11Error, ValueError):  # each token has an error of its own for a wrong tag
                raise InvalidCiphertextError(algorithm) from None

    def agree(self, public_key: bytes, algorithm: str) -> bytes:
        """As `AgreeingKey.agree`: the shared x coordinate; the token forgets it at once."""
        check_algorithm(self._key_type, algorithm, "agree")
        other = _others_point(algorithm, public_key)
        check_mechanisms(self._token, "this algorithm", Mechanism.ECDH1_DERIVE)
        bits = 8 * NIST_CURVES.get(self._key_type, 32)
        shown = {Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True}
        with self._token.session() as session:
            key = self._loaded(session)
            if not key[Attribute.DERIVE]:
                raise NotSupportedError(f"{algorithm} by a key that was made to sign", "rotate it first")
            shared = key.derive_key(
                KeyType.GENERIC_SECRET,
                bits,
                capabilities=0,
                mechanism=Mechanism.ECDH1_DERIVE,
                mechanism_param=(KDF.NULL, None, other),
                template=shown,
            )
            try:
                return bytes(shared[Attribute.VALUE])
            finally:
                shared.destroy()

    def mac(self, message: bytes, algorithm: str) -> bytes:
        """The whole code."""
        self._check_mac(algorithm, "mac")
        return self._signed(message, _MACS[algorithm])

    def verify_mac(self, message: bytes, mac: bytes, algorithm: str) -> None:
        """Return if the code holds; raise `InvalidSignatureError`. Tokens differ in how they say that."""
        self._check_mac(algorithm, "verify-mac")
        size = int(algorithm[-3:]) // 8
        if len(mac) != size:
            raise InvalidInputError("mac", f"{algorithm} gives {size} bytes, not {len(mac)}")
        if not hmac.compare_digest(self._signed(message, _MACS[algorithm]), mac):
            raise InvalidSignatureError(algorithm)

    def wipe(self) -> None:
        """Let go of the key; it stays in the token."""
        self._is_wiped, self._key = True, None

    def _loaded(self, session: Any) -> Any:
        if self._is_wiped:
            raise InvalidInputError("key", "it was wiped")
        if self._opened != self._token.opened:
            kind = ObjectClass.SECRET_KEY if self._key_type in SYMMETRIC else ObjectClass.PRIVATE_KEY
            self._key = _find(session, kind, self._identity)
            self._opened = self._token.opened
        return self._key

    def _check_mac(self, algorithm: str, operation: str) -> None:
        check_algorithm(self._key_type, algorithm, operation)
        if algorithm != self._key_type:  # a token's key is of one hash
            raise _unserved(algorithm)

    def _decrypt_rsa(self, ciphertext: bytes, algorithm: str, label: bytes) -> bytes:
        check_mechanisms(self._token, algorithm, Mechanism.RSA_PKCS_OAEP)
        *_, hashed, mgf = _HASHED[algorithm.removeprefix("rsa-oaep-")]
        with self._token.session() as session:
            key = self._loaded(session)
            if not key[Attribute.DECRYPT]:
                raise NotSupportedError(f"{algorithm} by a key that was made to sign", "rotate it first")
            try:
                return bytes(
                    key.decrypt(
                        ciphertext,
                        mechanism=Mechanism.RSA_PKCS_OAEP,
                        mechanism_param=(hashed, mgf, label or None),
                    )
                )
            except LOST:
                raise
            except _NOT_OFFERED:
                raise NotSupportedError(f"{algorithm} in this token", "it has another hash") from None
            except (pkcs11.PKCS11Error, ValueError):  # whatever is wrong, nothing tells what
                raise InvalidCiphertextError(algorithm) from None

    def _check_opens(self, algorithm: str) -> None:
        """Raise `NotSupportedError` for what the token would not decrypt; tried once by each key."""
        if algorithm not in self._opens:
            tried = library_rsa.encrypt(self._key_type, self._public_key, b"", algorithm, b"")
            self._decrypt_rsa(tried, algorithm, b"")
            self._opens.add(algorithm)

    def _signed(self, message: bytes, mechanism: Mechanism, parameters: object = None) -> bytes:
        check_mechanisms(self._token, "this algorithm", mechanism)
        with self._token.session() as session:
            return bytes(self._loaded(session).sign(message, mechanism=mechanism, mechanism_param=parameters))

    def _sign_rsa(self, message: bytes, algorithm: str) -> bytes:
        form, _, digest = algorithm.removeprefix("rsa-").partition("-")
        if digest not in _HASHED:
            raise _unserved(algorithm)
        pkcs1, pss, hashed, mgf = _HASHED[digest]
        if form == "pkcs1":
            return self._signed(message, pkcs1)
        return self._signed(message, pss, (hashed, mgf, int(digest[3:]) // 8))

    def _sign_ecdsa(self, message: bytes, algorithm: str) -> bytes:
        if algorithm in ("schnorr-bip340", "ecdsa-secp256k1-recoverable"):
            raise NotSupportedError(f"{algorithm} in a token", "keep keys for Bitcoin without one")
        named = algorithm.removesuffix("-p1363").split("-", 2)[2:]
        digest = hashlib.new(named[0].replace("-", "_"), message).digest() if named else message
        signature = self._signed(digest, Mechanism.ECDSA)
        size = len(signature) // 2
        r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
        if self._key_type == "secp256k1" and s > ORDER // 2:
            s = ORDER - s  # BIP146
        if algorithm.endswith("-p1363"):
            return r.to_bytes(size, "big") + s.to_bytes(size, "big")
        return encode_dss_signature(r, s)


def _others_point(algorithm: str, public_key: bytes) -> bytes:
    """The other side's public key as tokens take it, which was seen to be one; `InvalidInputError`."""
    if algorithm == "x25519":
        x25519.check_public_key(public_key)
        return public_key
    if algorithm not in _AGREEING:
        raise NotSupportedError(f"{algorithm} in a token", "keep keys for Bitcoin without one")
    curve = _AGREEING[algorithm]
    try:
        point = ec.EllipticCurvePublicKey.from_encoded_point(curve, public_key)
    except ValueError:
        raise InvalidInputError("public_key", f"it is not a point of {curve.name}") from None
    return point.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _unserved(algorithm: str) -> NotSupportedError:
    return NotSupportedError(f"{algorithm} in a token", "choose SHA-2 over the message itself")


def _find(session: Any, kind: ObjectClass, identity: bytes) -> Any:
    try:
        return session.get_key(object_class=kind, id=identity)
    except pkcs11.NoSuchKey:
        raise UnavailableError(f"key {identity.hex()}", f"{NAME} does not have it") from None


def _written(key_type: str, public: Any) -> bytes:
    """A token's public key as others write it: SubjectPublicKeyInfo of RSA, else the curve's point."""
    if key_type in CURVES:
        point = bytes(public[Attribute.EC_POINT])
        for header in (2, 3):  # of an OCTET STRING, which some tokens leave out
            if octet_string(point[header:]) == point:
                return point[header:]
        return point
    modulus, exponent = public[Attribute.MODULUS], public[Attribute.PUBLIC_EXPONENT]
    numbers = rsa.RSAPublicNumbers(int.from_bytes(exponent, "big"), int.from_bytes(modulus, "big"))
    return numbers.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

"""`KeyAlgorithms` whose private keys lie in a PKCS#11 token and never leave it.

What the HSM wraps and stores as the private key is then a handle: the token's label for it. Public
operations (verification, forms of public keys) are done by the libraries, as without a token.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pkcs11
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from pkcs11 import MGF, Attribute, GCMParams, KeyType, Mechanism, ObjectClass
from pkcs11.util.ec import encode_named_curve_parameters

from anya_actors.adapters.keys.library import LibraryKeyAlgorithms
from anya_actors.domain.hsm.material import KeyMaterial
from anya_actors.domain.keys.algorithms import (
    MAC_ALGORITHMS,
    RSA_BITS,
    InvalidCiphertextError,
    InvalidSignatureError,
    check_algorithm,
    check_key_type,
    check_message,
)
from anya_actors.domain.keys.curve import ORDER
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import InvalidInputError, NotSupportedError
from anya_actors.ports.key_algorithms import KeyFamily, PrivateKey, SigningKey
from anya_actors.ports.randomness import Randomness

HANDLE_BYTES: Final = 16
NONCE_BYTES: Final = 12
TAG_BITS: Final = 128
_CURVES: Final = {"p256": "secp256r1", "secp256k1": "secp256k1"}
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
SERVED: Final = frozenset({*_CURVES, *RSA_BITS, *_MACS, "aes256-gcm"})
"""What is kept in a token. Other types (BIP32, Schnorr, X25519 …) no token does: `NotSupportedError`."""


class TokenKey:
    """One key of the token. Its repr shows its handle, which is of no use without the token's PIN."""

    def __init__(self, key_type: str, session: Any, handle: bytes, public_key: bytes) -> None:
        self._key_type = key_type
        self._handle = handle
        self._public_key = public_key
        try:
            kind = ObjectClass.PRIVATE_KEY if public_key else ObjectClass.SECRET_KEY
            self._key: Any = session.get_key(object_class=kind, id=handle)
        except pkcs11.NoSuchKey:
            raise InvalidInputError("private_key", "the token has no key of this handle") from None

    def __repr__(self) -> str:
        return f"TokenKey({self._key_type}, {self._handle.hex()})"

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
        return self._sign_ecdsa(message, algorithm)

    def encrypt(self, plaintext: bytes, algorithm: str, associated_data: bytes, nonce: bytes) -> bytes:
        """AES-GCM with the nonce in front."""
        self._check_aes(algorithm)
        if len(nonce) != NONCE_BYTES:
            raise InvalidInputError("nonce", f"it has {NONCE_BYTES} bytes, not {len(nonce)}")
        parameters = GCMParams(nonce, associated_data, TAG_BITS)
        sealed = self._loaded().encrypt(plaintext, mechanism=Mechanism.AES_GCM, mechanism_param=parameters)
        return nonce + bytes(sealed)

    def decrypt(self, ciphertext: bytes, algorithm: str, associated_data: bytes) -> bytes:
        """The plaintext, or `InvalidCiphertextError`."""
        self._check_aes(algorithm)
        if len(ciphertext) < NONCE_BYTES + TAG_BITS // 8:
            raise InvalidCiphertextError(algorithm)
        parameters = GCMParams(ciphertext[:NONCE_BYTES], associated_data, TAG_BITS)
        try:
            sealed = ciphertext[NONCE_BYTES:]
            return bytes(
                self._loaded().decrypt(sealed, mechanism=Mechanism.AES_GCM, mechanism_param=parameters)
            )
        except (pkcs11.PKCS11Error, ValueError):
            raise InvalidCiphertextError(algorithm) from None

    def mac(self, message: bytes, algorithm: str) -> bytes:
        """The whole code."""
        check_algorithm(self._key_type, algorithm, "mac")
        if algorithm != self._key_type:  # a token's key is of one hash
            raise _unserved(algorithm)
        return bytes(self._loaded().sign(message, mechanism=_MACS[algorithm]))

    def verify_mac(self, message: bytes, mac: bytes, algorithm: str) -> None:
        """Return if the code holds, as the token compares it; raise `InvalidSignatureError`."""
        check_algorithm(self._key_type, algorithm, "verify-mac")
        size = int(algorithm[-3:]) // 8
        if len(mac) != size:
            raise InvalidInputError("mac", f"{algorithm} gives {size} bytes, not {len(mac)}")
        if not self._loaded().verify(message, mac, mechanism=_MACS[algorithm]):
            raise InvalidSignatureError(algorithm)

    def wipe(self) -> None:
        """Let go of the handle."""
        self._key = None

    def _loaded(self) -> Any:
        if self._key is None:
            raise InvalidInputError("key", "it was wiped")
        return self._key

    def _check_aes(self, algorithm: str) -> None:
        if self._key_type in RSA_BITS:
            raise NotSupportedError(f"{algorithm} in a token", "keep RSA keys that decrypt without one")
        check_algorithm(self._key_type, algorithm, "encrypt")

    def _sign_rsa(self, message: bytes, algorithm: str) -> bytes:
        form, _, digest = algorithm.removeprefix("rsa-").partition("-")
        if digest not in _HASHED:
            raise _unserved(algorithm)
        pkcs1, pss, hashed, mgf = _HASHED[digest]
        if form == "pkcs1":
            return bytes(self._loaded().sign(message, mechanism=pkcs1))
        parameters = (hashed, mgf, int(digest[3:]) // 8)
        return bytes(self._loaded().sign(message, mechanism=pss, mechanism_param=parameters))

    def _sign_ecdsa(self, message: bytes, algorithm: str) -> bytes:
        if algorithm in ("schnorr-bip340", "ecdsa-secp256k1-recoverable"):
            raise NotSupportedError(f"{algorithm} in a token", "keep keys for Bitcoin without one")
        digest, named = message, algorithm.removesuffix("-p1363").split("-", 2)[2:]
        if named:
            if named != ["sha256"]:
                raise _unserved(algorithm)
            import hashlib

            digest = hashlib.sha256(message).digest()
        signature = bytes(self._loaded().sign(digest, mechanism=Mechanism.ECDSA))
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        if self._key_type == "secp256k1" and s > ORDER // 2:
            s = ORDER - s  # BIP146
        if algorithm.endswith("-p1363"):
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return encode_dss_signature(r, s)


def _unserved(algorithm: str) -> NotSupportedError:
    return NotSupportedError(f"{algorithm} in a token", "choose SHA-2 over the message itself, or a digest")


class TokenKeyAlgorithms(LibraryKeyAlgorithms):
    """Draws and uses keys in the token behind ``session`` (of python-pkcs11, opened read-write).

    A token's session is one thread's. Import and export are refused: what is in the token stays there,
    and what is not was seen outside.
    """

    def __init__(self, session: Any, randomness: Randomness) -> None:
        super().__init__(randomness)
        self._session = session
        self._handles = randomness

    def generate(self, key_type: str) -> Secret:
        """A key drawn in the token; what is returned is its handle."""
        self._check(key_type)
        handle = self._handles.token_bytes(HANDLE_BYTES)
        facts = {"id": handle, "label": f"anya {key_type}", "store": True}
        if key_type in RSA_BITS:
            self._session.generate_keypair(KeyType.RSA, RSA_BITS[key_type], **facts)
        elif key_type in _CURVES:
            parameters = self._session.create_domain_parameters(
                KeyType.EC,
                {Attribute.EC_PARAMS: encode_named_curve_parameters(_CURVES[key_type])},
                local=True,
            )
            parameters.generate_keypair(**facts)
        elif key_type in MAC_ALGORITHMS:
            bits = int(key_type[-3:])
            uses = pkcs11.MechanismFlag.SIGN | pkcs11.MechanismFlag.VERIFY
            self._session.generate_key(KeyType.GENERIC_SECRET, bits, capabilities=uses, **facts)
        else:
            self._session.generate_key(KeyType.AES, 256, **facts)
        return Secret(handle)

    def read(self, key_type: str, material: KeyMaterial) -> Secret:
        """Refused."""
        raise NotSupportedError(f"import of a {key_type} key into a token", "draw it there")

    def write(self, key_type: str, private_key: Secret) -> Secret:
        """Refused."""
        raise NotSupportedError(f"export of a {key_type} key from a token", "it does not leave it")

    def load(self, key_type: str, private_key: Secret) -> SigningKey:
        """Find the key of a handle, which must sign."""
        self._check(key_type)
        if key_type in MAC_ALGORITHMS or key_type == "aes256-gcm":
            raise InvalidInputError("key", f"a {key_type} key cannot sign")
        return self._found(key_type, private_key)

    def load_any(self, key_type: str, private_key: Secret) -> PrivateKey:
        """Find the key of a handle."""
        self._check(key_type)
        return self._found(key_type, private_key)

    def load_family(self, key_type: str, private_key: Secret, *, convergent: bool) -> KeyFamily:
        """Refused: what is in the token derives nothing."""
        raise NotSupportedError("derived keys in a token", "keep them in the HSM itself")

    def _found(self, key_type: str, private_key: Secret) -> TokenKey:
        handle = private_key.reveal()
        if key_type in MAC_ALGORITHMS or key_type == "aes256-gcm":
            return TokenKey(key_type, self._session, handle, b"")
        try:
            public = self._session.get_key(object_class=ObjectClass.PUBLIC_KEY, id=handle)
        except pkcs11.NoSuchKey:
            raise InvalidInputError("private_key", "the token has no key of this handle") from None
        if key_type in RSA_BITS:
            from pkcs11.util.rsa import encode_rsa_public_key

            numbers = encode_rsa_public_key(public)
            return TokenKey(key_type, self._session, handle, _spki_of_rsa(numbers))
        from pkcs11.util.ec import encode_ec_public_key

        own_form = self.read_public_key(key_type, encode_ec_public_key(public))
        return TokenKey(key_type, self._session, handle, own_form)

    @staticmethod
    def _check(key_type: str) -> None:
        check_key_type(key_type)
        if key_type not in SERVED:
            raise NotSupportedError(
                f"a {key_type} key in a token", f"a token has {', '.join(sorted(SERVED))}"
            )


def _spki_of_rsa(pkcs1: bytes) -> bytes:
    """SubjectPublicKeyInfo of an RSAPublicKey (RFC 8017, A.1.1), which OpenSSL reads as well."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

    key = load_der_public_key(pkcs1)
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

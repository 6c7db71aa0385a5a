"""What is told to a token about a key that it draws or takes in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pkcs11
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass

from anya_actors.domain.keys.algorithms import HMACS, NIST_CURVES, RSA_BITS
from anya_actors.domain.machine import NotSupportedError

Template = Mapping[Attribute, Any]

SIGNING: Final = MechanismFlag.SIGN | MechanismFlag.VERIFY
ENCRYPTING: Final = MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT
# The DER of a named curve's object identifier, as CKA_EC_PARAMS wants it.
CURVES: Final[Mapping[str, tuple[KeyType, bytes]]] = {
    "p256": (KeyType.EC, bytes.fromhex("06082a8648ce3d030107")),
    "secp256k1": (KeyType.EC, bytes.fromhex("06052b8104000a")),
    "p384": (KeyType.EC, bytes.fromhex("06052b81040022")),
    "p521": (KeyType.EC, bytes.fromhex("06052b81040023")),
    "ed25519": (KeyType.EC_EDWARDS, bytes.fromhex("06032b6570")),
    # PKCS#11 3.0 calls it Montgomery's; SoftHSM2 has it beside Edwards's.
    "x25519": (KeyType.EC_EDWARDS, bytes.fromhex("06032b656e")),
}
NEEDED: Final[Mapping[str, tuple[Mechanism, ...]]] = {
    **dict.fromkeys(("secp256k1", *NIST_CURVES), (Mechanism.EC_KEY_PAIR_GEN, Mechanism.ECDSA)),
    "ed25519": (Mechanism.EC_EDWARDS_KEY_PAIR_GEN, Mechanism.EDDSA),
    "x25519": (Mechanism.EC_EDWARDS_KEY_PAIR_GEN, Mechanism.ECDH1_DERIVE),
    **dict.fromkeys(RSA_BITS, (Mechanism.RSA_PKCS_KEY_PAIR_GEN, Mechanism.SHA256_RSA_PKCS)),
    **dict.fromkeys(("aes128-gcm", "aes256-gcm"), (Mechanism.AES_KEY_GEN, Mechanism.AES_GCM)),
    "hmac-sha256": (Mechanism.GENERIC_SECRET_KEY_GEN, Mechanism.SHA256_HMAC),
    "hmac-sha384": (Mechanism.GENERIC_SECRET_KEY_GEN, Mechanism.SHA384_HMAC),
    "hmac-sha512": (Mechanism.GENERIC_SECRET_KEY_GEN, Mechanism.SHA512_HMAC),
}
"""The mechanisms behind each key type that is kept in tokens. No token does the others."""
_USES: Final = {"ed25519": SIGNING, "x25519": MechanismFlag.DERIVE}
"""Keys of the other curves sign and agree."""
NO_SUCH_CURVE: Final = (
    *(pkcs11.DomainParamsInvalid, pkcs11.AttributeValueInvalid, pkcs11.TemplateInconsistent),
    *(pkcs11.MechanismInvalid, pkcs11.MechanismParamInvalid, pkcs11.FunctionNotSupported),
)
_STAYS: Final[Template] = {
    Attribute.TOKEN: True,
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
}
_SHOWN: Final[Template] = {Attribute.TOKEN: True, Attribute.PRIVATE: False}


def draw(session: Any, key_type: str, identity: bytes) -> None:
    """Draw a key in the token."""
    facts = {"id": identity, "label": f"anya {key_type}", "store": True}
    stays = {Attribute.EXTRACTABLE: False}
    if key_type in RSA_BITS:
        session.generate_keypair(
            KeyType.RSA,
            RSA_BITS[key_type],
            capabilities=SIGNING | ENCRYPTING,
            private_template=stays,
            **facts,
        )
    elif key_type in CURVES:
        kind, curve = CURVES[key_type]
        parameters = session.create_domain_parameters(kind, {Attribute.EC_PARAMS: curve}, local=True)
        uses = _USES.get(key_type, SIGNING | MechanismFlag.DERIVE)
        try:
            parameters.generate_keypair(capabilities=uses, private_template=stays, **facts)
        except NO_SUCH_CURVE as error:  # whether a token has a curve shows when it is asked for
            raise NotSupportedError(f"a {key_type} key in this token", type(error).__name__) from None
    elif key_type in HMACS:
        bits = int(key_type[-3:])
        session.generate_key(KeyType.GENERIC_SECRET, bits, capabilities=SIGNING, template=stays, **facts)
    else:
        session.generate_key(
            KeyType.AES, int(key_type[3:6]), capabilities=ENCRYPTING, template=stays, **facts
        )


def take_in(session: Any, key_type: str, private_key: bytes, point: bytes, identity: bytes) -> None:
    """Make objects of a key from outside; ``point`` is the public key of one on a curve."""
    facts = {Attribute.ID: identity, Attribute.LABEL: f"anya {key_type}"}
    if key_type in RSA_BITS:
        private, public = _rsa_objects(private_key)
    elif key_type in CURVES:
        kind, curve = CURVES[key_type]
        shared = {Attribute.KEY_TYPE: kind, Attribute.EC_PARAMS: curve}
        private = {**shared, Attribute.VALUE: private_key}
        public = {**shared, Attribute.EC_POINT: octet_string(point)}
    else:
        secret = {**_secret_object(key_type), Attribute.VALUE: private_key}
        session.create_object({**secret, **_STAYS, **facts})
        return
    signs = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.SIGN: True}
    verifies = {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.VERIFY: True}
    if key_type in RSA_BITS:
        signs, verifies = {**signs, Attribute.DECRYPT: True}, {**verifies, Attribute.ENCRYPT: True}
    elif key_type in CURVES:
        uses = _USES.get(key_type, SIGNING | MechanismFlag.DERIVE)
        signs |= {
            Attribute.SIGN: bool(uses & MechanismFlag.SIGN),
            Attribute.DERIVE: bool(uses & MechanismFlag.DERIVE),
        }
    session.create_object({**private, **signs, **_STAYS, **facts})
    session.create_object({**public, **verifies, **_SHOWN, **facts})


def octet_string(data: bytes) -> bytes:
    """The DER of up to 255 bytes."""
    return (bytes((4, len(data))) if len(data) < 128 else bytes((4, 0x81, len(data)))) + data


def destroy(session: Any, identity: bytes) -> None:
    """Destroy every object of a key; one that is gone stays so."""
    for each in list(session.get_objects({Attribute.ID: identity})):
        try:
            each.destroy()
        except pkcs11.ObjectHandleInvalid:  # another process was faster
            continue


def _secret_object(key_type: str) -> Template:
    if key_type in HMACS:
        uses = {Attribute.SIGN: True, Attribute.VERIFY: True}
        return {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.KEY_TYPE: KeyType.GENERIC_SECRET, **uses}
    uses = {Attribute.ENCRYPT: True, Attribute.DECRYPT: True}
    return {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.KEY_TYPE: KeyType.AES, **uses}


def _rsa_objects(private_key: bytes) -> tuple[Template, Template]:
    key = load_der_private_key(private_key, None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError("RSA's private keys are PKCS#8 of RSA")
    numbers = key.private_numbers()
    public = {
        Attribute.KEY_TYPE: KeyType.RSA,
        Attribute.MODULUS: _bytes(numbers.public_numbers.n),
        Attribute.PUBLIC_EXPONENT: _bytes(numbers.public_numbers.e),
    }
    private = {
        **public,
        Attribute.PRIVATE_EXPONENT: _bytes(numbers.d),
        Attribute.PRIME_1: _bytes(numbers.p),
        Attribute.PRIME_2: _bytes(numbers.q),
        Attribute.EXPONENT_1: _bytes(numbers.dmp1),
        Attribute.EXPONENT_2: _bytes(numbers.dmq1),
        Attribute.COEFFICIENT: _bytes(numbers.iqmp),
    }
    return private, public


def _bytes(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")

"""Private keys in the forms in which people keep them, read for an import."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    load_pem_private_key,
)

from anya_actors.adapters.keys import bip32, nist
from anya_actors.domain.hsm.material import KeyMaterial
from anya_actors.domain.keys.algorithms import NIST_CURVES, RSA_BITS
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import InvalidInputError

_WORD_COUNTS: Final = (12, 15, 18, 21, 24)
_ROUNDS: Final = 2048
_CURVES: Final[Mapping[str, ec.EllipticCurve]] = {
    "secp256k1": ec.SECP256K1(),
    **{name: each.curve for name, each in nist.CURVES.items()},
}


def read_bip32(material: KeyMaterial) -> Secret:
    """The BIP32 node of a seed, a mnemonic or an extended private key; raises `InvalidInputError`."""
    match material.form:
        case "seed":
            with Secret(material.data) as seed:
                return bip32.from_seed(seed)
        case "mnemonic":
            with seed_of_mnemonic(material.data, material.passphrase) as seed:
                return bip32.from_seed(seed)
        case "extended-private-key":
            with Secret(material.data) as text:
                return bip32.from_extended_private_key(text)
    raise InvalidInputError("form", "a bip32 key is a seed, a mnemonic or an extended private key")


def read_private_key(key_type: str, material: KeyMaterial) -> Secret:
    """The bytes that stand for a key: ``raw``, or out of PKCS#8 (DER or PEM)."""
    if material.form == "raw":
        return Secret(material.data)
    if material.form != "pkcs8":
        raise InvalidInputError("form", f"a {key_type} key is imported as its raw bytes, or as PKCS#8")
    try:
        load = load_pem_private_key if material.data.startswith(b"-----") else load_der_private_key
        key = load(material.data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise InvalidInputError("private_key", "it is not PKCS#8") from None
    if key_type in RSA_BITS and isinstance(key, rsa.RSAPrivateKey):
        return Secret.taken(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
    curve = _CURVES.get(key_type)
    if curve is not None and isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name == curve.name:
        return Secret.taken(
            key.private_numbers().private_value.to_bytes(NIST_CURVES.get(key_type, 32), "big")
        )
    if (key_type == "ed25519" and isinstance(key, Ed25519PrivateKey)) or (
        key_type == "x25519" and isinstance(key, X25519PrivateKey)
    ):
        return Secret.taken(key.private_bytes_raw())
    raise InvalidInputError("private_key", f"it is not a key of type {key_type}")


def write_private_key(key_type: str, private_key: Secret) -> Secret:
    """PKCS#8 DER of a key that has a public half (RSA's is that already); else its bytes."""
    loaders = {"ed25519": Ed25519PrivateKey.from_private_bytes, "x25519": X25519PrivateKey.from_private_bytes}
    if key_type in _CURVES:
        key: Any = ec.derive_private_key(int.from_bytes(private_key.buffer, "big"), _CURVES[key_type])
    elif key_type in loaders:
        with private_key.revealed() as raw:
            key = loaders[key_type](raw)
    else:
        return Secret(bytearray(private_key.buffer))
    return Secret.taken(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))


def seed_of_mnemonic(mnemonic: bytes, passphrase: bytes) -> Secret:
    """The seed (64 bytes) of a BIP39 sentence in any of its languages, its checksum verified."""
    from bip39_slip39 import bip39  # its word list is needed by imports alone
    from bip39_slip39.exceptions import Bip39Slip39Exception

    try:
        words = unicodedata.normalize("NFKD", mnemonic.decode("utf-8")).split()
        salt = unicodedata.normalize("NFKD", passphrase.decode("utf-8"))
        if len(words) not in _WORD_COUNTS:
            raise InvalidInputError("mnemonic", "it has 12, 15, 18, 21 or 24 words")
        bip39.entropy_from_mnemonic(" ".join(words))
    except (Bip39Slip39Exception, ValueError):
        # The library's error may quote a word: cut the chain.
        raise InvalidInputError("mnemonic", "a word is unknown, or the checksum is wrong") from None
    sentence, salted = " ".join(words).encode(), b"mnemonic" + salt.encode()
    return Secret.taken(hashlib.pbkdf2_hmac("sha512", sentence, salted, _ROUNDS))

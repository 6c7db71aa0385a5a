"""Transit's words for ours: key types, signatures and ciphertexts as text, and how requests are read."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, Final

from anya_actors.domain.hsm.views import KeyView
from anya_actors.domain.keys.algorithms import (
    AEADS,
    DERIVABLE,
    HMACS,
    MAC_ALGORITHMS,
    NIST_CURVES,
    RSA_BITS,
)
from anya_actors.domain.machine import InvalidInputError, NotSupportedError

KEY_TYPES: Final[Mapping[str, str]] = {
    "aes256-gcm96": "aes256-gcm",
    "aes128-gcm96": "aes128-gcm",
    "chacha20-poly1305": "chacha20-poly1305",
    "ed25519": "ed25519",
    "ecdsa-p256": "p256",
    "ecdsa-p384": "p384",
    "ecdsa-p521": "p521",
    "rsa-2048": "rsa-2048",
    "rsa-3072": "rsa-3072",
    "rsa-4096": "rsa-4096",
    "hmac": "hmac-sha256",
    "aes128-cmac": "aes128-cmac",
    "aes256-cmac": "aes256-cmac",
    # Beyond Vault:
    "ecdsa-secp256k1": "secp256k1",
    "x25519": "x25519",
}
TRANSIT_TYPES: Final[Mapping[str, str]] = {ours: theirs for theirs, ours in KEY_TYPES.items()}
UNSERVED_TYPES: Final = frozenset({"managed_key", "ml-dsa", "slh-dsa", "hybrid"})
OPERATIONS: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(AEADS, ("decrypt", "encrypt")),
    **dict.fromkeys(RSA_BITS, ("decrypt", "encrypt", "sign", "verify")),
    "x25519": ("derive",),
    "secp256k1": ("derive", "sign", "verify"),
}
CIPHERS: Final[Mapping[str, str]] = {
    **{name: name for name in AEADS},
    **dict.fromkeys(RSA_BITS, "rsa-oaep-sha256"),
}
HASHES: Final[Mapping[str, str]] = {
    "sha2-224": "sha224",
    "sha2-256": "sha256",
    "sha2-384": "sha384",
    "sha2-512": "sha512",
    "sha3-224": "sha3-224",
    "sha3-256": "sha3-256",
    "sha3-384": "sha3-384",
    "sha3-512": "sha3-512",
}
CURVE_NAMES: Final[Mapping[str, str]] = {"p256": "P-256", "p384": "P-384", "p521": "P-521"}
_SEALED: Final = re.compile(r"vault:v([1-9][0-9]{0,8}):([A-Za-z0-9+/_=-]*)\Z")
_COMPANION: Final = re.compile(r"(.+):hmac-sha(256|384|512)\Z")

Fields = Mapping[str, Any]


def key_type_of(fields: Fields) -> str:
    """Our type for the ``type`` of a request; raise `InvalidInputError` or `NotSupportedError`."""
    named = text(fields, "type", "aes256-gcm96")
    if named in UNSERVED_TYPES:
        raise NotSupportedError(f"the key type {named}", "choose another one")
    if named not in KEY_TYPES:
        raise InvalidInputError("type", f"choose one of {', '.join(KEY_TYPES)}")
    if number(fields, "key_size", 0) not in (0, 32):
        raise NotSupportedError("keys of another size", "an HMAC key has 32 bytes; import a longer one")
    return KEY_TYPES[named]


def companion(name: str, algorithm: str) -> str:
    """The key that makes MACs beside a key of another type, as every Transit key can."""
    return f"{name}:{algorithm}"


def is_companion(name: str) -> bool:
    """Whether a key stands beside another; it is not listed."""
    return _COMPANION.match(name) is not None


def sealed(data: bytes, version: int) -> str:
    """``vault:vN:`` and base64."""
    return f"vault:v{version}:{base64.b64encode(data).decode()}"


def parse_sealed(value: object, field: str) -> tuple[int, bytes]:
    """The version and the bytes; raise `InvalidInputError`."""
    match = _SEALED.match(value) if isinstance(value, str) else None
    if match is None:
        raise InvalidInputError(field, "it is not of the form vault:vN:BASE64")
    encoded = match[2].replace("-", "+").replace("_", "/")
    return int(match[1]), decoded(encoded + "=" * (-len(encoded) % 4), field)


def decoded(value: object, field: str) -> bytes:
    """The bytes of a base64 text; raise `InvalidInputError`."""
    if not isinstance(value, str):
        raise InvalidInputError(field, "it is not base64 text")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInputError(field, "it is not base64") from None


def given(fields: Fields, name: str) -> bytes:
    """An optional field of base64."""
    value = fields.get(name)
    return b"" if value in (None, "") else decoded(value, name)


def text(fields: Fields, name: str, default: str) -> str:
    """An optional text."""
    value = fields.get(name)
    if value is None or value == "":
        return default
    if not isinstance(value, str):
        raise InvalidInputError(name, "it is not text")
    return value


def number(fields: Fields, name: str, default: int) -> int:
    """An optional number; Vault's clients also send it as text."""
    value = fields.get(name)
    if value is None or value == "":
        return default
    if (
        isinstance(value, bool)
        or not isinstance(value, int | str)
        or not re.fullmatch("[0-9]{1,9}", str(value))
    ):
        raise InvalidInputError(name, "it is not a number")
    return int(value)


def flag(fields: Fields, name: str, default: bool) -> bool:
    """An optional truth value."""
    value = fields.get(name)
    if value is None:
        return default
    if value in (True, "true"):
        return True
    if value in (False, "false"):
        return False
    raise InvalidInputError(name, "it is true or false")


def seconds(fields: Fields, name: str, default: int) -> int:
    """A time as Go writes it (``1h30m``), in days, or as a number of seconds."""
    value = fields.get(name)
    if value is None or value == "":
        return default
    written = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if re.fullmatch("[0-9]{1,10}", written):
        return int(written)
    parts = re.fullmatch("(?:([0-9]{1,6})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,6})s)?", written)
    if not written or parts is None:
        raise InvalidInputError(name, "write it like 720h, 30d or a number of seconds")
    return sum(int(part or 0) * unit for part, unit in zip(parts.groups(), (86400, 3600, 60, 1), strict=True))


def key_data(view: KeyView, pems: Mapping[int, str]) -> dict[str, Any]:
    """A key as ``GET /keys/NAME`` shows it: versions with times, or with public keys in ``pems``."""
    operations = set(view.operations)
    keys: dict[str, Any] = {}
    for each in view.versions:
        if each.version in pems:
            keys[str(each.version)] = {
                "creation_time": rfc3339(each.created_unix_ms),
                "name": CURVE_NAMES.get(view.key_type, view.key_type),
                "public_key": pems[each.version],
            }
        else:
            keys[str(each.version)] = each.created_unix_ms // 1000
    # Of keys that were drawn here; Terraform reads it.
    sizes = {"key_size": 32} if view.key_type in HMACS else {}
    return {
        **sizes,
        "name": view.name,
        "type": TRANSIT_TYPES.get(view.key_type, view.key_type),
        "keys": keys,
        "latest_version": view.version,
        "min_available_version": view.versions[0].version if view.versions[0].version > 1 else 0,
        "min_decryption_version": view.minimum_version,
        "min_encryption_version": view.minimum_encryption_version,
        "deletion_allowed": view.policy.deletion_allowed,
        "exportable": view.policy.exportable,
        "allow_plaintext_backup": view.policy.backup,
        "derived": view.policy.derived,
        "convergent_encryption": view.policy.convergent,
        "kdf": "hkdf_sha256" if view.policy.derived else "",
        "soft_deleted": False,
        "auto_rotate_period": view.policy.auto_rotate_s,
        "supports_encryption": "encrypt" in operations,
        "supports_decryption": "decrypt" in operations,
        "supports_derivation": view.key_type in DERIVABLE,
        "supports_signing": "sign" in operations and view.key_type not in MAC_ALGORITHMS,
    }


def rfc3339(unix_ms: int) -> str:
    """The time as Go writes it."""
    import datetime

    at = datetime.datetime.fromtimestamp(unix_ms / 1000, datetime.UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def mac_key(view: KeyView, fields: Fields, path_hash: str) -> tuple[str, str, str]:
    """The key that makes the MAC, its type, and the algorithm: the key itself, or one beside it."""
    named = path_hash or text(fields, "algorithm", text(fields, "hash_algorithm", "sha2-256"))
    if named not in HASHES:
        raise NotSupportedError(f"HMAC with {named}", f"choose one of {', '.join(HASHES)}")
    algorithm = f"hmac-{HASHES[named]}"
    if view.key_type in HMACS:
        return view.name, view.key_type, algorithm
    beside = algorithm if algorithm in HMACS else HMACS[0]
    return companion(view.name, beside), beside, algorithm


def signing_algorithm(key_type: str, fields: Fields, path_hash: str = "", *, verifying: bool = False) -> str:
    """Which of our signature algorithms the request means; raise if there is none."""
    hashed = path_hash or text(fields, "hash_algorithm", text(fields, "algorithm", "sha2-256"))
    prehashed = flag(fields, "prehashed", False)
    form = "-p1363" if text(fields, "marshaling_algorithm", "asn1") == "jws" else ""
    if key_type == "ed25519":
        return _ed25519(fields, path_hash, prehashed)
    if key_type == "secp256k1":
        return _secp256k1(fields, hashed, prehashed, form)
    if key_type in NIST_CURVES:
        named = "" if prehashed else f"-{_hash(hashed, verifying)}"
        return f"ecdsa-{key_type}{named}{form}"
    if key_type in RSA_BITS:
        return _rsa(fields, hashed, prehashed, verifying)
    raise InvalidInputError("key", f"a key of type {TRANSIT_TYPES.get(key_type, key_type)} cannot sign")


def _hash(named: str, verifying: bool) -> str:
    if named == "sha1" and verifying:
        return "sha1"
    if named not in HASHES:
        raise NotSupportedError(f"signing with {named}", f"choose one of {', '.join(HASHES)}")
    return HASHES[named]


def _ed25519(fields: Fields, path_hash: str, prehashed: bool) -> str:
    if fields.get("signature_context"):
        raise NotSupportedError("a context of Ed25519", "sign it with the message")
    if not prehashed:
        return "ed25519"
    if (path_hash or text(fields, "hash_algorithm", text(fields, "algorithm", "sha2-512"))) != "sha2-512":
        raise InvalidInputError("hash_algorithm", "Ed25519ph is over SHA-512: choose sha2-512")
    return "ed25519ph"


def _secp256k1(fields: Fields, hashed: str, prehashed: bool, form: str) -> str:
    if text(fields, "signature_algorithm", "") in ("bip340", "schnorr-bip340"):
        return "schnorr-bip340"
    if hashed != "sha2-256":
        raise NotSupportedError(f"ECDSA on secp256k1 with {hashed}", "it is SHA-256 here")
    if not prehashed:
        return f"ecdsa-secp256k1-sha256{form}"
    if form:
        raise NotSupportedError("JWS signatures of digests on secp256k1", "send the message itself")
    return "ecdsa-secp256k1"


def _rsa(fields: Fields, hashed: str, prehashed: bool, verifying: bool) -> str:
    scheme = text(fields, "signature_algorithm", "pss")
    if scheme not in ("pss", "pkcs1v15"):
        raise InvalidInputError("signature_algorithm", "choose pss or pkcs1v15")
    if hashed == "none":
        if scheme != "pkcs1v15" or not prehashed:
            raise InvalidInputError("hash_algorithm", "none is for pkcs1v15, prehashed")
        return "rsa-pkcs1-none"
    name = _hash(hashed, verifying)
    digest = "-digest" if prehashed else ""
    return f"rsa-pkcs1-{name}{digest}" if scheme == "pkcs1v15" else f"rsa-pss-{name}{_salt(fields)}{digest}"


def _salt(fields: Fields) -> str:
    """Vault: ``auto`` is the longest, and any when verifying; ``hash`` is as long as the hash."""
    salt = str(fields.get("salt_length") or "auto")
    if salt in ("auto", "hash"):
        return "-auto" if salt == "auto" else ""
    if not re.fullmatch("[1-9][0-9]{0,2}", salt):
        raise InvalidInputError("salt_length", "choose auto, hash, or a number of bytes")
    return f"-salt{salt}"

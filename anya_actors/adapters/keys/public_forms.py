"""Public keys in the forms that others write them: SubjectPublicKeyInfo, PEM, JWK, SEC1."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from anya_actors.adapters.keys import nist
from anya_actors.domain.keys.algorithms import NIST_CURVES, RSA_BITS, SYMMETRIC
from anya_actors.domain.machine import InvalidInputError

FORMS: Final = ("pem", "jwk", "sec1", "spki", "raw")
_CURVES: Final[Mapping[str, ec.EllipticCurve]] = {
    "secp256k1": ec.SECP256K1(),
    "bip32": ec.SECP256K1(),
    **{name: each.curve for name, each in nist.CURVES.items()},
}
_CURVE_NAMES: Final = {key_type: curve.name for key_type, curve in _CURVES.items()}
_COORDINATE_BYTES: Final[Mapping[str, int]] = {"secp256k1": 32, "bip32": 32, **NIST_CURVES}
_JWK_CURVES: Final = {
    "secp256k1": "secp256k1", "bip32": "secp256k1", "p256": "P-256", "p384": "P-384", "p521": "P-521",
}  # fmt: skip
_OKP_CURVES: Final = {"ed25519": "Ed25519", "x25519": "X25519"}


def read(key_type: str, data: bytes) -> bytes:
    """The key in our own form: SEC1 compressed, 32 raw bytes, or SubjectPublicKeyInfo (RSA)."""
    if key_type in SYMMETRIC:
        raise InvalidInputError("public_key", f"a {key_type} key has none")
    if key_type in _OKP_CURVES and len(data) == 32:
        return data
    if data.lstrip()[:1] == b"{":
        return _from_jwk(key_type, data)
    try:
        if key_type in _CURVES and data[:1] in (b"\x02", b"\x03", b"\x04"):
            return _own_form(ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[key_type], data), key_type)
        load = load_pem_public_key if data.startswith(b"-----") else load_der_public_key
        return _own_form(load(data), key_type)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise InvalidInputError("public_key", f"it cannot be read as a key of type {key_type}") from None


def write(key_type: str, public_key: bytes, form: str) -> bytes:
    """A key of our own form in another one."""
    if form not in FORMS:
        raise InvalidInputError("form", f"choose one of {', '.join(FORMS)}")
    if key_type in SYMMETRIC:
        raise InvalidInputError("public_key", f"a {key_type} key has none")
    if form == "raw":
        return public_key
    if form == "sec1":
        if key_type not in _CURVES:
            raise InvalidInputError("form", f"SEC1 has no form for a {key_type} key")
        return public_key
    key = _object(key_type, public_key)
    if form == "jwk":
        return json.dumps(_jwk(key_type, key), separators=(",", ":")).encode()
    encoding = Encoding.PEM if form == "pem" else Encoding.DER
    return bytes(key.public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo))


def _object(key_type: str, public_key: bytes) -> Any:
    try:
        if key_type in _CURVES:
            return ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[key_type], public_key)
        if key_type == "ed25519":
            return ed25519.Ed25519PublicKey.from_public_bytes(public_key)
        if key_type == "x25519":
            return x25519.X25519PublicKey.from_public_bytes(public_key)
        return load_der_public_key(public_key)
    except ValueError:
        raise InvalidInputError("public_key", f"it is not a key of type {key_type}") from None


def _own_form(key: object, key_type: str) -> bytes:
    match key, key_type:
        case ec.EllipticCurvePublicKey(), str() if key.curve.name == _CURVE_NAMES.get(key_type):
            return key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        case ed25519.Ed25519PublicKey(), "ed25519":
            return key.public_bytes_raw()
        case x25519.X25519PublicKey(), "x25519":
            return key.public_bytes_raw()
        case rsa.RSAPublicKey(), str() if key.key_size == RSA_BITS.get(key_type):
            return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    raise ValueError(key_type)


def _jwk(key_type: str, key: Any) -> dict[str, str]:
    if key_type in _OKP_CURVES:  # RFC 8037
        return {"kty": "OKP", "crv": _OKP_CURVES[key_type], "x": _text(key.public_bytes_raw())}
    numbers = key.public_numbers()
    if key_type in _CURVES:  # RFC 7518, 6.2; RFC 8812
        size = _COORDINATE_BYTES[key_type]
        x, y = numbers.x.to_bytes(size, "big"), numbers.y.to_bytes(size, "big")
        return {"kty": "EC", "crv": _JWK_CURVES[key_type], "x": _text(x), "y": _text(y)}
    size = RSA_BITS[key_type] // 8
    exponent = numbers.e.to_bytes((numbers.e.bit_length() + 7) // 8, "big")
    return {"kty": "RSA", "n": _text(numbers.n.to_bytes(size, "big")), "e": _text(exponent)}


def _from_jwk(key_type: str, data: bytes) -> bytes:
    try:
        jwk = json.loads(data)
        if key_type in _OKP_CURVES:
            if (jwk["kty"], jwk["crv"]) != ("OKP", _OKP_CURVES[key_type]):
                raise ValueError(key_type)
            x = _bytes(jwk["x"])
            return _own_form(_object(key_type, x), key_type)
        if key_type in _CURVES:
            named = {"P-256K": "secp256k1"}.get(jwk["crv"], jwk["crv"])  # before RFC 8812
            if (jwk["kty"], named) != ("EC", _JWK_CURVES[key_type]):
                raise ValueError(key_type)
            x, y = _bytes(jwk["x"]), _bytes(jwk["y"])
            if {len(x), len(y)} != {_COORDINATE_BYTES[key_type]}:
                raise ValueError(key_type)
            return _own_form(_object(key_type, b"\x04" + x + y), key_type)
        if jwk["kty"] != "RSA":
            raise ValueError(key_type)
        n, e = int.from_bytes(_bytes(jwk["n"]), "big"), int.from_bytes(_bytes(jwk["e"]), "big")
        return _own_form(rsa.RSAPublicNumbers(e, n).public_key(), key_type)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise InvalidInputError("public_key", f"it is not a JWK of type {key_type}") from None


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)

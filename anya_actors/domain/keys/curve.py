"""secp256k1 by libsecp256k1, below the level of signatures: points, scalars, ECDH, ElligatorSwift.

The one module that reaches into coincurve's private cffi library, whose version is pinned. What
libsecp256k1 would abort the process for (an object that was never parsed) cannot be built here.
Scalars that are public are ``int``; secret ones are `Secret`, and everything done to those takes
the library's constant-time paths.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from coincurve._libsecp256k1 import ffi, lib
from coincurve.context import GLOBAL_CONTEXT

from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import InvalidInputError

ORDER: Final = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
"""The number of points (SEC 2, section 2.4.1)."""
FIELD_SIZE: Final = 2**256 - 2**32 - 977

_CTX: Final = GLOBAL_CONTEXT.ctx
_COMPRESSED: Final = lib.SECP256K1_EC_COMPRESSED


class CurveError(InvalidInputError):
    """Bytes that are no point or scalar of secp256k1."""

    code = "invalid-curve-value"
    message = "{} is not valid: {}"
    remedy = "Give what the sender of the value gave, unshortened."


class Point:
    """A point of secp256k1 other than infinity. Immutable."""

    __slots__ = ("_handle", "_serialized")

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._serialized: bytes | None = None

    @classmethod
    def parse(cls, data: bytes) -> Point:
        """Read SEC1: 33 bytes starting with 2 or 3, or 65 starting with 4; raises `CurveError`."""
        handle = ffi.new("secp256k1_pubkey *")
        plain = (len(data) == 33 and data[0] in (2, 3)) or (len(data) == 65 and data[0] == 4)
        if not plain or not lib.secp256k1_ec_pubkey_parse(_CTX, handle, data, len(data)):
            raise CurveError("the public key", f"{data[:65].hex()} is not a point of secp256k1")
        return cls(handle)

    @classmethod
    def from_x(cls, x: bytes) -> Point:
        """The point with an even y that has this x (BIP340, lift_x); raises `CurveError`."""
        if len(x) != 32:
            raise CurveError("the x-only public key", f"it has {len(x)} bytes, not 32")
        return cls.parse(b"\x02" + x)

    @classmethod
    def of_scalar(cls, scalar: int) -> Point:
        """``scalar`` times the generator, of a public scalar other than 0 modulo the order."""
        return _of_bytes((scalar % ORDER).to_bytes(32, "big"))

    @classmethod
    def of_secret(cls, secret: Secret) -> Point:
        """The public key of a private key, in constant time."""
        return _of_bytes(secret.buffer)

    def serialize(self) -> bytes:
        """SEC1 compressed, 33 bytes."""
        if self._serialized is None:
            output, size = ffi.new("unsigned char[33]"), ffi.new("size_t *", 33)
            lib.secp256k1_ec_pubkey_serialize(_CTX, output, size, self._handle, _COMPRESSED)
            self._serialized = bytes(ffi.buffer(output, 33))
        return self._serialized

    def serialize_uncompressed(self) -> bytes:
        """SEC1 uncompressed, 65 bytes."""
        output, size = ffi.new("unsigned char[65]"), ffi.new("size_t *", 65)
        lib.secp256k1_ec_pubkey_serialize(_CTX, output, size, self._handle, lib.SECP256K1_EC_UNCOMPRESSED)
        return bytes(ffi.buffer(output, 65))

    @property
    def x(self) -> bytes:
        """The x coordinate, 32 bytes: the x-only public key of BIP340."""
        return self.serialize()[1:]

    @property
    def has_even_y(self) -> bool:
        return self.serialize()[0] == 2

    def negate(self) -> Point:
        copy = ffi.new("secp256k1_pubkey *", self._handle[0])
        lib.secp256k1_ec_pubkey_negate(_CTX, copy)
        return Point(copy)

    def plus(self, scalar: int) -> Point | None:
        """This point and ``scalar`` times the generator; None is infinity."""
        copy = ffi.new("secp256k1_pubkey *", self._handle[0])
        tweak = (scalar % ORDER).to_bytes(32, "big")
        return Point(copy) if lib.secp256k1_ec_pubkey_tweak_add(_CTX, copy, tweak) else None

    def times(self, scalar: int) -> Point | None:
        """A multiple by a public scalar, in variable time; None is infinity."""
        copy = ffi.new("secp256k1_pubkey *", self._handle[0])
        factor = (scalar % ORDER).to_bytes(32, "big")
        return Point(copy) if lib.secp256k1_ec_pubkey_tweak_mul(_CTX, copy, factor) else None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and self.serialize() == other.serialize()

    def __hash__(self) -> int:
        return hash(self.serialize())

    def __repr__(self) -> str:
        return f"Point({self.serialize().hex()})"

    def __reduce__(self) -> tuple[Any, tuple[bytes]]:
        # The handle is memory of this process; another one parses the bytes again.
        return Point.parse, (self.serialize(),)


def _of_bytes(scalar: bytes | bytearray) -> Point:
    handle = ffi.new("secp256k1_pubkey *")
    if len(scalar) != 32 or not lib.secp256k1_ec_pubkey_create(_CTX, handle, ffi.from_buffer(scalar)):
        raise CurveError("the scalar", "it is not 32 bytes between 1 and the group order")
    return Point(handle)


GENERATOR: Final = Point.of_scalar(1)


def sum_points(points: Sequence[Point | None]) -> Point | None:
    """The sum, where None is infinity."""
    handles = [point._handle for point in points if point is not None]
    if not handles:
        return None
    total = ffi.new("secp256k1_pubkey *")
    if lib.secp256k1_ec_pubkey_combine(_CTX, total, ffi.new("secp256k1_pubkey *[]", handles), len(handles)):
        return Point(total)
    return None


def read_scalar(data: bytes, name: str) -> int:
    """32 bytes as a number below the order; raises `CurveError`."""
    value = int.from_bytes(data, "big")
    if len(data) != 32 or value >= ORDER:
        raise CurveError(name, "it is not 32 bytes below the group order")
    return value


@lru_cache(maxsize=64)
def _tag_prefix(tag: str) -> bytes:
    return hashlib.sha256(tag.encode()).digest() * 2


def tagged_hash(tag: str, message: bytes) -> bytes:
    """BIP340's hash, whose tag keeps digests of different purposes apart."""
    return hashlib.sha256(_tag_prefix(tag) + message).digest()


def tagged_scalar(tag: str, message: bytes) -> int:
    """BIP340's hash as a number modulo the order."""
    return int.from_bytes(tagged_hash(tag, message), "big") % ORDER


def check_secret(secret: Secret) -> None:
    """Raise `CurveError` unless the secret is between 1 and the order."""
    if len(secret) != 32 or not lib.secp256k1_ec_seckey_verify(_CTX, ffi.from_buffer(secret.buffer)):
        raise CurveError("the secret", "it is not 32 bytes between 1 and the group order")


def negate_secret(secret: Secret) -> None:
    """Replace a secret by its negative, in place."""
    if not lib.secp256k1_ec_seckey_negate(_CTX, ffi.from_buffer(secret.buffer)):
        raise CurveError("the secret", "it is zero or not below the group order")


def add_to_secret(secret: Secret, scalar: int | Secret) -> None:
    """Add a scalar to a secret, in place; raises `CurveError` if the sum is zero."""
    if not lib.secp256k1_ec_seckey_tweak_add(_CTX, ffi.from_buffer(secret.buffer), _scalar(scalar)):
        raise CurveError("the secret", "the sum with its tweak is zero, or one is out of range")


def multiply_secret(secret: Secret, scalar: int | Secret) -> None:
    """Multiply a secret by a scalar, in place; raises `CurveError` if the product is zero."""
    if not lib.secp256k1_ec_seckey_tweak_mul(_CTX, ffi.from_buffer(secret.buffer), _scalar(scalar)):
        raise CurveError("the secret", "its factor is zero, or one is out of range")


def _scalar(scalar: int | Secret) -> Any:
    if isinstance(scalar, Secret):
        return ffi.from_buffer(scalar.buffer)
    return ffi.from_buffer((scalar % ORDER).to_bytes(32, "big"))


@ffi.callback("int(unsigned char *, const unsigned char *, const unsigned char *, void *)")  # type: ignore[untyped-decorator]
def _whole_point(output: Any, x: Any, y: Any, _data: Any) -> int:
    # libsecp256k1's own choice is a hash of the point; protocols on the point itself need it whole.
    ffi.memmove(output + 1, x, 32)
    output[0] = 2 | (y[31] & 1)
    return 1


def shared_point(point: Point, secret: Secret) -> Point:
    """The multiple of a point by a secret, in constant time: ECDH without a hash."""
    output = ffi.new("unsigned char[33]")
    if len(secret) != 32 or not lib.secp256k1_ecdh(
        _CTX, output, point._handle, ffi.from_buffer(secret.buffer), _whole_point, ffi.NULL
    ):
        raise CurveError("the secret", "it is not 32 bytes between 1 and the group order")
    return Point.parse(bytes(ffi.buffer(output, 33)))


def schnorr_holds(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the signature (64 bytes) of a message of any length holds under an x-only key (BIP340)."""
    handle = ffi.new("secp256k1_xonly_pubkey *")
    if len(public_key) != 32 or len(signature) != 64:
        return False
    if not lib.secp256k1_xonly_pubkey_parse(_CTX, handle, public_key):
        return False
    return bool(lib.secp256k1_schnorrsig_verify(_CTX, signature, message, len(message), handle))


def sign_ecdsa(secret: Secret, digest: bytes, *, low_r: bool = False) -> bytes:
    """A DER signature of 32 bytes: nonce by RFC 6979, low S.

    With ``low_r`` nonces are tried, as Core tries them, until the signature has 70 bytes at most.
    """
    signature, size = ffi.new("secp256k1_ecdsa_signature *"), ffi.new("size_t *", 72)
    output = ffi.new("unsigned char[72]")
    check_secret(secret)
    if len(digest) != 32:
        raise CurveError("the digest", f"it has {len(digest)} bytes, not 32")
    more, tries = ffi.NULL, 0
    while True:
        lib.secp256k1_ecdsa_sign(_CTX, signature, digest, ffi.from_buffer(secret.buffer), ffi.NULL, more)
        size[0] = 72
        lib.secp256k1_ecdsa_signature_serialize_der(_CTX, output, size, signature)
        # R is written with 33 bytes, the first zero, unless it is below half of 2^256.
        if not low_r or output[3] <= 32:
            return bytes(ffi.buffer(output, size[0]))
        tries += 1
        more = ffi.new("unsigned char[32]", tries.to_bytes(32, "little"))


def sign_schnorr(secret: Secret, message: bytes, auxiliary: bytes) -> bytes:
    """A BIP340 signature (64 bytes) of 32 bytes; ``auxiliary`` is 32 random bytes, or zeros."""
    keypair, output = ffi.new("secp256k1_keypair *"), ffi.new("unsigned char[64]")
    check_secret(secret)
    if len(message) != 32 or len(auxiliary) != 32:
        raise CurveError("the message", "it and the auxiliary randomness have 32 bytes")
    try:
        lib.secp256k1_keypair_create(_CTX, keypair, ffi.from_buffer(secret.buffer))
        lib.secp256k1_schnorrsig_sign32(_CTX, output, message, keypair, auxiliary)
    finally:
        ffi.buffer(keypair)[:] = bytes(ffi.sizeof("secp256k1_keypair"))
    return bytes(ffi.buffer(output, 64))


def ecdsa_holds(public_key: bytes, digest: bytes, signature: bytes) -> bool:
    """Whether a DER signature with a low S holds for a 32-byte digest under a SEC1 key."""
    parsed = ffi.new("secp256k1_ecdsa_signature *")
    if not lib.secp256k1_ecdsa_signature_parse_der(_CTX, parsed, signature, len(signature)):
        return False
    try:
        key = Point.parse(public_key)
    except CurveError:
        return False
    return len(digest) == 32 and bool(lib.secp256k1_ecdsa_verify(_CTX, parsed, digest, key._handle))


def recovery_id(public_key: bytes, digest: bytes, signature: bytes) -> tuple[bytes, int]:
    """A DER signature as 64 bytes, and the number (0 to 3) that lets its key be found from it.

    Raises `CurveError` if the signature is not one of this digest by this key.
    """
    key, parsed = Point.parse(public_key), ffi.new("secp256k1_ecdsa_signature *")
    compact, found = ffi.new("unsigned char[64]"), ffi.new("secp256k1_pubkey *")
    if len(digest) == 32 and lib.secp256k1_ecdsa_signature_parse_der(_CTX, parsed, signature, len(signature)):
        lib.secp256k1_ecdsa_signature_serialize_compact(_CTX, compact, parsed)
        recoverable = ffi.new("secp256k1_ecdsa_recoverable_signature *")
        for number in range(4):
            if (
                lib.secp256k1_ecdsa_recoverable_signature_parse_compact(_CTX, recoverable, compact, number)
                and lib.secp256k1_ecdsa_recover(_CTX, found, recoverable, digest)
                and Point(found) == key
            ):
                return bytes(ffi.buffer(compact, 64)), number
    raise CurveError("the signature", "it is not one of this digest by this key")


def recover_key(signature: bytes, digest: bytes) -> bytes:
    """The public key behind a signature of 65 bytes as ``signmessage`` makes it; raises `CurveError`.

    The first byte tells which of four keys it is, and whether that is written compressed.
    """
    recoverable = ffi.new("secp256k1_ecdsa_recoverable_signature *")
    found = ffi.new("secp256k1_pubkey *")
    header = signature[0] - 27 if len(signature) == 65 else -1
    if (
        0 <= header < 8
        and len(digest) == 32
        and lib.secp256k1_ecdsa_recoverable_signature_parse_compact(
            _CTX, recoverable, signature[1:], header & 3
        )
        and lib.secp256k1_ecdsa_recover(_CTX, found, recoverable, digest)
    ):
        point = Point(found)
        return point.serialize() if header & 4 else point.serialize_uncompressed()
    raise CurveError("the signature", "no public key can be found from it")


def ellswift_decode(encoding: bytes) -> Point:
    """The point of a 64-byte ElligatorSwift encoding; every 64 bytes have one (BIP324)."""
    if len(encoding) != 64:
        raise CurveError("the ElligatorSwift encoding", f"it has {len(encoding)} bytes, not 64")
    handle = ffi.new("secp256k1_pubkey *")
    lib.secp256k1_ellswift_decode(_CTX, handle, encoding)
    return Point(handle)


def ellswift_create(secret: Secret, auxiliary: bytes) -> bytes:
    """A uniform-looking 64-byte encoding of a secret's public key; ``auxiliary`` is 32 random bytes."""
    output = ffi.new("unsigned char[64]")
    if len(auxiliary) != 32:
        raise CurveError("the auxiliary randomness", f"it has {len(auxiliary)} bytes, not 32")
    check_secret(secret)
    lib.secp256k1_ellswift_create(_CTX, output, ffi.from_buffer(secret.buffer), auxiliary)
    return bytes(ffi.buffer(output, 64))


def ellswift_shared_secret(theirs: bytes, ours: bytes, secret: Secret, *, initiating: bool) -> bytes:
    """The 32 bytes both ends of a BIP324 connection share (v2_ecdh of the BIP)."""
    if len(theirs) != 64 or len(ours) != 64:
        raise CurveError("the ElligatorSwift encoding", "it does not have 64 bytes")
    check_secret(secret)
    output = ffi.new("unsigned char[32]")
    first, second = (ours, theirs) if initiating else (theirs, ours)
    lib.secp256k1_ellswift_xdh(
        _CTX,
        output,
        first,
        second,
        ffi.from_buffer(secret.buffer),
        0 if initiating else 1,
        lib.secp256k1_ellswift_xdh_hash_function_bip324,
        ffi.NULL,
    )
    return bytes(ffi.buffer(output, 32))

"""Extended keys (BIP32): reading, writing and deriving, public and private."""

from __future__ import annotations

import hashlib
import hmac
from functools import cached_property
from typing import Final

import msgspec
from btclib.hashes import hash160

from anya_actors.domain.keys.base58 import Base58Error, base58check_decode, base58check_encode
from anya_actors.domain.keys.curve import CurveError, Point, add_to_secret, check_secret, read_scalar
from anya_actors.domain.keys.key_origin import HARDENED, KeyPath
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import InvalidInputError

XPUB, XPRV = bytes.fromhex("0488b21e"), bytes.fromhex("0488ade4")
TPUB, TPRV = bytes.fromhex("043587cf"), bytes.fromhex("04358394")
# SLIP132: the same keys, with a hint at the scripts in their prefix (y: P2SH-P2WPKH, z: P2WPKH).
_SLIP132: Final = {
    bytes.fromhex("049d7cb2"): XPUB,
    bytes.fromhex("049d7878"): XPRV,
    bytes.fromhex("04b24746"): XPUB,
    bytes.fromhex("04b2430c"): XPRV,
    bytes.fromhex("044a5262"): TPUB,
    bytes.fromhex("044a4e28"): TPRV,
    bytes.fromhex("045f1cf6"): TPUB,
    bytes.fromhex("045f18bc"): TPRV,
}
_SIZE: Final = 78
MAX_DEPTH: Final = 255


class ExtendedKeyError(InvalidInputError):
    """Text that is no extended key, or a child that a key does not have. Quotes nothing private."""

    code = "invalid-extended-key"
    message = "{} is not valid: {}"
    remedy = "Check that the whole key was copied, and that it is one of this network."


class ExtendedPublicKey(msgspec.Struct, frozen=True, dict=True):
    """A public key with the chain code from which its children follow."""

    public_key: bytes
    chain_code: bytes
    depth: int = 0
    parent_fingerprint: bytes = bytes(4)
    child_number: int = 0
    is_mainnet: bool = True

    @cached_property
    def fingerprint(self) -> bytes:
        """The first four bytes of its HASH160."""
        return bytes(hash160(self.public_key))[:4]

    def serialize(self) -> bytes:
        """The 78 bytes, as PSBTs hold them."""
        return _serialize(self, XPUB if self.is_mainnet else TPUB, self.public_key)

    def __str__(self) -> str:
        return self._text

    @cached_property
    def _text(self) -> str:
        return base58check_encode(self.serialize())

    @cached_property
    def _point(self) -> Point:
        return Point.parse(self.public_key)

    def child(self, number: int) -> ExtendedPublicKey:
        """The child of an unhardened number; raises `ExtendedKeyError`."""
        if not 0 <= number < HARDENED:
            raise ExtendedKeyError("the child number", "a public key has no hardened children")
        _check_depth(self.depth)
        digest = hmac.digest(self.chain_code, self.public_key + number.to_bytes(4, "big"), hashlib.sha512)
        try:
            point = self._point.plus(read_scalar(digest[:32], "the tweak"))
        except CurveError:
            point = None
        if point is None:
            raise ExtendedKeyError(f"child {number}", "it does not exist; take the next one")
        return ExtendedPublicKey(
            point.serialize(), digest[32:], self.depth + 1, self.fingerprint, number, self.is_mainnet
        )

    def derive(self, path: KeyPath) -> ExtendedPublicKey:
        """The descendant at a path of unhardened steps; raises `ExtendedKeyError`."""
        key = self
        for number in path:
            key = key.child(number)
        return key


class ExtendedPrivateKey(msgspec.Struct, frozen=True, dict=True):
    """A private key with the chain code from which its children follow. Its repr shows nothing."""

    secret: Secret
    chain_code: bytes
    depth: int = 0
    parent_fingerprint: bytes = bytes(4)
    child_number: int = 0
    is_mainnet: bool = True

    @cached_property
    def public(self) -> ExtendedPublicKey:
        """The extended public key of the same place."""
        return ExtendedPublicKey(
            Point.of_secret(self.secret).serialize(),
            self.chain_code,
            self.depth,
            self.parent_fingerprint,
            self.child_number,
            self.is_mainnet,
        )

    def reveal(self) -> str:
        """The key as text (xprv). Whoever has the text can spend."""
        version = XPRV if self.is_mainnet else TPRV
        return base58check_encode(_serialize(self, version, b"\x00" + self.secret.reveal()))

    def __repr__(self) -> str:
        return f"ExtendedPrivateKey({self.public})"

    def __str__(self) -> str:
        return repr(self)

    def child(self, number: int) -> ExtendedPrivateKey:
        """Any child, hardened or not; raises `ExtendedKeyError`."""
        if not 0 <= number < 2 * HARDENED:
            raise ExtendedKeyError("the child number", "it is not between 0 and 4294967295")
        _check_depth(self.depth)
        parent = b"\x00" + self.secret.reveal() if number >= HARDENED else self.public.public_key
        digest = hmac.digest(self.chain_code, parent + number.to_bytes(4, "big"), hashlib.sha512)
        secret = Secret(self.secret.reveal())
        try:
            add_to_secret(secret, Secret(digest[:32]))
        except CurveError:
            raise ExtendedKeyError(f"child {number}", "it does not exist; take the next one") from None
        return ExtendedPrivateKey(
            secret, digest[32:], self.depth + 1, self.public.fingerprint, number, self.is_mainnet
        )

    def derive(self, path: KeyPath) -> ExtendedPrivateKey:
        """The descendant at a path; raises `ExtendedKeyError`. The keys between are wiped."""
        key = self
        for number in path:
            child = key.child(number)
            if key is not self:
                key.secret.wipe()
            key = child
        return key


def _serialize(key: ExtendedPublicKey | ExtendedPrivateKey, version: bytes, data: bytes) -> bytes:
    head = version + bytes((key.depth,)) + key.parent_fingerprint + key.child_number.to_bytes(4, "big")
    return head + key.chain_code + data


def _check_depth(depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise ExtendedKeyError("the derivation path", f"no key lies deeper than {MAX_DEPTH}")


def master_key(seed: bytes, *, is_mainnet: bool = True) -> ExtendedPrivateKey:
    """The master key of a seed of 16 to 64 bytes (BIP32); raises `ExtendedKeyError`."""
    if not 16 <= len(seed) <= 64:
        raise ExtendedKeyError("the seed", f"it has {len(seed)} bytes, not 16 to 64")
    digest = hmac.digest(b"Bitcoin seed", seed, hashlib.sha512)
    secret = Secret(digest[:32])
    try:
        check_secret(secret)
    except CurveError:
        raise ExtendedKeyError("the seed", "it has no master key; draw another") from None
    return ExtendedPrivateKey(secret, digest[32:], is_mainnet=is_mainnet)


def parse_extended_key(text: str, *, slip132: bool = False) -> ExtendedPublicKey | ExtendedPrivateKey:
    """Read an xpub, xprv, tpub or tprv; raises `ExtendedKeyError`.

    With ``slip132`` also their variants ypub, zpub …, whose hint at a script type is dropped.
    """
    try:
        data = base58check_decode(text, _SIZE)
    except Base58Error as error:
        raise ExtendedKeyError("the extended key", str(error.args[1])) from None
    return read_extended_key(data, slip132=slip132)


def read_extended_key(data: bytes, *, slip132: bool = False) -> ExtendedPublicKey | ExtendedPrivateKey:
    """Read the 78 bytes of an extended key; raises `ExtendedKeyError`."""
    if len(data) != _SIZE:
        raise ExtendedKeyError("the extended key", f"it has {len(data)} bytes, not {_SIZE}")
    version = _SLIP132.get(data[:4], data[:4]) if slip132 else data[:4]
    depth, parent, number = data[4], data[5:9], int.from_bytes(data[9:13], "big")
    if depth == 0 and any(parent):
        raise ExtendedKeyError("the extended key", "a master key has no parent, but a fingerprint of one")
    if depth == 0 and number:
        raise ExtendedKeyError("the extended key", "a master key has no child number, but one is given")
    place = (data[13:45], depth, parent, number, version in (XPUB, XPRV))
    try:
        if version in (XPUB, TPUB):
            Point.parse(data[45:])
            return ExtendedPublicKey(data[45:], *place)
        if version in (XPRV, TPRV):
            return ExtendedPrivateKey(_read_secret(data[45:]), *place)
    except CurveError:
        raise ExtendedKeyError("the extended key", "the key in it is not one of its version") from None
    raise ExtendedKeyError("the extended key", f"its version {data[:4].hex()} is unknown")


def _read_secret(data: bytes) -> Secret:
    secret = Secret(data[1:])
    if data[0]:
        raise CurveError("the private key", "it does not begin with a zero byte")
    check_secret(secret)
    return secret


def parse_extended_public_key(text: str, *, slip132: bool = False) -> ExtendedPublicKey:
    """Read an xpub or tpub; raises `ExtendedKeyError`, also for a private one."""
    key = parse_extended_key(text, slip132=slip132)
    if isinstance(key, ExtendedPrivateKey):
        key.secret.wipe()
        raise ExtendedKeyError("the extended key", "it is a private one; give the public one")
    return key

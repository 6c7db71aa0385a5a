"""Private keys as text: the wallet import format (WIF)."""

from __future__ import annotations

from typing import Final

import msgspec

from anya_actors.domain.keys.base58 import Base58Error, base58check_decode, base58check_encode
from anya_actors.domain.keys.curve import CurveError, Point, check_secret
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import InvalidInputError

MAINNET_PREFIX: Final = 0x80
TESTNET_PREFIX: Final = 0xEF


class PrivateKeyError(InvalidInputError):
    """Text that is no private key. The error quotes nothing of it."""

    code = "invalid-private-key"
    message = "{} is not valid: {}"
    remedy = "Check that the whole key was copied, and that it is one of this network."


class PrivateKey(msgspec.Struct, frozen=True):
    """A private key, whether its public key is written compressed, and of which kind of network it is."""

    secret: Secret
    is_compressed: bool = True
    is_mainnet: bool = True

    def __repr__(self) -> str:
        return "PrivateKey(...)"

    def public_key(self) -> bytes:
        """33 or 65 bytes, as the key says."""
        point = Point.of_secret(self.secret)
        return point.serialize() if self.is_compressed else point.serialize_uncompressed()


def parse_wif(text: str) -> PrivateKey:
    """Read a private key of any network; raises `PrivateKeyError`."""
    try:
        data = bytearray(base58check_decode(text))
    except Base58Error as error:
        raise PrivateKeyError("the private key", str(error.args[1])) from None
    secret = Secret(data[1:33])
    is_compressed = len(data) == 34 and data[33] == 1
    if data[:1].hex() not in ("80", "ef") or not (len(data) == 33 or is_compressed):
        secret.wipe()
        raise PrivateKeyError("the private key", "neither its prefix nor its length is that of one")
    try:
        check_secret(secret)
    except CurveError:
        raise PrivateKeyError("the private key", "it is zero or not below the group order") from None
    return PrivateKey(secret, is_compressed, data[0] == MAINNET_PREFIX)


def format_wif(key: PrivateKey) -> str:
    """A private key as text. Whoever has the text can spend."""
    prefix = MAINNET_PREFIX if key.is_mainnet else TESTNET_PREFIX
    return base58check_encode(bytes((prefix,)) + key.secret.reveal() + b"\x01" * key.is_compressed)

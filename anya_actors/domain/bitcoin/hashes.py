"""The 32-byte names of things, each its own type, so that no two are ever mixed up.

They are ``bytes`` in the order of the wire and of hashing. People and JSON-RPC write them
reversed: that order exists only as the text that `Hash256.hex_reversed` makes and
`Hash256.from_hex` reads.
"""

from __future__ import annotations

import re
from typing import TypeVar

from anya_actors.domain.machine import InvalidInputError

H = TypeVar("H", bound="Hash256")

_HEX64 = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)


class HashError(InvalidInputError):
    """Text or bytes that are no 32-byte hash."""

    code = "invalid-hash"
    message = "{1!r} is not a {0}"
    remedy = "Give the 64 hexadecimal digits."


class Hash256(bytes):
    """32 bytes in wire order."""

    __slots__ = ()

    def __new__(cls: type[H], value: bytes) -> H:
        if len(value) != 32:
            raise HashError(cls.__name__, bytes(value).hex()[:80])
        return super().__new__(cls, value)

    @classmethod
    def from_hex(cls: type[H], text: str) -> H:
        """Read the reversed hexadecimal text that Core and explorers show."""
        if _HEX64.fullmatch(text) is None:
            raise HashError(cls.__name__, text[:80])
        return cls(bytes.fromhex(text)[::-1])

    def hex_reversed(self) -> str:
        """The reversed hexadecimal text that Core and explorers show."""
        return self[::-1].hex()

    def __str__(self) -> str:
        return self.hex_reversed()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.hex_reversed()})"

    def __reduce__(self) -> tuple[type[Hash256], tuple[bytes]]:
        return type(self), (bytes(self),)


class Txid(Hash256):
    """The hash of a transaction without its witnesses."""

    __slots__ = ()


class Wtxid(Hash256):
    """The hash of a transaction with its witnesses (BIP141)."""

    __slots__ = ()


class BlockHash(Hash256):
    """The hash of a block header."""

    __slots__ = ()

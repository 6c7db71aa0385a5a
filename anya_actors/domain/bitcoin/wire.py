"""Reading and writing Bitcoin's wire encoding: little-endian integers and compact sizes."""

from __future__ import annotations

import hashlib
import struct
from typing import Final

MAX_SIZE: Final = 0x02000000
"""The greatest count or length any message may claim (Bitcoin Core, ``serialize.h``)."""

_U16, _U32, _U64, _I64 = struct.Struct("<H"), struct.Struct("<I"), struct.Struct("<Q"), struct.Struct("<q")
_I32 = struct.Struct("<i")


class TruncatedError(ValueError):
    """The bytes ended too early or hold a number that no encoder writes; callers name the object."""


def sha256d(data: bytes) -> bytes:
    """SHA-256 applied twice, Bitcoin's hash of transactions and blocks."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def compact_size(value: int) -> bytes:
    """The shortest encoding of a count."""
    if value < 0xFD:
        return bytes((value,))
    if value <= 0xFFFF:
        return b"\xfd" + _U16.pack(value)
    if value <= 0xFFFFFFFF:
        return b"\xfe" + _U32.pack(value)
    return b"\xff" + _U64.pack(value)


def compact_size_at(data: bytes, at: int) -> tuple[int, int]:
    """The count that begins there, and where it ends; raises `TruncatedError` or ``IndexError``."""
    first = data[at]
    at += 1
    if first < 0xFD:
        return first, at
    width, least = ((2, 0xFD), (4, 0x10000), (8, 0x100000000))[first - 0xFD]
    end = at + width
    if end > len(data):
        raise IndexError
    value = int.from_bytes(data[at:end], "little")
    if value < least:
        raise TruncatedError("a count is not encoded in its shortest form")
    if value > MAX_SIZE:
        raise TruncatedError("a count is too great")
    return value, end


def prefixed(data: bytes) -> bytes:
    """The bytes behind their length."""
    return compact_size(len(data)) + data


class Reader:
    """A cursor over bytes. Every read past the end raises `TruncatedError`."""

    __slots__ = ("data", "offset")

    def __init__(self, data: bytes, offset: int = 0) -> None:
        self.data = data
        self.offset = offset

    @property
    def left(self) -> int:
        return len(self.data) - self.offset

    def take(self, size: int) -> bytes:
        end = self.offset + size
        if end > len(self.data):
            raise TruncatedError("it ends too early")
        piece = self.data[self.offset : end]
        self.offset = end
        return piece

    def since(self, start: int) -> bytes:
        """The bytes from ``start`` to the cursor."""
        return self.data[start : self.offset]

    def peek(self, size: int) -> bytes:
        return self.data[self.offset : self.offset + size]

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def i32(self) -> int:
        return int.from_bytes(self.take(4), "little", signed=True)

    def i64(self) -> int:
        return int.from_bytes(self.take(8), "little", signed=True)

    def compact_size(self) -> int:
        """A count; an encoding longer than needed, or an absurd count, is refused as in Core."""
        try:
            value, self.offset = compact_size_at(self.data, self.offset)
        except IndexError:
            raise TruncatedError("it ends too early") from None
        return value

    def prefixed(self) -> bytes:
        return self.take(self.compact_size())


def u32(value: int) -> bytes:
    return _U32.pack(value)


def i32(value: int) -> bytes:
    return _I32.pack(value)


def i64(value: int) -> bytes:
    return _I64.pack(value)

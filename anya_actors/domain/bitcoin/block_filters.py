"""Compact block filters (BIP158): which scripts a block may touch, in about 20 bits each.

A filter is a Golomb-coded set: each element is hashed to a number below ``count * M``, the
numbers are sorted, and their differences are written with ``P`` bits and a unary rest. The hash
is libsodium's SipHash-2-4, called below PyNaCl's own checks, and the bits are moved as text, so that
a block of thousands of scripts takes milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from nacl._sodium import ffi, lib  # type: ignore[import-not-found] # a compiled module

from anya_actors.domain.bitcoin.block import Block
from anya_actors.domain.bitcoin.script import OP_RETURN
from anya_actors.domain.bitcoin.wire import Reader, TruncatedError, compact_size, sha256d
from anya_actors.domain.machine import InvalidInputError

P: Final = 19
"""Bits of a difference that are written as they are (BIP158, basic filter)."""
M: Final = 784_931
"""One in so many foreign elements seems to be in the set (BIP158, basic filter)."""
KEY_SIZE: Final = 16


class MalformedFilterError(InvalidInputError):
    """Bytes that are not exactly one basic block filter."""

    code = "malformed-block-filter"
    message = "{} is not a basic block filter: {}"
    remedy = "Fetch the filter again, from another peer if it comes back."


class BlockFilter(msgspec.Struct, frozen=True, gc=False):
    """One block's filter and its header in the chain of filter headers (BIP157)."""

    filter: bytes
    header: bytes


def filter_key(block_hash: bytes) -> bytes:
    """The key of a block's filter: the first half of its hash as hashed."""
    return bytes(block_hash[:KEY_SIZE])


def filter_elements(block: Block, spent_scripts: Iterable[bytes]) -> set[bytes]:
    """What a basic filter holds: every script spent or paid to, but for data and nothing.

    ``spent_scripts`` are those of all outputs that the block's inputs spend, in any order.
    """
    elements = set(spent_scripts)
    for transaction in block.transactions:
        for output in transaction.outputs:
            if output.script_pubkey[:1] != _DATA:
                elements.add(output.script_pubkey)
    elements.discard(b"")
    return elements


_DATA: Final = bytes((OP_RETURN,))


def basic_filter(block: Block, spent_scripts: Iterable[bytes]) -> bytes:
    """The block's basic filter as BIP157 serialises it."""
    return encode_set(filter_elements(block, spent_scripts), filter_key(block.hash))


def filter_header(encoded: bytes, previous_header: bytes) -> bytes:
    """The header that commits to a filter and all before it; the first one follows 32 zeros."""
    return sha256d(sha256d(encoded) + previous_header)


def encode_set(elements: Iterable[bytes], key: bytes) -> bytes:
    """The Golomb-coded set of the distinct elements, behind their number."""
    distinct = set(elements)
    bits: list[str] = []
    last = 0
    for number in _numbers(distinct, key, len(distinct)):
        delta, last = number - last, number
        bits.append("1" * (delta >> P))
        bits.append(format(delta & _REST, _ZERO_AND_REST))
    text = "".join(bits)
    size = (len(text) + 7) // 8
    body = int(text.ljust(8 * size, "0"), 2).to_bytes(size, "big") if text else b""
    return compact_size(len(distinct)) + body


_REST: Final = (1 << P) - 1
_ZERO_AND_REST: Final = f"0{P + 1}b"


def decode_set(encoded: bytes) -> list[int]:
    """The numbers of a set, in their order; raises `MalformedFilterError` for any other bytes."""
    reader = Reader(encoded)
    try:
        count = reader.compact_size()
        body = reader.take(reader.left)
    except TruncatedError as error:
        raise MalformedFilterError("the data", str(error)) from error
    if count * (P + 1) > 8 * len(body):
        raise MalformedFilterError("the data", "it ends too early")
    text = format(int.from_bytes(body, "big"), f"0{8 * len(body)}b") if body else ""
    numbers, end = _read_numbers(text, count)
    if len(text) - end >= 8:
        raise MalformedFilterError("the data", "excess data follows it")
    if "1" in text[end:]:
        raise MalformedFilterError("the data", "the padding is not zero")
    return numbers


def _read_numbers(text: str, count: int) -> tuple[list[int], int]:
    numbers: list[int] = []
    number = at = 0
    for _ in range(count):
        zero = text.find("0", at)
        end = zero + 1 + P
        if zero < 0 or end > len(text):
            raise MalformedFilterError("the data", "it ends too early")
        number += (zero - at << P) + int(text[zero + 1 : end], 2)
        numbers.append(number)
        at = end
    return numbers, at


def matches_any(encoded: bytes, key: bytes, elements: Iterable[bytes]) -> bool:
    """Whether one of the elements seems to be in the set; raises `MalformedFilterError`.

    No is certain; yes is wrong once in `M` foreign elements.
    """
    held = decode_set(encoded)
    return not set(held).isdisjoint(_numbers(set(elements), key, len(held)))


def _numbers(elements: set[bytes], key: bytes, count: int) -> Sequence[int]:
    """The sorted number of each element; ``count`` is that of the set."""
    if len(key) != KEY_SIZE:
        raise ValueError("a key of a filter has 16 bytes")
    bound = count * M
    siphash, found = lib.crypto_shorthash_siphash24, ffi.new("unsigned char[8]")
    value = ffi.buffer(found)
    numbers = []
    for element in elements:
        siphash(found, element, len(element), key)
        numbers.append(int.from_bytes(value, "little") * bound >> 64)
    numbers.sort()
    return numbers

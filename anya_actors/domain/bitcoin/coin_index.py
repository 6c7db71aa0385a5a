"""The rows of the indexes of the active branch, and how a block changes them.

One ordered key space; the first byte names the kind::

    o txid index                -> amount, height, script [+ txid, input index, height of its spender]
    t txid                      -> block hash, place
    h scripthash height place   -> txid, indexes of the outputs that pay to the script
    f block hash                -> filter header, filter
    m                           -> the mark: which block these rows stand at, and totals

A spent output keeps its row: it is what a reorganisation restores and what explorers ask for.
Outputs that no one can ever spend are in no row but the filters. Numbers in keys are big-endian,
so that rows lie in the order of the chain.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from typing import Final

import msgspec

from anya_actors.domain.bitcoin.block_filters import BlockFilter
from anya_actors.domain.bitcoin.coin import Coin
from anya_actors.domain.bitcoin.hashes import BlockHash, Txid
from anya_actors.domain.bitcoin.transaction import Outpoint

VERSION: Final = 1
"""Of this layout. Rows of another version are thrown away and built anew from the blocks."""

MARK_KEY: Final = b"m"
OUTPUT, TRANSACTION, TOUCH, FILTER = b"o", b"t", b"h", b"f"

INDEX: Final = struct.Struct(">I")
OUTPUT_HEAD: Final = struct.Struct("<qIH")
"""Amount, height << 1 | is_coinbase, length of the script."""
SPENDER: Final = struct.Struct(">II")
"""Input index and height, behind the txid."""
PLACE: Final = struct.Struct(">II")
"""Height, and place in the block."""


class Touch(msgspec.Struct, frozen=True, gc=False):
    """A confirmed transaction that pays to a script or spends from it; ``place`` is that in its block."""

    txid: Txid
    height: int
    place: int


class Spend(msgspec.Struct, frozen=True, gc=False):
    """The input that spent an output."""

    txid: Txid
    input_index: int
    height: int


class Mark(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The block that the rows stand at, and totals of its unspent outputs."""

    version: int
    tip: bytes
    height: int
    coins: int = 0
    total_sat: int = 0
    bogo_size: int = 0


def scripthash(script_pubkey: bytes) -> bytes:
    """The name of a script in the indexes: its SHA-256 (Electrum shows it reversed, Esplora does not)."""
    return hashlib.sha256(script_pubkey).digest()


def output_key(outpoint: Outpoint) -> bytes:
    return OUTPUT + outpoint.txid + INDEX.pack(outpoint.index)


def decode_output(row: bytes) -> tuple[Coin, Spend | None]:
    """An output, and what spent it."""
    amount_sat, code, size = OUTPUT_HEAD.unpack_from(row)
    end = OUTPUT_HEAD.size + size
    coin = Coin(amount_sat, row[OUTPUT_HEAD.size : end], code >> 1, bool(code & 1))
    if len(row) == end:
        return coin, None
    input_index, height = SPENDER.unpack_from(row, end + 32)
    return coin, Spend(Txid(row[end : end + 32]), input_index, height)


def decode_outpoint(key: bytes) -> Outpoint:
    return Outpoint(Txid(key[1:33]), INDEX.unpack_from(key, 33)[0])


def decode_place(row: bytes) -> tuple[BlockHash, int]:
    """The block and the place in it of a transaction."""
    return BlockHash(row[:32]), INDEX.unpack_from(row, 32)[0]


def decode_touch(key: bytes, row: bytes) -> Touch:
    height, place = PLACE.unpack_from(key, 33)
    return Touch(Txid(row[:32]), height, place)


def funded_outputs(row: bytes) -> Iterator[bytes]:
    """The keys of the outputs that pay to the script of a touch."""
    prefix = OUTPUT + row[:32]
    for at in range(32, len(row), 4):
        yield prefix + row[at : at + 4]


def decode_filter(row: bytes) -> BlockFilter:
    return BlockFilter(row[32:], row[:32])

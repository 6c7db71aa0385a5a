"""How a block changes the rows of the indexes when it is connected, and when it is taken off.

A block of thousands of transactions comes by here while the engine judges it, so the loops below
work on the rows' bytes. Layout of the rows: ``coin_index``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from itertools import islice
from operator import itemgetter
from typing import Final, TypeAlias

import msgspec

from anya_actors.domain.bitcoin.block import Block
from anya_actors.domain.bitcoin.block_filters import basic_filter, filter_header
from anya_actors.domain.bitcoin.coin_index import (
    FILTER,
    INDEX,
    OUTPUT,
    OUTPUT_HEAD,
    PLACE,
    SPENDER,
    TOUCH,
    TRANSACTION,
    VERSION,
    Mark,
    decode_outpoint,
)
from anya_actors.domain.bitcoin.script import is_unspendable
from anya_actors.domain.machine import AnyaError

Row: TypeAlias = tuple[bytes, bytes]
ReadMany: TypeAlias = Callable[[Sequence[bytes]], Sequence[bytes | None]]

_HEAD_SIZE: Final = OUTPUT_HEAD.size
_BOGO_SIZE: Final = 50
"""What Core adds to a script's length for the size of a coin in no particular database."""


class IndexDamagedError(AnyaError):
    """The indexes do not fit the chain, or their database is broken."""

    code = "chain-index-damaged"
    message = "the indexes of the chain are damaged: {}"
    remedy = "Nothing is lost: the node builds them anew from its blocks when it starts again."

    def __init__(self, why: str) -> None:
        super().__init__(why)


class Changes(msgspec.Struct, frozen=True):
    """What one block does to the rows. ``puts`` and ``deletes`` are sorted by key."""

    mark: Mark
    puts: list[Row]
    deletes: list[bytes]


def genesis_changes(genesis: Block) -> Changes:
    """The rows that stand at the genesis block, whose output never enters the UTXO set."""
    return Changes(Mark(VERSION, bytes(genesis.hash), 0), [_filter_row(genesis, (), bytes(32))], [])


def connect_changes(block: Block, mark: Mark, read_many: ReadMany) -> Changes:
    """What a valid block on top of the mark does; ``read_many`` reads rows as they stand there.

    Raises `IndexDamagedError` if the block spends what the rows do not know as unspent.
    """
    height = mark.height + 1
    rows = _made(block, height)
    made = list(rows.values())
    spends = _spends(block)
    spent = _read_spent(rows, spends, read_many)
    if any(len(row) != _end_of_script(row) for row in spent):
        raise IndexDamagedError(f"block {block.hash} spends what is spent already")
    scripts = [row[_HEAD_SIZE:] for row in spent]
    puts = _touches(block, height, scripts)
    for transaction, keys in zip(block.transactions[1:], spends, strict=True):
        txid = bytes(transaction.txid)
        for index, key in enumerate(keys):
            rows[key] += txid + SPENDER.pack(index, height)
    puts += rows.items()
    puts.append(_filter_row(block, scripts, _header_before(block, read_many)))
    puts.sort(key=itemgetter(0))
    return Changes(_moved(mark, block.hash, height, made, spent), puts, [])


def disconnect_changes(block: Block, mark: Mark, read_many: ReadMany) -> Changes:
    """What taking off the block at the mark does; its filter stays.

    Raises `IndexDamagedError` if the rows do not know what the block did.
    """
    height = mark.height
    rows = _made(block, height)
    made = list(rows.values())
    deletes = list(rows)
    spends = _spends(block)
    spent = [row[: _end_of_script(row)] for row in _read_spent(rows, spends, read_many)]
    restored = dict(zip((key for keys in spends for key in keys), spent, strict=True))
    for key in deletes:
        restored.pop(key, None)
    scripts = [row[_HEAD_SIZE:] for row in spent]
    deletes += [key for key, _ in _touches(block, height, scripts)]
    moved = _moved(mark, block.header.previous, height - 1, spent, made)
    return Changes(moved, sorted(restored.items()), sorted(deletes))


def _made(block: Block, height: int) -> dict[bytes, bytes]:
    """The rows of the block's outputs, all unspent."""
    rows: dict[bytes, bytes] = {}
    code = height << 1 | 1
    for transaction in block.transactions:
        prefix = OUTPUT + transaction.txid
        for index, output in enumerate(transaction.outputs):
            script = output.script_pubkey
            if not is_unspendable(script):
                head = OUTPUT_HEAD.pack(output.amount_sat, code, len(script))
                rows[prefix + INDEX.pack(index)] = head + script
        code = height << 1
    return rows


def _spends(block: Block) -> list[list[bytes]]:
    """The keys of what each transaction but the coinbase spends."""
    return [
        [
            OUTPUT + tx_input.prevout.txid + INDEX.pack(tx_input.prevout.index)
            for tx_input in transaction.inputs
        ]
        for transaction in block.transactions[1:]
    ]


def _read_spent(
    rows: dict[bytes, bytes], spends: Sequence[Sequence[bytes]], read_many: ReadMany
) -> list[bytes]:
    """The row of every output that is spent, in the order of the inputs; those read are added to ``rows``."""
    outside = [key for keys in spends for key in keys if key not in rows]
    for key, row in zip(outside, read_many(outside), strict=True):
        if row is None:
            raise IndexDamagedError(f"output {decode_outpoint(key)} is not known")
        rows[key] = row
    return [rows[key] for keys in spends for key in keys]


def _end_of_script(row: bytes) -> int:
    return _HEAD_SIZE + int(OUTPUT_HEAD.unpack_from(row)[2])


def _touches(block: Block, height: int, spent_scripts: Sequence[bytes]) -> list[Row]:
    """The rows that say where each transaction is, and which scripts it touches, each once."""
    block_hash = bytes(block.hash)
    scripts = iter(spent_scripts)
    rows: list[Row] = []
    for place, transaction in enumerate(block.transactions):
        txid = bytes(transaction.txid)
        touched: dict[bytes, bytes] = {}
        if place:
            touched = dict.fromkeys(islice(scripts, len(transaction.inputs)), txid)
        for index, output in enumerate(transaction.outputs):
            script = output.script_pubkey
            if not is_unspendable(script):
                touched[script] = touched.get(script, txid) + INDEX.pack(index)
        position = PLACE.pack(height, place)
        rows.append((TRANSACTION + txid, block_hash + position[4:]))
        for script, row in touched.items():
            rows.append((TOUCH + hashlib.sha256(script).digest() + position, row))
    return rows


def _filter_row(block: Block, spent_scripts: Sequence[bytes], header_before: bytes) -> Row:
    encoded = basic_filter(block, spent_scripts)
    return FILTER + block.hash, filter_header(encoded, header_before) + encoded


def _header_before(block: Block, read_many: ReadMany) -> bytes:
    (row,) = read_many([FILTER + block.header.previous])
    if row is None:
        raise IndexDamagedError(f"the filter of block {block.header.previous} is missing")
    return row[:32]


def _moved(mark: Mark, tip: bytes, height: int, added: Sequence[bytes], removed: Sequence[bytes]) -> Mark:
    """The mark at another block, the outputs of these rows added and removed."""
    coins, total_sat, script_size = len(added) - len(removed), 0, 0
    for sign, rows in ((1, added), (-1, removed)):
        heads = [OUTPUT_HEAD.unpack_from(row) for row in rows]
        total_sat += sign * sum([head[0] for head in heads])
        script_size += sign * sum([head[2] for head in heads])
    return Mark(
        VERSION,
        bytes(tip),
        height,
        mark.coins + coins,
        mark.total_sat + total_sat,
        mark.bogo_size + _BOGO_SIZE * coins + script_size,
    )

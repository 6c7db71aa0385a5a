"""What Bitcoin Core publishes of a change of the chain: which messages, in which order.

Core (``zmq/zmqnotificationinterface.cpp``, ``doc/zmq.md``) tells of a block's transactions before
the block; of a new tip only once a reorganisation is over; hashes stand reversed, as people write
them.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from typing import Final

from anya_actors.domain.bitcoin.block import Block
from anya_actors.domain.bitcoin.hashes import Hash256, Txid
from anya_actors.domain.bitcoin.transaction import Transaction


class Topic(enum.Enum):
    """The first part of a message."""

    RAW_BLOCK = "rawblock"
    RAW_TX = "rawtx"
    HASH_BLOCK = "hashblock"
    HASH_TX = "hashtx"
    SEQUENCE = "sequence"


Publication = tuple[Topic, bytes]
"""Topic and body; the publisher adds the topic's counter."""

HIGH_WATER_MARK: Final = 1000
"""Messages kept for a subscriber that does not keep up; later ones are lost to it, as in Core."""

_CONNECTED: Final = b"C"
_DISCONNECTED: Final = b"D"
_ADDED: Final = b"A"
_REMOVED: Final = b"R"


def _shown(name: Hash256) -> bytes:
    return name[::-1]


def of_transaction(transaction: Transaction) -> Iterator[Publication]:
    """A transaction entered the mempool, or its block was connected or disconnected."""
    yield Topic.HASH_TX, _shown(transaction.txid)
    yield Topic.RAW_TX, transaction.serialize()


def of_chain_change(disconnected: Sequence[Block], connected: Sequence[Block]) -> Iterator[Publication]:
    """The active branch changed: highest block first, then lowest block first."""
    for blocks, label in ((disconnected, _DISCONNECTED), (connected, _CONNECTED)):
        for block in blocks:
            for transaction in block.transactions:
                yield from of_transaction(transaction)
            yield Topic.SEQUENCE, _shown(block.hash) + label
    if connected:
        yield Topic.HASH_BLOCK, _shown(connected[-1].hash)
        yield Topic.RAW_BLOCK, connected[-1].serialize()


def of_entry(transaction: Transaction, mempool_sequence: int) -> Iterator[Publication]:
    """A transaction entered the mempool."""
    yield from of_transaction(transaction)
    yield Topic.SEQUENCE, _shown(transaction.txid) + _ADDED + mempool_sequence.to_bytes(8, "little")


def of_removal(txid: Txid, mempool_sequence: int) -> Publication:
    """A transaction left the mempool for another reason than a block."""
    return Topic.SEQUENCE, _shown(txid) + _REMOVED + mempool_sequence.to_bytes(8, "little")

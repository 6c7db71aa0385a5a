"""What can be looked up in the active branch: coins, transactions, histories, spenders, filters.

Reading is synchronous: one row is found in microseconds, and between two awaits every answer
stands at one and the same block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from anya_actors.domain.bitcoin.block import Block
from anya_actors.domain.bitcoin.block_filters import BlockFilter
from anya_actors.domain.bitcoin.coin import Coin
from anya_actors.domain.bitcoin.coin_index import (
    FILTER,
    MARK_KEY,
    OUTPUT,
    TOUCH,
    TRANSACTION,
    VERSION,
    Mark,
    Spend,
    Touch,
    decode_filter,
    decode_outpoint,
    decode_output,
    decode_place,
    decode_touch,
    funded_outputs,
    output_key,
)
from anya_actors.domain.bitcoin.genesis import REGTEST_GENESIS
from anya_actors.domain.bitcoin.hashes import BlockHash, Txid
from anya_actors.domain.bitcoin.index_changes import (
    Changes,
    IndexDamagedError,
    connect_changes,
    disconnect_changes,
    genesis_changes,
)
from anya_actors.domain.bitcoin.transaction import Outpoint
from anya_actors.ports.chain_index import ChainIndexStore

_MARKS: Final = msgspec.msgpack.Decoder(Mark)


class PreparedChange(msgspec.Struct, frozen=True):
    """A block's connection or disconnection, worked out and not yet applied."""

    before: Mark
    after: Mark
    batch: Any


class ChainIndex:
    """The indexes of one chain. A change is prepared, in a thread maybe, and applied in an instant."""

    def __init__(self, store: ChainIndexStore) -> None:
        self._store = store
        self._mark = self._stored_mark() or self._begin()

    def _stored_mark(self) -> Mark | None:
        """Where the rows stand, if they are of this version."""
        found = self._store.get(MARK_KEY)
        if found is None:
            return None
        try:
            mark = _MARKS.decode(found)
        except msgspec.DecodeError:
            return None
        return mark if mark.version == VERSION else None

    def _begin(self) -> Mark:
        self._store.clear()
        changes = genesis_changes(REGTEST_GENESIS)
        self._store.write(self._batch(changes))
        return changes.mark

    def begin_anew(self) -> None:
        """Forget everything but the genesis block."""
        self._mark = self._begin()

    def close(self) -> None:
        self._store.close()

    # Reading

    @property
    def tip(self) -> BlockHash:
        """The block that all answers stand at."""
        return BlockHash(self._mark.tip)

    @property
    def height(self) -> int:
        return self._mark.height

    @property
    def coin_count(self) -> int:
        """How many unspent outputs there are."""
        return self._mark.coins

    @property
    def total_sat(self) -> int:
        """What they are worth together."""
        return self._mark.total_sat

    @property
    def bogo_size(self) -> int:
        """Core's measure of the size of all coins in no particular database."""
        return self._mark.bogo_size

    def coin(self, outpoint: Outpoint) -> Coin | None:
        """The unspent output of this name."""
        found = self._store.get(output_key(outpoint))
        if found is None:
            return None
        coin, spend = decode_output(found)
        return coin if spend is None else None

    def output(self, outpoint: Outpoint) -> Coin | None:
        """The output of a confirmed transaction, spent or not."""
        found = self._store.get(output_key(outpoint))
        return None if found is None else decode_output(found)[0]

    def spender(self, outpoint: Outpoint) -> Spend | None:
        """What spent an output of a confirmed transaction, if a confirmed transaction did."""
        found = self._store.get(output_key(outpoint))
        return None if found is None else decode_output(found)[1]

    def coins(self) -> Iterator[tuple[Outpoint, Coin]]:
        """Every unspent output, in the order of their names; long."""
        for key, row in self._store.scan(OUTPUT):
            coin, spend = decode_output(row)
            if spend is None:
                yield decode_outpoint(key), coin

    def transaction(self, txid: Txid) -> tuple[BlockHash, int] | None:
        """The block of a confirmed transaction and its place in it."""
        found = self._store.get(TRANSACTION + txid)
        return None if found is None else decode_place(found)

    def history(self, scripthash: bytes) -> Sequence[Touch]:
        """The confirmed transactions that pay to or spend from the script, oldest first, each once."""
        return [decode_touch(key, row) for key, row in self._store.scan(TOUCH + scripthash)]

    def unspent(self, scripthash: bytes) -> Sequence[tuple[Outpoint, Coin]]:
        """The script's unspent outputs, oldest first; takes time with the length of its history."""
        keys = [key for _, row in self._store.scan(TOUCH + scripthash) for key in funded_outputs(row)]
        found = []
        for key, row in zip(keys, self._store.get_many(keys), strict=True):
            if row is None:
                raise IndexDamagedError(f"output {decode_outpoint(key)} is missing")
            coin, spend = decode_output(row)
            if spend is None:
                found.append((decode_outpoint(key), coin))
        return found

    def block_filter(self, block_hash: BlockHash) -> BlockFilter | None:
        """The filter of a block that is or was active."""
        found = self._store.get(FILTER + block_hash)
        return None if found is None else decode_filter(found)

    def spent_by(self, block: Block) -> tuple[tuple[Coin, ...], ...]:
        """The coins that each transaction of an active block spent, its coinbase left out."""
        return tuple(
            tuple(self._spent(tx_input.prevout) for tx_input in transaction.inputs)
            for transaction in block.transactions[1:]
        )

    def _spent(self, outpoint: Outpoint) -> Coin:
        coin = self.output(outpoint)
        if coin is None:
            raise IndexDamagedError(f"output {outpoint} is missing")
        return coin

    # Changing

    def prepare_connect(self, block: Block) -> PreparedChange:
        """Work out what a block on top of the tip does; raises `IndexDamagedError`."""
        return self._prepared(connect_changes(block, self._mark, self._store.get_many))

    def prepare_disconnect(self, block: Block) -> PreparedChange:
        """Work out what taking off the topmost block does; raises `IndexDamagedError`."""
        return self._prepared(disconnect_changes(block, self._mark, self._store.get_many))

    def _prepared(self, changes: Changes) -> PreparedChange:
        return PreparedChange(self._mark, changes.mark, self._batch(changes))

    def _batch(self, changes: Changes) -> Any:
        # One batch holds the rows and the mark: after any crash they belong together.
        mark = (MARK_KEY, msgspec.msgpack.encode(changes.mark))
        return self._store.prepare([*changes.puts, mark], changes.deletes)

    def apply(self, change: PreparedChange) -> None:
        """Make a prepared change; the rows must stand where they stood when it was prepared."""
        if change.before is not self._mark:
            raise IndexDamagedError("a change was prepared at another block")
        self._store.write(change.batch)
        self._mark = change.after

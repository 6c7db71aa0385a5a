"""What is known about the active branch: its coins, transactions, scripts and block filters."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import msgspec

from anya_actors.domain.bitcoin.block import Block
from anya_actors.domain.bitcoin.block_filters import BlockFilter, basic_filter, filter_header
from anya_actors.domain.bitcoin.coin import Coin
from anya_actors.domain.bitcoin.genesis import REGTEST_GENESIS
from anya_actors.domain.bitcoin.hashes import BlockHash, Txid
from anya_actors.domain.bitcoin.script import is_unspendable
from anya_actors.domain.bitcoin.transaction import Outpoint


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


def scripthash(script_pubkey: bytes) -> bytes:
    """The name of a script in the indexes: its SHA-256 (Electrum shows it reversed, Esplora does not)."""
    return hashlib.sha256(script_pubkey).digest()


class CoinIndex:
    """Built from the blocks of the active branch, in their order; blocks have been validated.

    Outputs that no one can ever spend are in no index but the block filters.
    """

    def __init__(self) -> None:
        self._coins: dict[Outpoint, Coin] = {}
        self._unspent: dict[bytes, set[Outpoint]] = {}
        self._transactions: dict[Txid, tuple[BlockHash, int]] = {}
        self._history: dict[bytes, list[Touch]] = {}
        self._spenders: dict[Outpoint, Spend] = {}
        first = basic_filter(REGTEST_GENESIS, ())
        self._filters = {REGTEST_GENESIS.hash: BlockFilter(first, filter_header(first, bytes(32)))}
        self.total_sat = 0

    # Reading

    @property
    def coin_count(self) -> int:
        """How many unspent outputs there are."""
        return len(self._coins)

    def coin(self, outpoint: Outpoint) -> Coin | None:
        """The unspent output of this name."""
        return self._coins.get(outpoint)

    def coins(self) -> Iterator[tuple[Outpoint, Coin]]:
        """Every unspent output, in the order of their names."""
        for outpoint in sorted(self._coins):
            yield outpoint, self._coins[outpoint]

    def transaction(self, txid: Txid) -> tuple[BlockHash, int] | None:
        """The block of a confirmed transaction and its place in it."""
        return self._transactions.get(txid)

    def history(self, scripthash: bytes) -> Sequence[Touch]:
        """The confirmed transactions that pay to or spend from the script, oldest first, each once."""
        return tuple(self._history.get(scripthash, ()))

    def unspent(self, scripthash: bytes) -> Sequence[tuple[Outpoint, Coin]]:
        """The script's unspent outputs, oldest first."""
        found = [(outpoint, self._coins[outpoint]) for outpoint in self._unspent.get(scripthash, ())]
        return sorted(found, key=lambda item: (item[1].height, item[0]))

    def spender(self, outpoint: Outpoint) -> Spend | None:
        """What spent an output of a confirmed transaction, if a confirmed transaction did."""
        return self._spenders.get(outpoint)

    def block_filter(self, block_hash: BlockHash) -> BlockFilter | None:
        """The filter of a block that is or was active."""
        return self._filters.get(block_hash)

    # Changing

    def connect(self, block: Block, height: int) -> None:
        """Apply a block on top."""
        spent_scripts: list[bytes] = []
        for place, transaction in enumerate(block.transactions):
            txid = transaction.txid
            self._transactions[txid] = (block.hash, place)
            touched: set[bytes] = set()
            if place:
                for at, tx_input in enumerate(transaction.inputs):
                    coin = self._remove(tx_input.prevout)
                    self._spenders[tx_input.prevout] = Spend(txid, at, height)
                    spent_scripts.append(coin.script_pubkey)
                    touched.add(scripthash(coin.script_pubkey))
            for index, output in enumerate(transaction.outputs):
                if not is_unspendable(output.script_pubkey):
                    coin = Coin(output.amount_sat, output.script_pubkey, height, place == 0)
                    self._add(Outpoint(txid, index), coin)
                    touched.add(scripthash(output.script_pubkey))
            for found in touched:
                self._history.setdefault(found, []).append(Touch(txid, height, place))
        self._add_filter(block, spent_scripts)

    def _add_filter(self, block: Block, spent_scripts: Sequence[bytes]) -> None:
        encoded = basic_filter(block, spent_scripts)
        header = filter_header(encoded, self._filters[block.header.previous].header)
        self._filters[block.hash] = BlockFilter(encoded, header)

    def disconnect(self, block: Block, spent: Sequence[Sequence[Coin]]) -> None:
        """Undo the topmost block; ``spent`` are the coins of each transaction but the coinbase."""
        for place in range(len(block.transactions) - 1, -1, -1):
            transaction = block.transactions[place]
            touched: set[bytes] = set()
            for index, output in enumerate(transaction.outputs):
                if not is_unspendable(output.script_pubkey):
                    self._remove(Outpoint(transaction.txid, index))
                    touched.add(scripthash(output.script_pubkey))
            del self._transactions[transaction.txid]
            if place:
                for tx_input, coin in zip(transaction.inputs, spent[place - 1], strict=True):
                    self._add(tx_input.prevout, coin)
                    del self._spenders[tx_input.prevout]
                    touched.add(scripthash(coin.script_pubkey))
            for found in touched:
                self._forget_last_touch(found)

    def _forget_last_touch(self, found: bytes) -> None:
        touches = self._history[found]
        touches.pop()
        if not touches:
            del self._history[found]

    def _add(self, outpoint: Outpoint, coin: Coin) -> None:
        self._coins[outpoint] = coin
        self._unspent.setdefault(scripthash(coin.script_pubkey), set()).add(outpoint)
        self.total_sat += coin.amount_sat

    def _remove(self, outpoint: Outpoint) -> Coin:
        coin = self._coins.pop(outpoint)
        self.total_sat -= coin.amount_sat
        name = scripthash(coin.script_pubkey)
        outpoints = self._unspent[name]
        outpoints.discard(outpoint)
        if not outpoints:
            del self._unspent[name]
        return coin

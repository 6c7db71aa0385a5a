"""The unspent outputs of the active branch, and where its transactions and scripts are found."""

from __future__ import annotations

from collections.abc import Sequence

from anya_actors.domain.bitcoin.block import Block
from anya_actors.domain.bitcoin.coin import Coin
from anya_actors.domain.bitcoin.hashes import BlockHash, Txid
from anya_actors.domain.bitcoin.script import is_unspendable
from anya_actors.domain.bitcoin.transaction import Outpoint


class CoinIndex:
    """Built from the blocks of the active branch, in their order; blocks have been validated.

    ``coins`` is the UTXO set, ``by_script`` names the unspent outputs of each script, and
    ``transactions`` gives the block and the place in it of each transaction.
    """

    def __init__(self) -> None:
        self.coins: dict[Outpoint, Coin] = {}
        self.by_script: dict[bytes, set[Outpoint]] = {}
        self.transactions: dict[Txid, tuple[BlockHash, int]] = {}
        self.total_sat = 0

    def connect(self, block: Block, height: int) -> None:
        """Apply a block on top."""
        for place, transaction in enumerate(block.transactions):
            if place:
                for tx_input in transaction.inputs:
                    self._remove(tx_input.prevout)
            txid = transaction.txid
            self.transactions[txid] = (block.hash, place)
            for index, output in enumerate(transaction.outputs):
                if not is_unspendable(output.script_pubkey):
                    coin = Coin(output.amount_sat, output.script_pubkey, height, place == 0)
                    self._add(Outpoint(txid, index), coin)

    def disconnect(self, block: Block, spent: Sequence[Sequence[Coin]]) -> None:
        """Undo the topmost block; ``spent`` are the coins of each transaction but the coinbase."""
        for place in range(len(block.transactions) - 1, -1, -1):
            transaction = block.transactions[place]
            for index, output in enumerate(transaction.outputs):
                if not is_unspendable(output.script_pubkey):
                    self._remove(Outpoint(transaction.txid, index))
            del self.transactions[transaction.txid]
            if place:
                for tx_input, coin in zip(transaction.inputs, spent[place - 1], strict=True):
                    self._add(tx_input.prevout, coin)

    def _add(self, outpoint: Outpoint, coin: Coin) -> None:
        self.coins[outpoint] = coin
        self.by_script.setdefault(coin.script_pubkey, set()).add(outpoint)
        self.total_sat += coin.amount_sat

    def _remove(self, outpoint: Outpoint) -> None:
        coin = self.coins.pop(outpoint)
        self.total_sat -= coin.amount_sat
        outpoints = self.by_script[coin.script_pubkey]
        outpoints.discard(outpoint)
        if not outpoints:
            del self.by_script[coin.script_pubkey]

    def unspent_of(self, script_pubkey: bytes) -> list[tuple[Outpoint, Coin]]:
        """The unspent outputs of a script, oldest first."""
        found = [(outpoint, self.coins[outpoint]) for outpoint in self.by_script.get(script_pubkey, ())]
        return sorted(found, key=lambda item: (item[1].height, item[0]))

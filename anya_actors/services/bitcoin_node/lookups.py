"""Questions of explorers and wallets, answered from the node's indexes and its mempool.

Nothing here changes the node. What is read across an await may be of a block that meanwhile left the
active branch: then it is read again, so that an answer fits one state of the chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from anya_actors.domain.bitcoin.block_tree import BlockNode
from anya_actors.domain.bitcoin.coin import Coin
from anya_actors.domain.bitcoin.coin_index import Touch, scripthash
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.mempool import MempoolEntry
from anya_actors.domain.bitcoin.script_history import WaitingTouch, in_electrum_order
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxOutput
from anya_actors.domain.remembered import Remembered
from anya_actors.ports.consensus import EngineFailedError
from anya_actors.services.bitcoin_node.service import BitcoinNodeService

_REMEMBERED_BLOCKS: Final = 16
_REMEMBERED_SCRIPTS: Final = 1_000
_REMEMBERED_BYTES: Final = 8 << 20
"""Of serialised transactions; as objects they take several times that."""


@dataclass(frozen=True, slots=True)
class SeenTransaction:
    """A transaction with the outputs that it spends, and its block (None: it waits).

    ``spent`` has one item for each input, None where nothing is known of what it spends.
    """

    transaction: Transaction
    spent: tuple[TxOutput | None, ...]
    node: BlockNode | None = None

    @property
    def fee_sat(self) -> int | None:
        """What it pays; 0 for a coinbase, None where an input is unknown."""
        if self.transaction.is_coinbase:
            return 0
        known = [output.amount_sat for output in self.spent if output is not None]
        if len(known) != len(self.spent):
            return None
        return sum(known) - sum(output.amount_sat for output in self.transaction.outputs)


@dataclass(frozen=True, slots=True)
class Spender:
    """The input that spends an output, and its block (None: it waits)."""

    txid: Txid
    input_index: int
    node: BlockNode | None


@dataclass(frozen=True, slots=True)
class ScriptTotals:
    """What transactions did with a script."""

    transactions: int = 0
    funded: int = 0
    funded_sat: int = 0
    spent: int = 0
    spent_sat: int = 0

    def plus(self, seen: SeenTransaction, name: bytes) -> ScriptTotals:
        """With one more transaction; ``name`` is the scripthash."""
        paid = [out.amount_sat for out in seen.transaction.outputs if scripthash(out.script_pubkey) == name]
        taken = [
            out.amount_sat for out in seen.spent if out is not None and scripthash(out.script_pubkey) == name
        ]
        return ScriptTotals(
            self.transactions + 1,
            self.funded + len(paid),
            self.funded_sat + sum(paid),
            self.spent + len(taken),
            self.spent_sat + sum(taken),
        )


class Lookups:
    """Reads a running node."""

    def __init__(self, node: BitcoinNodeService) -> None:
        self._node = node
        self._spent: Remembered[BlockNode, tuple[tuple[Coin, ...], ...]] = Remembered(_REMEMBERED_BLOCKS)
        self._totals: Remembered[bytes, tuple[BlockNode, ScriptTotals]] = Remembered(_REMEMBERED_SCRIPTS)
        self._seen: Remembered[tuple[BlockNode, int], SeenTransaction] = Remembered(_REMEMBERED_BYTES)

    # Transactions

    async def transaction(self, txid: Txid) -> SeenTransaction | None:
        """A waiting or confirmed transaction."""
        while True:
            entry = self._node.pool.entries.get(txid)
            if entry is not None:
                return self.waiting_transaction(entry)
            found = self._node.chain.index.transaction(txid)
            if found is None:
                return None
            node, place = self._node.chain.tree.nodes[found[0]], found[1]
            seen = await self._one_in_block(node, place)
            if self._node.chain.tree.is_active(node):
                return seen

    def waiting_transaction(self, entry: MempoolEntry) -> SeenTransaction:
        """A transaction of the mempool."""
        return SeenTransaction(entry.transaction, entry.spent)

    async def _one_in_block(self, node: BlockNode, place: int) -> SeenTransaction:
        """One transaction of a block, remembered once it is known with all that it spends."""
        seen = self._seen.get((node, place))
        if seen is None:
            (seen,) = await self.in_block(node, place, 1)
            if seen.fee_sat is not None:
                self._seen.put((node, place), seen, len(seen.transaction.serialize()))
        return seen

    async def in_block(self, node: BlockNode, start: int, count: int) -> list[SeenTransaction]:
        """Some of a block's transactions, those from place ``start`` on."""
        block = await self._node.chain.read_block(node)
        coins = await self._spent_coins(node)
        seen = []
        for place in range(start, min(start + count, len(block.transactions))):
            transaction = block.transactions[place]
            spent: tuple[TxOutput | None, ...] = (None,) * len(transaction.inputs)
            if place and coins is not None:
                spent = tuple(coin.output for coin in coins[place - 1])
            seen.append(SeenTransaction(transaction, spent, node))
        return seen

    async def _spent_coins(self, node: BlockNode) -> tuple[tuple[Coin, ...], ...] | None:
        """The coins a block spent; None for a stale one whose inputs are not known."""
        if node.parent is None:
            return ()
        coins = self._spent.get(node)
        if coins is None:
            try:
                coins = await self._node.chain.spent_coins(node)
            except (KeyError, EngineFailedError):
                # Of a stale block the engine may know nothing, or be just about to be built anew.
                if self._node.chain.tree.is_active(node):
                    raise
                return None
            self._spent.put(node, coins, 1)
        return coins

    def spender(self, outpoint: Outpoint) -> Spender | None:
        """What spends an output, in a block or in the mempool."""
        spend = self._node.chain.index.spender(outpoint)
        if spend is not None:
            return Spender(spend.txid, spend.input_index, self._node.chain.tree.active[spend.height])
        txid = self._node.pool.spends.get(outpoint)
        if txid is None:
            return None
        inputs = self._node.pool.entries[txid].transaction.inputs
        at = next(at for at, tx_input in enumerate(inputs) if tx_input.prevout == outpoint)
        return Spender(txid, at, None)

    # Scripts

    def waiting(self, name: bytes) -> list[MempoolEntry]:
        """The waiting transactions that pay to a script or spend from it, oldest first."""
        pool = self._node.pool
        return [pool.entries[txid] for txid in pool.touching(name)]

    def waiting_touches(self, name: bytes) -> list[WaitingTouch]:
        """The same in the order and with the facts that Electrum wants."""
        pool = self._node.pool
        return in_electrum_order(
            WaitingTouch(entry.txid, entry.fee_sat, bool(pool.parents(entry.transaction)))
            for entry in self.waiting(name)
        )

    async def history(self, name: bytes, after: Txid | None, count: int) -> list[SeenTransaction]:
        """A page of a script's confirmed transactions, newest first, from behind ``after``."""
        tree = self._node.chain.tree
        while True:
            tip = tree.tip
            touches = self._node.chain.index.history(name)[::-1]
            if after is not None:
                place = next((at for at, touch in enumerate(touches) if touch.txid == after), len(touches))
                touches = touches[place + 1 :]
            found = await self._confirmed(touches[:count])
            if tree.is_active(tip):
                return found

    async def _confirmed(self, touches: Sequence[Touch]) -> list[SeenTransaction]:
        """The transactions of a history as of now; good only if the tip of now is still active after it."""
        nodes = [self._node.chain.tree.active[touch.height] for touch in touches]
        found = []
        for node, touch in zip(nodes, touches, strict=True):
            found.append(await self._one_in_block(node, touch.place))
        return found

    def unspent(self, name: bytes) -> list[tuple[Outpoint, TxOutput, BlockNode | None]]:
        """A script's outputs that nothing spends, not even what waits; confirmed ones first."""
        chain, pool = self._node.chain, self._node.pool
        found: list[tuple[Outpoint, TxOutput, BlockNode | None]] = [
            (outpoint, coin.output, chain.tree.active[coin.height])
            for outpoint, coin in chain.index.unspent(name)
            if outpoint not in pool.spends
        ]
        for entry in self.waiting(name):
            for index, output in enumerate(entry.transaction.outputs):
                outpoint = Outpoint(entry.txid, index)
                if scripthash(output.script_pubkey) == name and outpoint not in pool.spends:
                    found.append((outpoint, output, None))
        return found

    def balance(self, name: bytes) -> tuple[int, int]:
        """Satoshis confirmed, and what the waiting transactions would add or take."""
        confirmed = sum(coin.amount_sat for _, coin in self._node.chain.index.unspent(name))
        waiting = self.waiting_totals(name)
        return confirmed, waiting.funded_sat - waiting.spent_sat

    def waiting_totals(self, name: bytes) -> ScriptTotals:
        """What the waiting transactions do with a script."""
        totals = ScriptTotals()
        for entry in self.waiting(name):
            totals = totals.plus(self.waiting_transaction(entry), name)
        return totals

    async def confirmed_totals(self, name: bytes) -> ScriptTotals:
        """What the confirmed transactions did with a script. Reads only what came since it was last asked."""
        tree = self._node.chain.tree
        while True:
            tip = tree.tip
            seen_to, totals = self._totals.get(name) or (tree.active[0], ScriptTotals())
            if not tree.is_active(seen_to):
                seen_to, totals = tree.active[0], ScriptTotals()
            fresh = [t for t in self._node.chain.index.history(name) if t.height > seen_to.height]
            for seen in await self._confirmed(fresh):
                totals = totals.plus(seen, name)
            if tree.is_active(tip):
                break
        self._totals.put(name, (tip, totals), 1)
        return totals

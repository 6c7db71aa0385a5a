"""What happened to a wallet: its transactions, confirmed, waiting and given up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from anya_actors.domain.bitcoin.block_tree import BlockNode
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.mempool import Mempool
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxOutput
from anya_actors.services.bitcoin_node.chain import Chain
from anya_actors.services.bitcoin_node.wallets.wallet import Wallet

_REMEMBERED: Final = 50_000


@dataclass(frozen=True, slots=True)
class WalletTransaction:
    """A transaction that pays to or from a wallet.

    ``block`` None: it waits, or neither waits nor is confirmed (``conflict_height``: a block there
    holds another spender of its inputs).
    """

    transaction: Transaction
    block: BlockNode | None
    place: int
    entered_unix_ms: int | None
    conflict_height: int | None
    debits_sat: tuple[int | None, ...]
    """What each input took from the wallet, None if nothing."""

    @property
    def txid(self) -> Txid:
        return self.transaction.txid

    @property
    def is_waiting(self) -> bool:
        return self.block is None and self.entered_unix_ms is not None

    @property
    def debit_sat(self) -> int:
        return sum(amount or 0 for amount in self.debits_sat)

    @property
    def is_from_wallet(self) -> bool:
        return any(amount is not None for amount in self.debits_sat)

    @property
    def fee_sat(self) -> int | None:
        """What the wallet paid; None if not all inputs were its own."""
        if not self.debits_sat or any(amount is None for amount in self.debits_sat):
            return None
        return self.debit_sat - sum(output.amount_sat for output in self.transaction.outputs)


class Histories:
    """Reads wallets' transactions from the chain, the mempool and what they sent."""

    def __init__(self, chain: Chain, pool: Mempool) -> None:
        self._chain = chain
        self._pool = pool
        self._known: dict[Txid, Transaction] = {}

    async def of(self, wallet: Wallet) -> list[WalletTransaction]:
        """All transactions: confirmed ones in the chain's order, then waiting ones, then others."""
        found = await self._confirmed(wallet)
        confirmed = {item.txid for item in found}
        for entry in self._pool.entries.values():
            transaction = entry.transaction
            if self._touches(wallet, transaction):
                debits = self._debits(wallet, transaction)
                found.append(WalletTransaction(transaction, None, 0, entry.entered_unix_ms, None, debits))
        for txid, sent in wallet.sent.items():
            if txid not in confirmed and txid not in self._pool.entries:
                found.append(self._lost(wallet, sent.transaction))
        return found

    async def find(self, wallet: Wallet, txid: Txid) -> WalletTransaction | None:
        """One transaction of the wallet."""
        return next((item for item in await self.of(wallet) if item.txid == txid), None)

    async def _confirmed(self, wallet: Wallet) -> list[WalletTransaction]:
        touches = {
            touch.txid: touch
            for own in wallet.scripts.values()
            for touch in self._chain.index.history(own.name)
        }
        found = []
        for touch in sorted(touches.values(), key=lambda touch: (touch.height, touch.place)):
            if touch.height >= len(self._chain.tree.active):
                continue  # the chain changed while blocks were read
            node = self._chain.tree.active[touch.height]
            transaction = await self._transaction(touch.txid, node, touch.place)
            if transaction is not None:
                self._remember(transaction)
                found.append((transaction, node, touch.place))
        return [
            WalletTransaction(transaction, node, place, None, None, self._debits(wallet, transaction))
            for transaction, node, place in found
        ]

    async def _transaction(self, txid: Txid, node: BlockNode, place: int) -> Transaction | None:
        known = self._known.get(txid)
        if known is not None:
            return known
        block = await self._chain.read_block(node)
        found = block.transactions[place] if place < len(block.transactions) else None
        return found if found is not None and found.txid == txid else None

    async def find_transaction(self, txid: Txid) -> Transaction | None:
        """Any transaction that waits or is confirmed."""
        entry = self._pool.entries.get(txid)
        known = self._known.get(txid) if entry is None else entry.transaction
        if known is not None:
            return known
        place = self._chain.index.transaction(txid)
        if place is None:
            return None
        block = await self._chain.read_block(self._chain.tree.nodes[place[0]])
        return block.transactions[place[1]]

    async def previous(self, transaction: Transaction) -> dict[bytes, Transaction]:
        """The transactions whose outputs it spends, as far as they are known, by txid."""
        found: dict[bytes, Transaction] = {}
        for txid in dict.fromkeys(tx_input.prevout.txid for tx_input in transaction.inputs):
            parent = await self.find_transaction(txid)
            if parent is not None:
                found[bytes(txid)] = parent
        return found

    def _remember(self, transaction: Transaction) -> None:
        self._known[transaction.txid] = transaction
        while len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]

    def _lost(self, wallet: Wallet, transaction: Transaction) -> WalletTransaction:
        """One that was sent and is neither confirmed nor waiting."""
        spends = (self._chain.index.spender(tx_input.prevout) for tx_input in transaction.inputs)
        heights = [spend.height for spend in spends if spend is not None]
        debits = self._debits(wallet, transaction)
        return WalletTransaction(transaction, None, 0, None, min(heights, default=None), debits)

    def _touches(self, wallet: Wallet, transaction: Transaction) -> bool:
        if any(output.script_pubkey in wallet.scripts for output in transaction.outputs):
            return True
        return any(debit is not None for debit in self._debits(wallet, transaction))

    def _debits(self, wallet: Wallet, transaction: Transaction) -> tuple[int | None, ...]:
        outputs: Iterable[TxOutput | None] = (
            self.output(wallet, tx_input.prevout) for tx_input in transaction.inputs
        )
        return tuple(
            output.amount_sat if output is not None and output.script_pubkey in wallet.scripts else None
            for output in outputs
        )

    def output(self, wallet: Wallet, outpoint: Outpoint) -> TxOutput | None:
        """An output of any transaction of the wallet, spent or not."""
        known = self._known.get(outpoint.txid)
        if known is not None and outpoint.index < len(known.outputs):
            return known.outputs[outpoint.index]
        return wallet.output(outpoint)

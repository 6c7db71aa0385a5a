"""The mempool as a service: takes transactions durably and follows the chain."""

from __future__ import annotations

from collections.abc import Sequence

from anya_actors.domain.bitcoin.errors import RejectedTransactionError
from anya_actors.domain.bitcoin.mempool import MEMPOOL_EXPIRY_MS, Mempool, MempoolEntry
from anya_actors.domain.bitcoin.transaction import Transaction
from anya_actors.ports.clock import Clock
from anya_actors.services.bitcoin_node.acceptance import Acceptance, Terms
from anya_actors.services.bitcoin_node.chain import Chain, ChainChange
from anya_actors.services.bitcoin_node.journal import Journal, TransactionKept


class WaitingTransactions:
    """Transactions accepted and not yet in a block. Callers take turns."""

    def __init__(self, chain: Chain, journal: Journal, clock: Clock) -> None:
        self._chain = chain
        self._journal = journal
        self._clock = clock
        self.pool = Mempool()
        self.acceptance = Acceptance(chain, self.pool)

    async def restore(self, kept: Sequence[tuple[Transaction, int]]) -> None:
        """Take back what the journal holds and no block confirmed, with the times of its entry."""
        for transaction, entered_unix_ms in kept:
            if transaction.txid not in self._chain.index.transactions:
                await self._take_back(transaction, entered_unix_ms)

    async def judge(self, transaction: Transaction) -> MempoolEntry:
        """What entering would give; raises `RejectedTransactionError` and changes nothing."""
        return await self.acceptance.judge(transaction, Terms(self._clock.now_unix_ms()))

    async def enter(self, entry: MempoolEntry) -> None:
        """Take a judged transaction; durable when it returns."""
        kept = TransactionKept(entry.transaction.serialize(), entry.entered_unix_ms)
        await self._journal.append(kept)
        self.pool.add(entry)

    async def follow(self, change: ChainChange) -> None:
        """Drop what blocks confirmed or made impossible; take back what they gave up."""
        for block in change.connected:
            self.pool.remove_for_block(block.transactions[1:])
        if not change.disconnected:
            return
        waiting = self.pool.clear()
        now_unix_ms = self._clock.now_unix_ms()
        for block in reversed(change.disconnected):
            for transaction in block.transactions[1:]:
                if transaction.txid not in self._chain.index.transactions:
                    await self._take_back(transaction, now_unix_ms)
        for entry in waiting:
            await self._take_back(entry.transaction, entry.entered_unix_ms)

    async def _take_back(self, transaction: Transaction, entered_unix_ms: int) -> None:
        if entered_unix_ms + MEMPOOL_EXPIRY_MS < self._clock.now_unix_ms():
            return
        terms = Terms(entered_unix_ms, is_return=True)
        try:
            self.pool.add(await self.acceptance.judge(transaction, terms))
        except RejectedTransactionError:
            return  # the chain or another transaction took its place; Core drops it likewise

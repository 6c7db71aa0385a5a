"""The mempool as a service: takes transactions durably and follows the chain."""

from __future__ import annotations

from anya_actors.domain.bitcoin.errors import RejectedTransactionError
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.mempool import MEMPOOL_EXPIRY_MS, Mempool, MempoolEntry
from anya_actors.domain.bitcoin.transaction import Transaction, parse_transaction
from anya_actors.ports.clock import Clock
from anya_actors.services.bitcoin_node.acceptance import Acceptance, Terms
from anya_actors.services.bitcoin_node.chain import Chain, ChainChange
from anya_actors.services.bitcoin_node.journal import Journal, TransactionKept, TransactionsDropped


class WaitingTransactions:
    """Transactions accepted and not yet in a block. Callers take turns."""

    def __init__(self, chain: Chain, journal: Journal, clock: Clock) -> None:
        self._chain = chain
        self._journal = journal
        self._clock = clock
        self._noted: dict[Txid, tuple[Transaction, int]] = {}
        self.pool = Mempool()
        self.acceptance = Acceptance(chain, self.pool)

    def note(self, record: TransactionKept | TransactionsDropped) -> None:
        """Take a record found in the journal, before `restore`."""
        if isinstance(record, TransactionsDropped):
            for txid in record.txids:
                self._noted.pop(Txid(txid), None)
            return
        transaction = parse_transaction(record.raw)
        self._noted.setdefault(transaction.txid, (transaction, record.entered_unix_ms))

    async def restore(self) -> None:
        """Take back what was noted and no block confirmed, with the times of its entry."""
        noted, self._noted = self._noted, {}
        left = [found for txid, found in noted.items() if self._chain.index.transaction(txid) is None]
        # A parent that a reorganisation gave back was noted after its child: go round again.
        while left:
            still = [found for found in left if await self._take_back(*found) is None]
            if len(still) == len(left):
                return
            left = still

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
        with self._chain.whole():
            returned, dropped = await self._change_pool(change)
        await self._keep(returned, dropped)

    async def _change_pool(self, change: ChainChange) -> tuple[list[MempoolEntry], list[Txid]]:
        """What has come back, and what is gone unconfirmed."""
        dropped: list[Txid] = []
        for block in change.connected:
            dropped += [entry.txid for entry in self.pool.remove_for_block(block.transactions[1:])]
        returned: list[MempoolEntry] = []
        if change.disconnected:
            waiting = self.pool.clear()
            for transaction in self._given_up(change):
                entry = await self._take_back(transaction, self._clock.now_unix_ms())
                if entry is None:
                    dropped.append(transaction.txid)
                else:
                    returned.append(entry)
            for entry in waiting:
                if await self._take_back(entry.transaction, entry.entered_unix_ms) is None:
                    dropped.append(entry.txid)
        return returned, dropped

    def _given_up(self, change: ChainChange) -> list[Transaction]:
        """What disconnected blocks held and no connected one holds, the lowest block's first."""
        return [
            transaction
            for block in reversed(change.disconnected)
            for transaction in block.transactions[1:]
            if self._chain.index.transaction(transaction.txid) is None
        ]

    async def _keep(self, returned: list[MempoolEntry], dropped: list[Txid]) -> None:
        # So that after a crash the same transactions wait.
        records: list[TransactionKept | TransactionsDropped] = []
        if dropped:
            records.append(TransactionsDropped(tuple(bytes(txid) for txid in dropped)))
        records += [
            TransactionKept(entry.transaction.serialize(), entry.entered_unix_ms) for entry in returned
        ]
        if records:
            await self._journal.append(*records)

    async def _take_back(self, transaction: Transaction, entered_unix_ms: int) -> MempoolEntry | None:
        """The entry it has again, or None: the chain or another transaction took its place."""
        if entered_unix_ms + MEMPOOL_EXPIRY_MS < self._clock.now_unix_ms():
            return None
        terms = Terms(entered_unix_ms, is_return=True)
        try:
            entry = await self.acceptance.judge(transaction, terms)
        except RejectedTransactionError:
            return None
        self.pool.add(entry)
        return entry

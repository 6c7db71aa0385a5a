"""The mempool as a service: takes transactions durably, keeps its size, and follows the chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from anya_actors.domain.bitcoin.block import Block
from anya_actors.domain.bitcoin.errors import RejectedTransactionError
from anya_actors.domain.bitcoin.fee_estimator import FeeEstimator
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.mempool import (
    EntryAdded,
    EntryRemoved,
    Mempool,
    MempoolEntry,
    MempoolNotice,
    RemovalReason,
)
from anya_actors.domain.bitcoin.mempool_floor import FeerateFloor
from anya_actors.domain.bitcoin.mempool_policy import MempoolPolicy, feerate_of
from anya_actors.domain.bitcoin.oversized import too_many_for_their_cluster
from anya_actors.domain.bitcoin.transaction import WITNESS_SCALE, Outpoint, Transaction, parse_transaction
from anya_actors.ports.clock import Clock
from anya_actors.services.bitcoin_node.acceptance import Acceptance, Accepted, Terms
from anya_actors.services.bitcoin_node.chain import Chain, ChainChange
from anya_actors.services.bitcoin_node.journal import (
    Journal,
    TransactionKept,
    TransactionPrioritised,
    TransactionsDropped,
)

MEMPOOL_FULL: Final = "mempool full"
_RECENT_TIP_S: Final = 3 * 3600
"""On an older tip fees teach nothing: the node is behind."""

_Record = TransactionKept | TransactionsDropped | TransactionPrioritised


class WaitingTransactions:
    """Transactions accepted and not yet in a block. Callers take turns."""

    def __init__(self, chain: Chain, journal: Journal, clock: Clock, policy: MempoolPolicy) -> None:
        self._chain = chain
        self._journal = journal
        self._clock = clock
        self._noted: dict[Txid, tuple[Transaction, int]] = {}
        self._news: list[MempoolNotice] = []
        self.estimator = FeeEstimator()
        self._floor = FeerateFloor(policy.incremental_feerate_sat_per_kvb)
        self.policy = policy
        self.pool = Mempool()
        self.acceptance = Acceptance(chain, self.pool, policy)

    # Coming back after a stop

    def note(self, record: _Record) -> None:
        """Take a record found in the journal, before `restore`."""
        match record:
            case TransactionKept():
                transaction = parse_transaction(record.raw)
                self._noted.setdefault(transaction.txid, (transaction, record.entered_unix_ms))
            case TransactionsDropped():
                for txid in record.txids:
                    self._noted.pop(Txid(txid), None)
            case TransactionPrioritised():
                self.pool.prioritise(Txid(record.txid), record.delta_sat)

    async def restore(self) -> None:
        """Take back what was noted and no block confirmed, with the times of its entry."""
        noted, self._noted = self._noted, {}
        left = [found for txid, found in noted.items() if self._chain.index.transaction(txid) is None]
        # A parent that a reorganisation gave back was noted after its child: go round again.
        while left:
            still = [found for found in left if not await self._take_back(*found)]
            if len(still) == len(left):
                break
            left = still
        self._limit()
        self.pool.take_notices()

    async def _take_back(self, transaction: Transaction, entered_unix_ms: int) -> bool:
        terms = Terms(entered_unix_ms, is_return=True, is_restored=True)
        try:
            accepted = await self.acceptance.judge(transaction, terms)
        except RejectedTransactionError:
            return False
        self._apply(accepted)
        return True

    # Taking transactions

    def floor_sat_per_kvb(self) -> int:
        """The least feerate that a mempool which had to evict asks for; 0 if it did not."""
        now_s = self._clock.now_unix_ms() // 1000
        return self._floor.feerate_sat_per_kvb(now_s, self.pool.usage_bytes, self.policy.max_bytes)

    def terms(self, max_feerate_sat_per_kvb: int | None = None) -> Terms:
        """How one transaction is judged now."""
        return Terms(
            self._clock.now_unix_ms(),
            self.floor_sat_per_kvb(),
            max_feerate_sat_per_kvb=max_feerate_sat_per_kvb,
        )

    async def enter(self, accepted: Accepted, *, is_alone: bool = False) -> None:
        """Take what was judged, durably; what no longer fits stays until `limit`.

        ``is_alone``: it was not submitted in a package, so its fee says what the next block costs.
        """
        records: list[_Record] = []
        if accepted.replaced:
            records.append(TransactionsDropped(tuple(bytes(txid) for txid in sorted(accepted.replaced))))
        records += [_kept(candidate.entry) for candidate in accepted.candidates]
        await self._journal.append(*records)
        self._apply(accepted)
        self._collect()
        (*_, candidate) = accepted.candidates
        if is_alone and not candidate.parents and self._is_tip_recent():
            rate = feerate_of(candidate.entry.fee_sat, candidate.vsize)
            self.estimator.entered(candidate.txid, self._chain.tip.height, rate)

    def _is_tip_recent(self) -> bool:
        return self._chain.tip.header.time_s >= self._clock.now_unix_ms() // 1000 - _RECENT_TIP_S

    def _collect(self) -> tuple[MempoolNotice, ...]:
        """Note what changed in the pool, for subscribers and for the estimator."""
        fresh = self.pool.take_notices()
        self._news += fresh
        for notice in fresh:
            if isinstance(notice, EntryRemoved) and notice.reason is not RemovalReason.BLOCK:
                self.estimator.left(notice.entry.txid)
        return fresh

    def _apply(self, accepted: Accepted) -> None:
        self.pool.remove(accepted.replaced, RemovalReason.REPLACED)
        for candidate in accepted.candidates:
            self.pool.add(candidate.entry)

    async def limit(self) -> None:
        """Drop what is too old, then what pays least while the mempool is too large; durable."""
        gone = self._limit()
        self._collect()
        if gone:
            await self._journal.append(TransactionsDropped(tuple(bytes(txid) for txid in gone)))

    def _limit(self) -> list[Txid]:
        oldest_ms = self._clock.now_unix_ms() - self.policy.expiry_ms
        expired = self.pool.entered_before(oldest_ms)
        gone = self.pool.remove_with_descendants(expired, RemovalReason.EXPIRY)
        while self.pool.usage_bytes > self.policy.max_bytes:
            worst = self.pool.clusters.worst_chunk()
            if worst is None:
                break
            txids, total = worst
            vsize = (total.weight + WITNESS_SCALE - 1) // WITNESS_SCALE
            self._floor.evicted(feerate_of(total.fee_sat, vsize))
            gone += self.pool.remove(txids, RemovalReason.SIZE_LIMIT)
        return [entry.txid for entry in gone]

    async def prioritise(self, txid: Txid, delta_sat: int) -> None:
        """Count a transaction as paying more, or less; durable when it returns."""
        await self._journal.append(TransactionPrioritised(bytes(txid), delta_sat))
        self.pool.prioritise(txid, delta_sat)

    def take_news(self) -> tuple[MempoolNotice, ...]:
        """What entered and left since the last call, in order."""
        self._collect()
        news, self._news = tuple(self._news), []
        return news

    # Following the chain

    async def follow(self, change: ChainChange) -> None:
        """Drop what blocks confirmed or made impossible; take back what they gave up."""
        deltas_sat = dict(self.pool.deltas_sat)
        self._collect()
        with self._chain.whole():
            news = [notice for block in change.connected for notice in self._take_block(block)]
            lost = await self._take_back_from(change) if change.disconnected else []
        news += self._collect()
        await self._keep(news, lost, deltas_sat)

    def _take_block(self, block: Block) -> tuple[MempoolNotice, ...]:
        self.pool.remove_for_block(block.transactions[1:])
        self._floor.block_connected(self._clock.now_unix_ms() // 1000)
        news = self._collect()
        mined = [
            notice.entry.txid
            for notice in news
            if isinstance(notice, EntryRemoved) and notice.reason is RemovalReason.BLOCK
        ]
        self.estimator.block_connected(self._chain.tree.nodes[block.hash].height, mined)
        return news

    async def _take_back_from(self, change: ChainChange) -> list[Txid]:
        """What disconnected blocks held and did not come back."""
        given_up = self._given_up(change)
        for transaction in given_up:
            await self._take_from_block(transaction)
        self.pool.remove_with_descendants(
            too_many_for_their_cluster(self.pool, self.policy), RemovalReason.SIZE_LIMIT
        )
        self.pool.remove_with_descendants(self._impossible(), RemovalReason.REORG)
        self._limit()
        return [transaction.txid for transaction in given_up if transaction.txid not in self.pool]

    def _given_up(self, change: ChainChange) -> list[Transaction]:
        """What disconnected blocks held and no connected one holds, the lowest block's first."""
        return [
            transaction
            for block in reversed(change.disconnected)
            for transaction in block.transactions[1:]
            if self._chain.index.transaction(transaction.txid) is None
        ]

    async def _take_from_block(self, transaction: Transaction) -> None:
        try:
            terms = Terms(self._clock.now_unix_ms(), is_return=True)
            self._apply(await self.acceptance.judge(transaction, terms))
        except RejectedTransactionError:
            # What spends from it has lost its inputs.
            outpoints = (Outpoint(transaction.txid, index) for index in range(len(transaction.outputs)))
            spenders = {self.pool.spends[outpoint] for outpoint in outpoints if outpoint in self.pool.spends}
            self.pool.remove_with_descendants(spenders, RemovalReason.REORG)

    def _impossible(self) -> list[Txid]:
        """What the next block may not hold: lock times not reached, coinbases not mature, coins gone."""
        return [txid for txid, entry in self.pool.entries.items() if not self._is_possible(entry)]

    def _is_possible(self, entry: MempoolEntry) -> bool:
        transaction = entry.transaction
        if not self.acceptance.is_final(transaction):
            return False
        coins = [self.acceptance.coin(tx_input.prevout) for tx_input in transaction.inputs]
        found = [coin for coin in coins if coin is not None]
        height = self._chain.tip.height + 1
        if len(found) < len(coins) or not all(coin.is_mature_at(height) for coin in found):
            return False
        try:
            self.acceptance.verify_sequence_locks(transaction, found)
        except RejectedTransactionError:
            return False
        return True

    async def _keep(
        self, news: Sequence[MempoolNotice], lost: Sequence[Txid], deltas_sat: dict[Txid, int]
    ) -> None:
        # So that after a crash the same transactions wait, with the same priorities.
        left = {
            notice.entry.txid: None
            for notice in news
            if isinstance(notice, EntryRemoved) and notice.reason is not RemovalReason.BLOCK
        }
        dropped = [txid for txid in (*left, *lost) if txid not in self.pool]
        records: list[_Record] = []
        if dropped:
            records.append(TransactionsDropped(tuple(bytes(txid) for txid in dict.fromkeys(dropped))))
        for notice in news:
            if isinstance(notice, EntryAdded) and notice.entry.txid in self.pool:
                records.append(_kept(notice.entry))
        records += [
            TransactionPrioritised(bytes(txid), -delta_sat)
            for txid, delta_sat in deltas_sat.items()
            if txid not in self.pool.deltas_sat
        ]
        if records:
            await self._journal.append(*records)


def _kept(entry: MempoolEntry) -> TransactionKept:
    return TransactionKept(entry.transaction.serialize(), entry.entered_unix_ms)

"""Transactions that wait for a block, with who spends whom, in clusters of related ones.

The rules of what may enter are in ``mempool_policy`` and its neighbours. Clusters and their
chunks are Bitcoin Core 31's: a cluster is everything that is connected by spending; its chunks
say in which order, and at which feerate, its transactions are mined or evicted.
"""

from __future__ import annotations

import enum
import hashlib
import heapq
from collections.abc import Collection, Iterable
from typing import Final

import msgspec

from anya_actors.domain.bitcoin.clusters import Clusters
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.linearization import FeeAndWeight
from anya_actors.domain.bitcoin.transaction import WITNESS_SCALE, Outpoint, Transaction, TxOutput

MEMPOOL_EXPIRY_MS: Final = 336 * 3600 * 1000
BYTES_PER_SIGOP: Final = 20
"""A signature operation counts as at least so many virtual bytes."""
_MOST_DELTA_SAT: Final = (1 << 63) - 1

# Measured with tracemalloc (benchmarks/bitcoin/bench_mempool.py), rounded up.
_BYTES_OF_ENTRY, _BYTES_OF_INPUT, _BYTES_OF_OUTPUT = 1_500, 600, 330


class RemovalReason(enum.Enum):
    """Why a transaction left, by Core's names."""

    EXPIRY = "expiry"
    SIZE_LIMIT = "sizelimit"
    REORG = "reorg"
    BLOCK = "block"
    CONFLICT = "conflict"
    REPLACED = "replaced"


class MempoolEntry(msgspec.Struct, frozen=True):
    """One waiting transaction. ``height`` is that of the tip when it came, ``spent`` in its inputs' order."""

    transaction: Transaction
    fee_sat: int
    entered_unix_ms: int
    height: int
    sigops_cost: int = 0
    spent: tuple[TxOutput, ...] = ()
    spends_coinbase: bool = False

    @property
    def txid(self) -> Txid:
        return self.transaction.txid

    @property
    def adjusted_weight(self) -> int:
        """The weight, or more for a transaction that checks unusually many signatures."""
        return max(self.transaction.weight, self.sigops_cost * BYTES_PER_SIGOP)

    @property
    def vsize(self) -> int:
        """Virtual bytes, adjusted for signature operations."""
        return (self.adjusted_weight + WITNESS_SCALE - 1) // WITNESS_SCALE

    @property
    def usage_bytes(self) -> int:
        """About how much memory it takes here."""
        size = 2 * len(self.transaction.serialize())
        size += len(self.transaction.inputs) * _BYTES_OF_INPUT
        return size + len(self.transaction.outputs) * _BYTES_OF_OUTPUT + _BYTES_OF_ENTRY

    def scripthashes(self) -> set[bytes]:
        """SHA-256 of each script that it spends from or pays to."""
        scripts = {output.script_pubkey for output in (*self.spent, *self.transaction.outputs)}
        return {hashlib.sha256(script).digest() for script in scripts}


class EntryAdded(msgspec.Struct, frozen=True):
    """A transaction entered; ``sequence`` numbers all changes of the mempool."""

    entry: MempoolEntry
    sequence: int


class EntryRemoved(msgspec.Struct, frozen=True):
    """A transaction left."""

    entry: MempoolEntry
    reason: RemovalReason
    sequence: int


MempoolNotice = EntryAdded | EntryRemoved


class Mempool:
    """A set of transactions without conflicts, whose every input is a coin or an output in it."""

    def __init__(self) -> None:
        self.entries: dict[Txid, MempoolEntry] = {}
        """By txid, parents before their children."""
        self.spends: dict[Outpoint, Txid] = {}
        self.deltas_sat: dict[Txid, int] = {}
        """What a person added to the fees of transactions, waiting or not, for their priority."""
        self.clusters: Clusters[Txid] = Clusters()
        self._touching: dict[bytes, dict[Txid, None]] = {}
        self._notices: list[MempoolNotice] = []
        self._by_age: list[tuple[int, Txid]] = []
        self.total_vsize = 0
        self.total_fee_sat = 0
        self.usage_bytes = 0
        self.sequence = 1

    def __contains__(self, txid: Txid) -> bool:
        return txid in self.entries

    def __len__(self) -> int:
        return len(self.entries)

    # Reading

    def output(self, outpoint: Outpoint) -> TxOutput | None:
        """The output of a waiting transaction, spent or not."""
        entry = self.entries.get(outpoint.txid)
        if entry is None or outpoint.index >= len(entry.transaction.outputs):
            return None
        return entry.transaction.outputs[outpoint.index]

    def touching(self, scripthash: bytes) -> list[Txid]:
        """The waiting transactions that fund or spend a script, in the order they came.

        ``scripthash`` is the SHA-256 of the script, its bytes in natural order.
        """
        return list(self._touching.get(scripthash, ()))

    def modified_fee_sat(self, entry: MempoolEntry) -> int:
        """Its fee with the change of its priority."""
        return entry.fee_sat + self.deltas_sat.get(entry.txid, 0)

    def fee_and_weight(self, entry: MempoolEntry) -> FeeAndWeight:
        """What counts for its place among others."""
        return FeeAndWeight(self.modified_fee_sat(entry), entry.adjusted_weight)

    def conflicts(self, transaction: Transaction) -> list[Txid]:
        """Waiting transactions that spend what this one spends."""
        found = {self.spends.get(tx_input.prevout) for tx_input in transaction.inputs}
        return sorted(txid for txid in found if txid is not None and txid != transaction.txid)

    def parents(self, transaction: Transaction) -> set[Txid]:
        """The waiting transactions whose outputs this one spends."""
        return {
            tx_input.prevout.txid for tx_input in transaction.inputs if tx_input.prevout.txid in self.entries
        }

    def children(self, txid: Txid) -> set[Txid]:
        return set(self.clusters.children(txid))

    def ancestors(self, transaction: Transaction) -> set[Txid]:
        """All waiting transactions it depends on, itself left out."""
        return self.clusters.ancestors(self.parents(transaction))

    def descendants(self, txid: Txid) -> set[Txid]:
        """All waiting transactions that depend on it, itself left out."""
        return self.clusters.descendants([txid]) - {txid}

    def with_descendants(self, txids: Iterable[Txid]) -> set[Txid]:
        """These and all waiting transactions that depend on them."""
        return self.clusters.descendants(txids)

    def entered_before(self, unix_ms: int) -> list[Txid]:
        """Those that came before a time."""
        found = []
        while self._by_age and self._by_age[0][0] < unix_ms:
            age = heapq.heappop(self._by_age)
            entry = self.entries.get(age[1])
            if entry is not None and entry.entered_unix_ms == age[0]:
                found.append(age)
        for age in found:
            heapq.heappush(self._by_age, age)
        return [txid for _, txid in found]

    # Changing

    def take_notices(self) -> tuple[MempoolNotice, ...]:
        """What changed since the last call, in order."""
        notices, self._notices = tuple(self._notices), []
        return notices

    def _next_sequence(self) -> int:
        self.sequence += 1
        return self.sequence - 1

    def add(self, entry: MempoolEntry) -> None:
        """Take a transaction that has been found acceptable; those who spend from it may be there."""
        txid = entry.txid
        self.entries[txid] = entry
        for tx_input in entry.transaction.inputs:
            self.spends[tx_input.prevout] = txid
        for name in entry.scripthashes():
            self._touching.setdefault(name, {})[txid] = None
        outputs = range(len(entry.transaction.outputs))
        spenders = {self.spends.get(Outpoint(txid, index)) for index in outputs}
        children = [child for child in spenders if child is not None]
        self.clusters.add(txid, self.fee_and_weight(entry), self.parents(entry.transaction), children)
        for later in self.clusters.in_order(self.clusters.descendants(children)):
            self.entries[later] = self.entries.pop(later)  # parents stand before their children
        self.total_vsize += entry.vsize
        self.total_fee_sat += entry.fee_sat
        self.usage_bytes += entry.usage_bytes
        heapq.heappush(self._by_age, (entry.entered_unix_ms, txid))
        self._notices.append(EntryAdded(entry, self._next_sequence()))

    def remove(self, txids: Collection[Txid], reason: RemovalReason) -> list[MempoolEntry]:
        """Drop exactly these; the caller sees to their descendants. Those dropped, parents first."""
        gone = self.in_order(txids)
        for entry in gone:
            self._forget(entry, reason)
        self.clusters.remove([entry.txid for entry in gone])
        return gone

    def in_order(self, txids: Collection[Txid]) -> list[MempoolEntry]:
        """Their entries, parents before children."""
        if len(txids) == 1:
            return [self.entries[txid] for txid in txids]
        return [self.entries[txid] for txid in self.clusters.in_order(txids)]

    def _forget(self, entry: MempoolEntry, reason: RemovalReason) -> None:
        txid = entry.txid
        del self.entries[txid]
        for tx_input in entry.transaction.inputs:
            del self.spends[tx_input.prevout]
        for name in entry.scripthashes():
            touching = self._touching[name]
            del touching[txid]
            if not touching:
                del self._touching[name]
        self.total_vsize -= entry.vsize
        self.total_fee_sat -= entry.fee_sat
        self.usage_bytes -= entry.usage_bytes
        self._notices.append(EntryRemoved(entry, reason, self._next_sequence()))

    def remove_with_descendants(self, txids: Iterable[Txid], reason: RemovalReason) -> list[MempoolEntry]:
        """Drop these and all that depend on them; those dropped, parents first."""
        return self.remove(self.with_descendants(txids), reason)

    def remove_for_block(self, transactions: Iterable[Transaction]) -> list[MempoolEntry]:
        """Drop what a block confirmed; drop and return whatever conflicts with it."""
        conflicting: list[MempoolEntry] = []
        if not self.entries and not self.deltas_sat:
            return conflicting
        for transaction in transactions:
            if transaction.txid in self.entries:
                self.remove([transaction.txid], RemovalReason.BLOCK)
            rivals = self.conflicts(transaction)
            for rival in rivals:
                self.deltas_sat.pop(rival, None)
            if rivals:
                conflicting += self.remove_with_descendants(rivals, RemovalReason.CONFLICT)
            self.deltas_sat.pop(transaction.txid, None)
        return conflicting

    def prioritise(self, txid: Txid, delta_sat: int) -> None:
        """Count a transaction as if it paid this much more, or less; repeated calls add up.

        As in Core the sum stays within 64 bits: what the journal can hold.
        """
        sum_sat = delta_sat + self.deltas_sat.pop(txid, 0)
        delta_sat = max(-_MOST_DELTA_SAT, min(sum_sat, _MOST_DELTA_SAT))
        if delta_sat:
            self.deltas_sat[txid] = delta_sat
        entry = self.entries.get(txid)
        if entry is not None:
            self.clusters.reprice(txid, self.fee_and_weight(entry))

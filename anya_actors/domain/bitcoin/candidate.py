"""A transaction on its way into the mempool, and what its coming would do there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from anya_actors.domain.bitcoin.hashes import Txid, Wtxid
from anya_actors.domain.bitcoin.linearization import Chunk, FeeAndWeight, total_of
from anya_actors.domain.bitcoin.mempool import Mempool, MempoolEntry
from anya_actors.domain.bitcoin.mempool_policy import MempoolPolicy
from anya_actors.domain.bitcoin.transaction import Transaction


@dataclass(slots=True)
class Candidate:
    """An entry to be, its waiting parents, and the waiting transactions that would have to go.

    ``conflicts`` spend what it spends, or are the sibling that it evicts (BIP431).
    """

    entry: MempoolEntry
    modified_fee_sat: int
    parents: set[Txid]
    conflicts: set[Txid] = field(default_factory=set)
    evicts_sibling: bool = False

    @property
    def transaction(self) -> Transaction:
        return self.entry.transaction

    @property
    def txid(self) -> Txid:
        return self.entry.txid

    @property
    def wtxid(self) -> Wtxid:
        return self.entry.transaction.wtxid

    @property
    def vsize(self) -> int:
        return self.entry.vsize


def name_of(transaction: Transaction) -> str:
    """How reject messages name a transaction."""
    return f"{transaction.txid} (wtxid={transaction.wtxid})"


class Change:
    """What the pool's clusters would be with these candidates in it and those transactions gone."""

    def __init__(self, pool: Mempool, candidates: Sequence[Candidate], removed: Iterable[Txid] = ()) -> None:
        self._pool = pool
        self._clusters = pool.clusters
        self._removed = set(removed)
        self._items = {
            found.txid: FeeAndWeight(found.modified_fee_sat, found.entry.adjusted_weight)
            for found in candidates
        }
        self._parents = {found.txid: self._parents_of(found) for found in candidates}
        self._before = self._touched()
        self._after = self._parts()

    def _parents_of(self, candidate: Candidate) -> set[Txid]:
        spent = {tx_input.prevout.txid for tx_input in candidate.transaction.inputs}
        return {txid for txid in spent if txid in self._items or txid in self._pool.entries} - self._removed

    def _touched(self) -> list[set[Txid]]:
        """The clusters that lose or gain a member."""
        known = self._removed.union(*self._parents.values()) & self._pool.entries.keys()
        found = {id(self._clusters.cluster(txid)): self._clusters.cluster(txid) for txid in known}
        return [cluster.members for cluster in found.values()]

    def _parts(self) -> list[set[Txid]]:
        members = set(self._items).union(*self._before) - self._removed
        return self._clusters.connected(members, self._parents)

    def exceeds(self, policy: MempoolPolicy) -> bool:
        """Whether a cluster would be larger than allowed."""
        return any(
            len(part) > policy.max_cluster_count or self._weight(part) > policy.max_cluster_weight
            for part in self._after
        )

    def _weight(self, part: set[Txid]) -> int:
        waiting = (self._pool.entries[txid].adjusted_weight for txid in part if txid not in self._items)
        return sum(waiting) + total_of(self._items[txid] for txid in part if txid in self._items).weight

    def chunks_before(self) -> list[FeeAndWeight]:
        """The chunks of the clusters concerned as they are."""
        return [chunk.total for part in self._before for chunk in self._cut(part)]

    def chunks_after(self) -> list[FeeAndWeight]:
        """The chunks of what would become of them."""
        return [chunk.total for part in self._after for chunk in self._cut(part)]

    def _cut(self, part: set[Txid]) -> tuple[Chunk[Txid], ...]:
        fresh = {txid: item for txid, item in self._items.items() if txid in part}
        if not fresh and part == self._clusters.cluster(next(iter(part))).members:
            return self._clusters.chunks(self._clusters.cluster(next(iter(part))))
        return self._clusters.chunks_of(part - fresh.keys(), fresh, self._parents)

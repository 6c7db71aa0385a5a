"""Clusters that grew too large when blocks gave transactions back, and what has to go from them."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.mempool import Mempool
from anya_actors.domain.bitcoin.mempool_policy import MempoolPolicy


def too_many_for_their_cluster(pool: Mempool, policy: MempoolPolicy) -> list[Txid]:
    """Which transactions to drop so that no cluster is too large; their descendants go with them.

    The better paying stay: each is kept, parents first, unless it would join too many.
    """
    found: list[Txid] = []
    for cluster in pool.clusters.all():
        weight = sum(pool.entries[txid].adjusted_weight for txid in cluster.members)
        if len(cluster) > policy.max_cluster_count or weight > policy.max_cluster_weight:
            found += _to_drop(pool, cluster.members, policy)
    return found


def _to_drop(pool: Mempool, members: set[Txid], policy: MempoolPolicy) -> list[Txid]:
    groups: dict[Txid, list[Txid]] = {}
    for txid in _best_paying_first(pool, members):
        parents = pool.clusters.parents(txid)
        if any(parent not in groups for parent in parents):
            continue
        joined = {id(groups[parent]): groups[parent] for parent in parents}
        group = [txid, *(member for part in joined.values() for member in part)]
        weight = sum(pool.entries[member].adjusted_weight for member in group)
        if len(group) <= policy.max_cluster_count and weight <= policy.max_cluster_weight:
            for member in group:
                groups[member] = group
    return [txid for txid in members if txid not in groups]


def _best_paying_first(pool: Mempool, members: set[Txid]) -> Iterator[Txid]:
    """Members by their own feerate, each after its parents."""
    missing = {txid: len(pool.clusters.parents(txid)) for txid in members}
    ahead = [_ranked(pool, txid) for txid, count in missing.items() if not count]
    heapq.heapify(ahead)
    while ahead:
        _, txid = heapq.heappop(ahead)
        yield txid
        for child in pool.clusters.children(txid):
            missing[child] -= 1
            if not missing[child]:
                heapq.heappush(ahead, _ranked(pool, child))


def _ranked(pool: Mempool, txid: Txid) -> tuple[int, Txid]:
    return -pool.fee_and_weight(pool.entries[txid]).rank, txid

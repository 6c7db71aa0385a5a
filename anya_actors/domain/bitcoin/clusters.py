"""Related transactions in clusters, each cut into chunks when somebody asks for them."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, Generic, TypeVar

from anya_actors.domain.bitcoin.linearization import Chunk, FeeAndWeight, linearize, total_of

K = TypeVar("K")

_STALE: Final = 4
"""How many outdated ranks there may be for each current one before all are ranked anew."""


class Cluster(Generic[K]):
    """A maximal set of related members. ``serial`` is younger for every change."""

    def __init__(self, members: set[K], serial: int) -> None:
        self.members = members
        self.serial = serial
        self.is_alive = True
        self.cut: tuple[Chunk[K], ...] | None = None

    def __len__(self) -> int:
        return len(self.members)


class Clusters(Generic[K]):
    """Members with what they pay and weigh, who descends from whom, and the clusters they form."""

    def __init__(self) -> None:
        self._items: dict[K, FeeAndWeight] = {}
        self._parents: dict[K, set[K]] = {}
        self._children: dict[K, set[K]] = {}
        self._cluster_of: dict[K, Cluster[K]] = {}
        self._serials = itertools.count()
        self._worst: list[tuple[int, int, Cluster[K]]] | None = None

    # Reading

    def parents(self, member: K) -> Collection[K]:
        return self._parents.get(member, ())

    def children(self, member: K) -> Collection[K]:
        return self._children.get(member, ())

    def ancestors(self, members: Iterable[K]) -> set[K]:
        """These and all that they descend from."""
        return _closure(members, self._parents)

    def descendants(self, members: Iterable[K]) -> set[K]:
        """These and all that descend from them."""
        return _closure(members, self._children)

    def cluster(self, member: K) -> Cluster[K]:
        return self._cluster_of[member]

    def all(self) -> Iterator[Cluster[K]]:
        """Every cluster once."""
        seen: set[int] = set()
        for cluster in self._cluster_of.values():
            if cluster.serial not in seen:
                seen.add(cluster.serial)
                yield cluster

    def chunks(self, cluster: Cluster[K]) -> tuple[Chunk[K], ...]:
        """Its chunks, in the order of mining."""
        if cluster.cut is None:
            cluster.cut = self.chunks_of(cluster.members)
        return cluster.cut

    def chunks_of(
        self,
        members: Iterable[K],
        extra: Mapping[K, FeeAndWeight] | None = None,
        extra_parents: Mapping[K, Collection[K]] | None = None,
    ) -> tuple[Chunk[K], ...]:
        """The chunks of a set of members, and of others that may descend from them."""
        items = {member: self._items[member] for member in members} | dict(extra or {})
        parents = {
            member: [
                parent
                for parent in (extra_parents or {}).get(member, self._parents.get(member, ()))
                if parent in items
            ]
            for member in items
        }
        return linearize(items, parents)

    def chunk_of(self, member: K) -> Chunk[K]:
        """The chunk in which a member is mined."""
        return next(chunk for chunk in self.chunks(self.cluster(member)) if member in chunk.members)

    def weight(self, cluster: Cluster[K]) -> int:
        return total_of(self._items[member] for member in cluster.members).weight

    def in_order(self, members: Collection[K]) -> list[K]:
        """These members, each after those that it descends from."""
        wanted = set(members)
        placed: dict[K, None] = {}
        ahead = list(reversed(list(members)))
        while ahead:
            member = ahead[-1]
            missing = [one for one in self._parents[member] if one in wanted and one not in placed]
            if member not in placed and missing:
                ahead += missing
                continue
            ahead.pop()
            placed[member] = None
        return list(placed)

    def worst_chunk(self) -> tuple[tuple[K, ...], FeeAndWeight] | None:
        """The members of the chunk that pays least of all; nothing outside it descends from it."""
        if self._worst is None:
            self._worst = [self._rank_of_worst(cluster) for cluster in self.all()]
            heapq.heapify(self._worst)
        while self._worst:
            _, serial, cluster = self._worst[0]
            if cluster.is_alive and cluster.serial == serial:
                last = self.chunks(cluster)[-1]
                return last.members, last.total
            heapq.heappop(self._worst)
        return None

    def _rank_of_worst(self, cluster: Cluster[K]) -> tuple[int, int, Cluster[K]]:
        return self.chunks(cluster)[-1].total.rank, cluster.serial, cluster

    # Changing

    def add(
        self, member: K, item: FeeAndWeight, parents: Collection[K], children: Collection[K] = ()
    ) -> None:
        """Take a member; its parents and children are members already."""
        self._items[member] = item
        self._parents[member] = set(parents)
        self._children[member] = set(children)
        for parent in parents:
            self._children[parent].add(member)
        for child in children:
            self._parents[child].add(member)
        members = {member}
        for relative in (*parents, *children):
            cluster = self._cluster_of[relative]
            if cluster.is_alive:
                members |= cluster.members
                cluster.is_alive = False
        self._enter(members)

    def _enter(self, members: set[K]) -> None:
        cluster = Cluster(members, next(self._serials))
        for member in members:
            self._cluster_of[member] = cluster
        if self._worst is not None:
            heapq.heappush(self._worst, self._rank_of_worst(cluster))
            if len(self._worst) > _STALE * len(self._items) + _STALE:
                self._worst = None

    def remove(self, members: Collection[K]) -> None:
        """Drop members; what they held together may fall apart."""
        touched = {id(cluster): cluster for cluster in map(self._cluster_of.__getitem__, members)}
        gone = set(members)
        for member in gone:
            for parent in self._parents.pop(member) - gone:
                self._children[parent].discard(member)
            for child in self._children.pop(member) - gone:
                self._parents[child].discard(member)
            del self._items[member], self._cluster_of[member]
        for cluster in touched.values():
            cluster.is_alive = False
            for part in self.connected(cluster.members - gone):
                self._enter(part)

    def reprice(self, member: K, item: FeeAndWeight) -> None:
        """Change what a member pays."""
        self._items[member] = item
        cluster = self._cluster_of[member]
        cluster.is_alive = False
        self._enter(cluster.members)

    def connected(
        self, members: Collection[K], extra_parents: Mapping[K, Collection[K]] | None = None
    ) -> list[set[K]]:
        """The parts of a set of members that are connected within it; others may be children of them."""
        links: dict[K, set[K]] = {member: set() for member in members}
        for member in members:
            known = (extra_parents or {}).get(member, self._parents.get(member, ()))
            for parent in known:
                if parent in links:
                    links[member].add(parent)
                    links[parent].add(member)
        parts: list[set[K]] = []
        left = dict.fromkeys(members)
        while left:
            part = _closure([next(iter(left))], links)
            parts.append(part)
            for member in part:
                del left[member]
        return parts


class BestFirst(Generic[K]):
    """Walks the chunks of all clusters, the best paying first; one that is skipped ends its cluster."""

    def __init__(self, clusters: Clusters[K]) -> None:
        self._clusters = clusters
        self._ahead = [self._ranked(cluster, 0) for cluster in clusters.all()]
        heapq.heapify(self._ahead)
        self._last: tuple[Cluster[K], int] | None = None

    def _ranked(self, cluster: Cluster[K], place: int) -> tuple[int, int, int, Cluster[K]]:
        return -self._clusters.chunks(cluster)[place].total.rank, cluster.serial, place, cluster

    def next(self) -> Chunk[K] | None:
        """The next chunk; the one before was taken unless `skip` was called."""
        if self._last is not None:
            cluster, place = self._last
            if place + 1 < len(self._clusters.chunks(cluster)):
                heapq.heappush(self._ahead, self._ranked(cluster, place + 1))
        if not self._ahead:
            self._last = None
            return None
        _, _, place, cluster = heapq.heappop(self._ahead)
        self._last = cluster, place
        return self._clusters.chunks(cluster)[place]

    def skip(self) -> None:
        """The last chunk was not taken, so nothing after it in its cluster can be."""
        self._last = None


def _closure(start: Iterable[K], links: Mapping[K, Collection[K]]) -> set[K]:
    found = set(start)
    ahead = list(found)
    while ahead:
        for member in links.get(ahead.pop(), ()):
            if member not in found:
                found.add(member)
                ahead.append(member)
    return found

"""The best order in which a cluster of related transactions can be mined, cut into chunks.

A chunk is a set of transactions that a miner takes together: the best paying set that needs
nothing outside itself and the chunks before it. The cut is exact: a cluster is divided at its
mean feerate by the maximum closure (a minimum cut, after Picard 1976), and both parts again,
until no part divides. So the feerates of the chunks fall from first to last, and the diagram
of accumulated fees over weight is nowhere below that of any other valid order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

K = TypeVar("K")

_RANK_BITS: Final = 64


@dataclass(frozen=True, slots=True)
class FeeAndWeight:
    """What a transaction or a set of them pays and weighs; ``fee_sat`` may be changed by priority."""

    fee_sat: int
    weight: int

    def __add__(self, other: FeeAndWeight) -> FeeAndWeight:
        return FeeAndWeight(self.fee_sat + other.fee_sat, self.weight + other.weight)

    @property
    def rank(self) -> int:
        """An integer that orders by feerate, exactly for all weights that a block can hold."""
        return (self.fee_sat << _RANK_BITS) // self.weight


@dataclass(frozen=True, slots=True)
class Chunk(Generic[K]):
    """Transactions to be mined together, parents first."""

    members: tuple[K, ...]
    total: FeeAndWeight


def total_of(items: Iterable[FeeAndWeight]) -> FeeAndWeight:
    """The sum."""
    fee_sat = weight = 0
    for item in items:
        fee_sat, weight = fee_sat + item.fee_sat, weight + item.weight
    return FeeAndWeight(fee_sat, weight)


def linearize(items: Mapping[K, FeeAndWeight], parents: Mapping[K, Collection[K]]) -> tuple[Chunk[K], ...]:
    """The chunks of one cluster, in the order of mining; ``parents`` name members only."""
    names = list(items)
    if len(names) == 1:
        return (Chunk((names[0],), items[names[0]]),)
    return _Cluster(names, items, parents).chunks()


class _Cluster(Generic[K]):
    """One cluster by numbers: sets of its members are bits of an integer."""

    def __init__(
        self, names: Sequence[K], items: Mapping[K, FeeAndWeight], parents: Mapping[K, Collection[K]]
    ) -> None:
        self._names = names
        self._items = [items[name] for name in names]
        places = {name: place for place, name in enumerate(names)}
        self._parents = [[places[parent] for parent in parents[name]] for name in names]
        self._ancestors = self._all_ancestors()

    def _all_ancestors(self) -> list[int]:
        """Each member with all its ancestors."""
        found = [0] * len(self._names)
        ahead = list(range(len(self._names)))
        while ahead:
            place = ahead[-1]
            missing = [] if found[place] else [parent for parent in self._parents[place] if not found[parent]]
            if missing:
                ahead += missing
                continue
            ahead.pop()
            bits = 1 << place
            for parent in self._parents[place]:
                bits |= found[parent]
            found[place] = bits
        return found

    def chunks(self) -> tuple[Chunk[K], ...]:
        cut: list[int] = []
        ahead = [(1 << len(self._names)) - 1]
        while ahead:
            members = ahead.pop()
            richer = self._richer_part(members)
            if richer:
                ahead += (members & ~richer, richer)
            else:
                cut += self._unconnected_parts(members)
        return tuple(self._chunk(members) for members in cut)

    def _chunk(self, members: int) -> Chunk[K]:
        places = sorted(_places(members), key=lambda place: (self._ancestors[place].bit_count(), place))
        total = total_of(self._items[place] for place in places)
        return Chunk(tuple(self._names[place] for place in places), total)

    def _richer_part(self, members: int) -> int:
        """The part, closed under parents, that pays most above the mean of all; 0 if none does."""
        places = list(_places(members))
        if len(places) == 1:
            return 0
        total = total_of(self._items[place] for place in places)
        surplus = {
            place: self._items[place].fee_sat * total.weight - self._items[place].weight * total.fee_sat
            for place in places
        }
        givers = [place for place in places if surplus[place] > 0]
        debtors = {
            giver: [at for at in _places(self._ancestors[giver] & members) if surplus[at] < 0]
            for giver in givers
        }
        part = 0
        for giver in _Flow(surplus, debtors).unspent_givers():
            part |= self._ancestors[giver] & members
        return part

    def _unconnected_parts(self, members: int) -> list[int]:
        """The parts of a set that are not related, the one of the first member first."""
        parts = []
        while members:
            part = members & -members
            grown = 0
            while part != grown:
                grown = part
                for place in _places(members):
                    if self._ancestors[place] & part & members:
                        part |= self._ancestors[place] & members
            parts.append(part)
            members &= ~part
        return parts


def _places(bits: int) -> Iterable[int]:
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low


class _Flow:
    """A maximum flow from surpluses to the debts of their ancestors, by shortest augmenting paths."""

    def __init__(self, surplus: Mapping[int, int], debtors: Mapping[int, Sequence[int]]) -> None:
        self._debtors = debtors
        self._left = {giver: surplus[giver] for giver in debtors}
        self._owed = {place: -amount for place, amount in surplus.items() if amount < 0}
        self._paid: dict[int, dict[int, int]] = {debtor: {} for debtor in self._owed}
        for giver, ancestors in debtors.items():
            for debtor in ancestors:
                self._move([debtor, giver], min(self._left[giver], self._owed[debtor]))

    def unspent_givers(self) -> set[int]:
        """Givers that pay more than their ancestors owe, and all who paid a debt for them.

        What unspent surplus still reaches when nothing more can be paid is the source side of
        the minimum cut.
        """
        while True:
            came_from, end = self._search()
            if end is None:
                return {place for place in came_from if place in self._left}
            path = [end]
            while (before := came_from[path[-1]]) is not None:
                path.append(before)
            taken_back = [self._paid[path[at + 1]][path[at]] for at in range(1, len(path) - 1, 2)]
            self._move(path, min([self._left[path[-1]], self._owed[end], *taken_back]))

    def _search(self) -> tuple[dict[int, int | None], int | None]:
        """All that unspent surplus reaches, each with where it was reached from; the first open debt."""
        ahead = [giver for giver, amount in self._left.items() if amount]
        came_from: dict[int, int | None] = dict.fromkeys(ahead)
        for place in ahead:
            for reached in self._following(place):
                if reached in came_from:
                    continue
                came_from[reached] = place
                if self._owed.get(reached):
                    return came_from, reached
                ahead.append(reached)
        return came_from, None

    def _following(self, place: int) -> Sequence[int]:
        if place in self._debtors:
            return self._debtors[place]
        return [giver for giver, amount in self._paid[place].items() if amount]

    def _move(self, path: Sequence[int], amount: int) -> None:
        """Pay the debt that the path starts with; each giver on it stops paying the debtor before it."""
        self._left[path[-1]] -= amount
        self._owed[path[0]] -= amount
        for debtor, giver in zip(path[0::2], path[1::2], strict=True):
            self._paid[debtor][giver] = self._paid[debtor].get(giver, 0) + amount
        for giver, debtor in zip(path[1:-1:2], path[2::2], strict=True):
            self._paid[debtor][giver] -= amount


def improves(ours: Iterable[FeeAndWeight], theirs: Iterable[FeeAndWeight]) -> bool:
    """Whether the first chunks' fee diagram is nowhere below the second's and somewhere above.

    Past its end a diagram stays level: nothing more can be mined.
    """
    mine, other = _Diagram(ours), _Diagram(theirs)
    is_above = False
    for weight in sorted({*mine.weights, *other.weights}):
        # Both fees as fractions of the product of the weights under them.
        (fee, part), (other_fee, other_part) = mine.fee_at(weight), other.fee_at(weight)
        if fee * other_part < other_fee * part:
            return False
        is_above = is_above or fee * other_part > other_fee * part
    return is_above


class _Diagram:
    """Fees accumulated over weight, the best paying chunk first."""

    def __init__(self, chunks: Iterable[FeeAndWeight]) -> None:
        self.weights, self._fees = [0], [0]
        for chunk in sorted(chunks, key=lambda found: found.rank, reverse=True):
            self.weights.append(self.weights[-1] + chunk.weight)
            self._fees.append(self._fees[-1] + chunk.fee_sat)

    def fee_at(self, weight: int) -> tuple[int, int]:
        """The fee up to a weight, as numerator and denominator."""
        if weight >= self.weights[-1]:
            return self._fees[-1], 1
        after = next(at for at, end in enumerate(self.weights) if end > weight)
        start, width = self.weights[after - 1], self.weights[after] - self.weights[after - 1]
        gain = self._fees[after] - self._fees[after - 1]
        return self._fees[after - 1] * width + gain * (weight - start), width

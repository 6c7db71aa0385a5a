"""What the HSM counts of its operations, and how long they took."""

from __future__ import annotations

from bisect import bisect_left
from operator import add
from typing import Final, get_args

import msgspec

from anya_actors.domain.hsm.audit import OK
from anya_actors.domain.keys.algorithms import ALGORITHMS_OF, KeyType

BOUNDS_S: Final = (
    *(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01),
    *(0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
"""Upper bounds of the buckets; one more bucket has what took longer."""
MOST_KEYS: Final = 1_000
MOST_SERIES: Final = 10_000
OTHER: Final = "other"
_REFUSED: Final = "refused: "
_OF_SESSIONS: Final = frozenset({"open-session", "extend-session", "release-keys", "close-session"})
_ALGORITHMS: Final = frozenset(
    {
        *("", "random", "musig2-bip327", *get_args(KeyType)),
        *(name for of_types in ALGORITHMS_OF.values() for names in of_types.values() for name in names),
    }
)


class LatencyView(msgspec.Struct, frozen=True):
    """How long so many took together, and how many of them fell into each bucket (not cumulative)."""

    count: int
    seconds: float
    buckets: tuple[int, ...]


class OperationMetric(msgspec.Struct, frozen=True):
    """One operation of one owner's key under one algorithm; refusals are counted by their code.

    ``latency`` is of what succeeded and was timed: a session's operations without their audit entry,
    the HSM's own with it.
    """

    owner: str
    key: str
    algorithm: str
    operation: str
    outcomes: dict[str, int]
    latency: LatencyView


class HsmMetricsView(msgspec.Struct, frozen=True):
    """What the HSM counted since it came to life, and how it stands now."""

    since_unix_ms: int
    sealed: bool
    open_sessions: int
    session_limit: int
    audit_entries: int
    audit_waiting: int
    audit_commit: LatencyView
    bucket_bounds_s: tuple[float, ...]
    operations: tuple[OperationMetric, ...]


class Latencies:
    """A histogram over `BOUNDS_S`."""

    __slots__ = ("buckets", "count", "seconds")

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0
        self.buckets = [0] * (len(BOUNDS_S) + 1)

    def observe(self, seconds: float, count: int = 1) -> None:
        """``count`` things took so long, each."""
        self.count += count
        self.seconds += seconds * count
        self.buckets[bisect_left(BOUNDS_S, seconds)] += count

    def add(self, other: Latencies) -> None:
        """Put those of another histogram to these."""
        self.count += other.count
        self.seconds += other.seconds
        self.buckets = list(map(add, self.buckets, other.buckets))

    @property
    def view(self) -> LatencyView:
        """The histogram as shown."""
        return LatencyView(self.count, self.seconds, tuple(self.buckets))


class _Series:
    __slots__ = ("latencies", "outcomes")

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = {}
        self.latencies = Latencies()


class OperationMetrics:
    """Counts by owner, key, algorithm and operation; bounded whatever callers name.

    A key has series of its own once an operation by it succeeded, up to `MOST_KEYS` keys. The rest
    is counted for the key `OTHER` of no owner. What opens and closes sessions is counted for no key.
    """

    def __init__(self) -> None:
        self._series: dict[tuple[str, str, str, str], _Series] = {}
        self._keys: set[tuple[str, str]] = set()

    def count(
        self, owner: str, key: str, algorithm: str, operation: str, outcome: str, count: int = 1
    ) -> None:
        """So many operations had this outcome, in the audit log's words."""
        refused = outcome.startswith(_REFUSED)
        outcomes = self._of(owner, key, algorithm, operation, refused).outcomes
        name = outcome.removeprefix(_REFUSED) if refused else OK
        outcomes[name] = outcomes.get(name, 0) + max(1, count)

    def observe(
        self, owner: str, key: str, algorithm: str, operation: str, seconds: float, count: int = 1
    ) -> None:
        """So many operations succeeded, and took so long, each."""
        self._of(owner, key, algorithm, operation, refused=False).latencies.observe(seconds, count)

    def views(self, owner: str | None = None) -> tuple[OperationMetric, ...]:
        """Every series, or those of one owner, in the order of their names."""
        return tuple(
            OperationMetric(*place, dict(series.outcomes), series.latencies.view)
            for place, series in sorted(self._series.items())
            if owner in (None, place[0])
        )

    def sums(self) -> tuple[OperationMetric, ...]:
        """The sums over all owners and keys, which anyone may see."""
        sums: dict[tuple[str, str], _Series] = {}
        for (_, _, *place), series in self._series.items():
            total = sums.setdefault((place[0], place[1]), _Series())
            for name, number in series.outcomes.items():
                total.outcomes[name] = total.outcomes.get(name, 0) + number
            if series.latencies.count:
                total.latencies.add(series.latencies)
        return tuple(
            OperationMetric("", "", *place, series.outcomes, series.latencies.view)
            for place, series in sorted(sums.items())
        )

    def _of(self, owner: str, key: str, algorithm: str, operation: str, refused: bool) -> _Series:
        series = self._series.get((owner, key, algorithm, operation))
        if series is None:
            place = self._place(owner, key, algorithm, operation, refused)
            series = self._series.setdefault(place, _Series())
        return series

    def _place(
        self, owner: str, key: str, algorithm: str, operation: str, refused: bool
    ) -> tuple[str, str, str, str]:
        if operation in _OF_SESSIONS:
            key = ""
        if algorithm not in _ALGORITHMS:
            algorithm = OTHER
        if (owner, key) not in self._keys:
            if refused or len(self._keys) >= MOST_KEYS:
                return "", OTHER, algorithm, operation
            self._keys.add((owner, key))
        if len(self._series) >= MOST_SERIES:
            return "", OTHER, algorithm, operation
        return owner, key, algorithm, operation

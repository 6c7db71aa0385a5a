"""How long transactions of each feerate waited for a block: one time horizon of Core's estimator.

Feerates fall into buckets 5 % apart. Counts fade by a factor at every block. Instead of fading
each count, one unit grows: a fresh count weighs more than an old one by as much.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from typing import Final

from anya_actors.domain.bitcoin.kept_fees import KeptHorizon

_LEAST_FEERATE, _GREATEST_FEERATE, _SPACING = 100.0, 1e7, 1.05
_NO_LIMIT: Final = 1e99
_GREATEST_UNIT: Final = 1e100


def _bounds() -> tuple[float, ...]:
    bounds, bound = [], _LEAST_FEERATE
    while bound <= _GREATEST_FEERATE:
        bounds.append(bound)
        bound *= _SPACING
    return (*bounds, _NO_LIMIT)


BOUNDS: Final = _bounds()
"""The upper bound of each bucket, in satoshis per 1,000 virtual bytes."""


def bucket_of(feerate_sat_per_kvb: float) -> int:
    """The bucket that a feerate falls into."""
    return bisect_left(BOUNDS, feerate_sat_per_kvb)


@dataclass(frozen=True, slots=True)
class FeerateRange:
    """Neighbouring buckets taken together, and what became of their transactions."""

    start: float
    end: float
    within_target: float
    total_confirmed: float
    in_mempool: float
    left_mempool: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """``feerate_sat_per_kvb`` is None where there is none. ``passed`` is the lowest range that did
    well enough, ``failed`` the highest that did not."""

    feerate_sat_per_kvb: float | None
    passed: FeerateRange | None = None
    failed: FeerateRange | None = None


@dataclass(slots=True)
class _Sums:
    """Running totals of the buckets looked at."""

    near: int
    far: int
    confirmed_in_time: float = 0.0
    confirmed: float = 0.0
    waiting: float = 0.0
    failed: float = 0.0

    @property
    def share(self) -> float:
        return self.confirmed_in_time / (self.confirmed + self.failed + self.waiting)

    def range(self) -> FeerateRange:
        start = BOUNDS[self.far - 1] if self.far else 0.0
        return FeerateRange(
            start, BOUNDS[self.near], self.confirmed_in_time, self.confirmed, self.waiting, self.failed
        )


class ConfirmationStatistics:
    """One horizon: ``periods`` of ``scale`` blocks each, counts fading by ``decay`` at every block."""

    def __init__(self, periods: int, scale: int, decay: float) -> None:
        self.scale = scale
        self.decay = decay
        self._periods = periods
        self._unit = 1.0
        count = len(BOUNDS)
        self._confirmed = [0.0] * count
        self._feerates = [0.0] * count
        self._in_time = [[0.0] * count for _ in range(periods)]
        self._failed = [[0.0] * count for _ in range(periods)]
        # Transactions waiting, by the height at which they came, those long ago taken together.
        self._waiting: list[Counter[int]] = [Counter() for _ in range(self.max_target)]
        self._waiting_long: Counter[int] = Counter()

    @property
    def max_target(self) -> int:
        """The greatest number of blocks that it can tell about."""
        return self._periods * self.scale

    # Keeping

    def kept(self) -> KeptHorizon:
        """What was counted, without those that still wait."""

        def faded(row: list[float]) -> list[float]:
            return [count / self._unit for count in row]

        return KeptHorizon(
            self.scale,
            self.decay,
            faded(self._confirmed),
            faded(self._feerates),
            [faded(row) for row in self._in_time],
            [faded(row) for row in self._failed],
        )

    def take_back(self, kept: KeptHorizon) -> None:
        """Go on from what was kept; `verify_fits` it first."""
        self._unit = 1.0
        self._confirmed, self._feerates = list(kept.confirmed), list(kept.feerates)
        self._in_time = [list(row) for row in kept.in_time]
        self._failed = [list(row) for row in kept.failed]

    def verify_fits(self, kept: KeptHorizon) -> None:
        """Raise `DamagedFeeEstimatesError` unless `take_back` may have it."""
        kept.verify_fits(self.scale, self.decay, self._periods, len(BOUNDS))

    # Observing

    def entered(self, height: int, bucket: int) -> None:
        """A transaction began to wait when the tip had this height."""
        self._waiting[height % self.max_target][bucket] += 1

    def left(self, entered_height: int, best_height: int, bucket: int, *, in_block: bool) -> None:
        """It waits no longer. One that was not mined failed for each whole period it waited."""
        blocks_ago = best_height - entered_height if best_height else 0
        is_old = blocks_ago >= self.max_target
        waiting = self._waiting_long if is_old else self._waiting[entered_height % self.max_target]
        if waiting[bucket] > 0:
            waiting[bucket] -= 1
        if not in_block:
            for period in range(min(blocks_ago // self.scale, self._periods)):
                self._failed[period][bucket] += self._unit

    def begin_block(self, height: int) -> None:
        """A block of this height has come: those that came a whole horizon ago are old, counts fade."""
        self._waiting_long += self._waiting[height % self.max_target]
        self._waiting[height % self.max_target] = Counter()
        self._unit /= self.decay
        if self._unit > _GREATEST_UNIT:
            for row in (self._confirmed, self._feerates, *self._in_time, *self._failed):
                row[:] = [count / self._unit for count in row]
            self._unit = 1.0

    def confirmed(self, blocks: int, bucket: int, feerate_sat_per_kvb: float) -> None:
        """A transaction was mined in the so manieth block after it came."""
        first = -(-blocks // self.scale)
        for period in range(first - 1, self._periods):
            self._in_time[period][bucket] += self._unit
        self._confirmed[bucket] += self._unit
        self._feerates[bucket] += feerate_sat_per_kvb * self._unit

    # Estimating

    def estimate(self, target: int, sufficient: float, success: float, best_height: int) -> Estimate:
        """The median feerate of the lowest buckets that were confirmed within ``target`` blocks.

        Buckets are put together, from the dearest down, until they hold enough transactions
        (``sufficient`` per block); the share confirmed in time must be at least ``success``.
        """
        needed = sufficient / (1 - self.decay)
        period = -(-target // self.scale) - 1
        waiting = self._waiting_at_least(target, best_height)
        best: _Sums | None = None
        failed: FeerateRange | None = None
        sums, fresh, is_new = _Sums(0, 0), 0.0, True
        for bucket in range(len(BOUNDS) - 1, -1, -1):
            if is_new:
                sums.near, is_new = bucket, False
            sums.far = bucket
            confirmed = self._confirmed[bucket] / self._unit
            sums.confirmed_in_time += self._in_time[period][bucket] / self._unit
            sums.confirmed += confirmed
            sums.failed += self._failed[period][bucket] / self._unit
            sums.waiting += waiting[bucket]
            fresh += confirmed
            if fresh < needed:
                continue
            fresh = 0.0
            if sums.share < success:
                failed = failed or sums.range()
                continue
            best, failed = sums, None
            sums, is_new = _Sums(0, 0), True
        if failed is None and not is_new:
            failed = sums.range()
        if best is None:
            return Estimate(None, None, failed)
        return Estimate(self._median(best), best.range(), failed)

    def _waiting_at_least(self, target: int, best_height: int) -> Counter[int]:
        waiting = Counter(self._waiting_long)
        for blocks in range(target, self.max_target):
            waiting += self._waiting[(best_height - blocks) % self.max_target]
        return waiting

    def _median(self, found: _Sums) -> float | None:
        """The mean feerate of the bucket that holds the range's median transaction."""
        half = sum(self._confirmed[found.far : found.near + 1]) / 2
        if not half:
            return None
        for bucket in range(found.far, found.near + 1):
            if self._confirmed[bucket] >= half:
                return self._feerates[bucket] / self._confirmed[bucket]
            half -= self._confirmed[bucket]
        return None

"""Feerates for a wanted number of blocks, from what was observed to be confirmed (Core's way).

It knows nothing at first: then it says so, and whoever asks falls back on a feerate of his own.
What it learned can be kept and taken back after a restart (`kept_fees`). Only transactions are
counted that came alone, depend on nothing that waits, and were seen before their block.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from anya_actors.domain.bitcoin.confirmation_statistics import (
    ConfirmationStatistics,
    Estimate,
    bucket_of,
)
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.kept_fees import DamagedFeeEstimatesError, KeptEstimates

MAX_TARGET: Final = 1008
_HALF, _SUCCESS, _DOUBLE = 0.6, 0.85, 0.95
_SUFFICIENT, _SUFFICIENT_SHORT = 0.1, 0.5
_OLDEST_HISTORY_BLOCKS: Final = 6 * 1008
"""How long the range of a life before still says how far ahead one may estimate."""


class Horizon(enum.Enum):
    """The three views of the past."""

    SHORT = "short"
    MEDIUM = "medium"
    LONG = "long"


@dataclass(frozen=True, slots=True)
class SmartEstimate:
    """``blocks`` is the target that the feerate holds for; None where nothing can be said."""

    feerate_sat_per_kvb: int | None
    blocks: int


@dataclass(frozen=True, slots=True)
class _Tracked:
    height: int
    bucket: int
    feerate_sat_per_kvb: int


class FeeEstimator:
    """Observes transactions and blocks; see the module."""

    def __init__(self) -> None:
        self.horizons: Final = {
            Horizon.SHORT: ConfirmationStatistics(12, 1, 0.962),
            Horizon.MEDIUM: ConfirmationStatistics(24, 2, 0.9952),
            Horizon.LONG: ConfirmationStatistics(42, 24, 0.99931),
        }
        self._tracked: dict[Txid, _Tracked] = {}
        self._best_height = 0
        self._first_height = 0
        self._earlier = (0, 0)

    # Keeping

    def kept(self, now_unix_ms: int) -> KeptEstimates:
        """What it learned until now."""
        span, earlier = self._span(), self._earlier_span()
        # This life's range, or an earlier one's while that is more than twice as long.
        first, last = (self._first_height, self._best_height) if span > earlier // 2 else self._earlier
        horizons = {name.value: statistics.kept() for name, statistics in self.horizons.items()}
        return KeptEstimates(now_unix_ms, self._best_height, first, last, horizons)

    def take_back(self, kept: KeptEstimates) -> None:
        """Go on from what was kept, all or nothing; raises `DamagedFeeEstimatesError`."""
        if kept.horizons.keys() != {name.value for name in self.horizons}:
            raise DamagedFeeEstimatesError("it has other horizons")
        for name, statistics in self.horizons.items():
            statistics.verify_fits(kept.horizons[name.value])
        for name, statistics in self.horizons.items():
            statistics.take_back(kept.horizons[name.value])
        self._best_height, self._first_height = kept.best_height, 0
        self._earlier = (kept.first_height, kept.last_height)

    def forget_waiting(self) -> None:
        """End counting those that wait, as failed for as long as they waited: nobody will watch them."""
        for txid in tuple(self._tracked):
            self.left(txid)

    # Observing

    def entered(self, txid: Txid, height: int, feerate_sat_per_kvb: int) -> None:
        """A transaction that counts began to wait at this height of the tip."""
        if txid in self._tracked or height != self._best_height:
            return
        bucket = bucket_of(feerate_sat_per_kvb)
        self._tracked[txid] = _Tracked(height, bucket, feerate_sat_per_kvb)
        for statistics in self.horizons.values():
            statistics.entered(height, bucket)

    def left(self, txid: Txid, *, in_block: bool = False) -> _Tracked | None:
        """A transaction left the mempool; what was known of it."""
        tracked = self._tracked.pop(txid, None)
        if tracked is not None:
            for statistics in self.horizons.values():
                statistics.left(tracked.height, self._best_height, tracked.bucket, in_block=in_block)
        return tracked

    def block_connected(self, height: int, txids: list[Txid]) -> None:
        """A block took these waiting transactions. One no higher than another before teaches nothing."""
        if height <= self._best_height:
            return
        self._best_height = height
        for statistics in self.horizons.values():
            statistics.begin_block(height)
        for txid in txids:
            tracked = self.left(txid, in_block=True)
            if tracked is None or height <= tracked.height:
                continue
            self._first_height = self._first_height or height
            for statistics in self.horizons.values():
                statistics.confirmed(height - tracked.height, tracked.bucket, tracked.feerate_sat_per_kvb)

    # Estimating

    def raw(self, target: int, threshold: float, horizon: Horizon) -> Estimate:
        """One horizon's estimate, with what it rests on."""
        sufficient = _SUFFICIENT_SHORT if horizon is Horizon.SHORT else _SUFFICIENT
        return self.horizons[horizon].estimate(target, sufficient, threshold, self._best_height)

    def smart(self, target: int, *, is_conservative: bool = False) -> SmartEstimate:
        """The greatest of what 60 % within half the target, 85 % within it, 95 % within twice it paid.

        ``is_conservative``: longer horizons must agree to the last of these.
        """
        usable = min(max(target, 2), self._max_usable_target())
        if usable <= 1:
            return SmartEstimate(None, usable)
        found = [
            self._combined(usable // 2, _HALF, with_shorter=True),
            self._combined(usable, _SUCCESS, with_shorter=True),
            self._combined(2 * usable, _DOUBLE, with_shorter=not is_conservative),
        ]
        if is_conservative or not any(found):
            found += self._conservative(2 * usable)
        rates = [rate for rate in found if rate]
        return SmartEstimate(round(max(rates)) if rates else None, usable)

    def _max_usable_target(self) -> int:
        """Half of the blocks since the first observation: the rest may have failed unseen."""
        return min(MAX_TARGET, max(self._span(), self._earlier_span()) // 2)

    def _span(self) -> int:
        return self._best_height - self._first_height if self._first_height else 0

    def _earlier_span(self) -> int:
        first, last = self._earlier
        is_recent = self._best_height - last <= _OLDEST_HISTORY_BLOCKS
        return last - first if first and is_recent else 0

    def _combined(self, target: int, success: float, *, with_shorter: bool) -> float | None:
        horizons = list(self.horizons)
        fitting = next(
            (place for place, name in enumerate(horizons) if target <= self.horizons[name].max_target), None
        )
        if not target or fitting is None:
            return None
        rate = self.raw(target, success, horizons[fitting]).feerate_sat_per_kvb
        for name in reversed(horizons[:fitting]) if with_shorter else ():
            shorter = self.raw(self.horizons[name].max_target, success, name).feerate_sat_per_kvb
            if shorter and (rate is None or shorter < rate):
                rate = shorter
        return rate

    def _conservative(self, target: int) -> list[float | None]:
        return [
            self.raw(target, _DOUBLE, longer).feerate_sat_per_kvb
            for shorter, longer in ((Horizon.SHORT, Horizon.MEDIUM), (Horizon.MEDIUM, Horizon.LONG))
            if target <= self.horizons[shorter].max_target
        ]

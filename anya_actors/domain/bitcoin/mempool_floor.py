"""The least feerate that a full mempool asks for: raised by each eviction, halved by time."""

from __future__ import annotations

from typing import Final

HALF_LIFE_S: Final = 12 * 3600
_LEAST_STEP_S: Final = 10


class FeerateFloor:
    """Core's rolling minimum fee. It falls only after a block has come since the last eviction."""

    def __init__(self, incremental_sat_per_kvb: int) -> None:
        self._incremental = incremental_sat_per_kvb
        self._rate = 0.0
        self._updated_s = 0
        self._block_since = False

    def evicted(self, feerate_sat_per_kvb: int) -> None:
        """A chunk of this feerate was evicted: whoever comes must pay a relay fee more."""
        raised = feerate_sat_per_kvb + self._incremental
        if raised > self._rate:
            self._rate = raised
            self._block_since = False

    def block_connected(self, now_s: int) -> None:
        self._updated_s = now_s
        self._block_since = True

    def feerate_sat_per_kvb(self, now_s: int, usage_bytes: int, max_bytes: int) -> int:
        """The floor now; it falls faster while the mempool is far from full."""
        if not self._block_since or not self._rate:
            return round(self._rate)
        if now_s > self._updated_s + _LEAST_STEP_S:
            half_life_s: float = HALF_LIFE_S
            if usage_bytes < max_bytes // 4:
                half_life_s /= 4
            elif usage_bytes < max_bytes // 2:
                half_life_s /= 2
            self._rate /= 2.0 ** ((now_s - self._updated_s) / half_life_s)
            self._updated_s = now_s
            if self._rate < self._incremental / 2:
                self._rate = 0.0
                return 0
        return max(round(self._rate), self._incremental)

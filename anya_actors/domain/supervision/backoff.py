"""How long to wait before the next try."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with jitter: doubling from ``first_s`` up to ``longest_s``.

    ``jitter`` is the share of each delay that chance may take away, so that many who failed
    together do not all come back together.
    """

    first_s: float = 0.05
    longest_s: float = 30.0
    jitter: float = 0.5

    def delay_s(self, attempt: int, chance: float) -> float:
        """Seconds before try number ``attempt`` (0 for the first repeat); ``chance`` in [0, 1)."""
        doubled = self.first_s * 2.0 ** min(attempt, 62)
        return min(self.longest_s, doubled) * (1.0 - self.jitter * chance)

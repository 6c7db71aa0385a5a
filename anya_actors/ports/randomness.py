"""Chance, so that the simulation can seed it."""

from __future__ import annotations

from typing import Protocol


class Randomness(Protocol):
    """The only source of chance in services. Production draws from the operating system."""

    def token_bytes(self, size: int) -> bytes:
        """``size`` unpredictable bytes."""

    def uniform(self) -> float:
        """A float in [0, 1), for jitter; never for secrets."""

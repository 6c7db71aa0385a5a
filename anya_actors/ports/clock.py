"""Time, so that tests and the simulation can hold it in their hands."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """The only source of time in services."""

    def now_unix_ms(self) -> int:
        """Wall-clock time, milliseconds since the Unix epoch."""

    def monotonic_s(self) -> float:
        """Seconds of a clock that never goes back; only differences mean something."""

    async def sleep(self, delay_s: float) -> None:
        """Let ``delay_s`` seconds pass."""

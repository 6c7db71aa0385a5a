"""The machine's own clocks."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """A `Clock` that reads the operating system's clocks and really sleeps."""

    def now_unix_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        return time.monotonic()

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)

"""Wakes whoever waits for something to change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Changes:
    """Counts changes: ``version`` is how many there were."""

    def __init__(self) -> None:
        self.version = 0
        self._next = asyncio.Event()

    def tell(self) -> None:
        """There was one."""
        self.version += 1
        self._next.set()
        self._next = asyncio.Event()

    async def wait_for(self, true: Callable[[], bool]) -> None:
        """Return as soon as a change has made it true."""
        while not true():
            await self._next.wait()

    async def wait(self, version: int, timeout_s: float) -> int:
        """Return the version as soon as it is not ``version``, or after the time-out."""
        try:
            async with asyncio.timeout(timeout_s):
                await self.wait_for(lambda: self.version != version)
        except TimeoutError:
            pass
        return self.version

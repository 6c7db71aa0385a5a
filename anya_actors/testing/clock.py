"""A clock that a test moves by hand."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")

# How often a task may pass control on before its next sleep and still be waited for by `advance`.
_TURNS = 64


class ManualClock:
    """A `Clock` that stands still until `advance` is called.

    Wall-clock and monotonic time move together. Sleepers wake in the order of their deadlines,
    each at its own time, and those that wake may sleep again inside the same `advance`.
    """

    def __init__(self, now_unix_ms: int = 1_700_000_000_000) -> None:
        self._start_unix_ms = now_unix_ms
        self._elapsed_s = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._fell_asleep = asyncio.Event()

    def now_unix_ms(self) -> int:
        return self._start_unix_ms + round(self._elapsed_s * 1000)

    def monotonic_s(self) -> float:
        return self._elapsed_s

    async def sleep(self, delay_s: float) -> None:
        if delay_s <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed_s + delay_s, next(self._order), woken))
        self._fell_asleep.set()
        await woken

    @property
    def sleepers(self) -> int:
        """How many sleeps are waiting for time to pass."""
        return sum(not woken.done() for _, _, woken in self._sleepers)

    async def advance(self, delay_s: float) -> None:
        """Let ``delay_s`` seconds pass and let everything that wakes run."""
        end_s = self._elapsed_s + delay_s
        await self._run_ready()
        while self._sleepers and self._sleepers[0][0] <= end_s:
            deadline_s, _, woken = heapq.heappop(self._sleepers)
            if woken.done():
                continue
            self._elapsed_s = max(self._elapsed_s, deadline_s)
            woken.set_result(None)
            await self._run_ready()
        self._elapsed_s = end_s

    async def pass_until(self, work: Awaitable[T], step_s: float = 0.5) -> T:
        """Let time pass for as long as ``work`` takes; give what it gives."""
        task = asyncio.ensure_future(work)
        await self._run_ready()
        while not task.done():
            await self.advance(step_s)
        return task.result()

    async def wait_sleepers(self, count: int) -> None:
        """Return once at least ``count`` sleeps are waiting."""
        while self.sleepers < count:
            self._fell_asleep.clear()
            await self._fell_asleep.wait()

    async def _run_ready(self) -> None:
        for _ in range(_TURNS):
            await asyncio.sleep(0)

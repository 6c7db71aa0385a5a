"""What the node is to do later. A test may bring it forward (``mockscheduler``)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from anya_actors.ports.clock import Clock


@dataclass(frozen=True, slots=True)
class _Due:
    at_s: float
    action: Callable[[], None]


class Scheduler:
    """Calls actions when their time has come, by the clock that never stands still."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead_s = 0.0
        self._due: dict[str, _Due] = {}
        self._sleep: asyncio.Task[None] | None = None

    def call_later(self, name: str, delay_s: float, action: Callable[[], None]) -> None:
        """Call it after the delay; it takes the place of what was to be done under this name."""
        self._due[name] = _Due(self._now_s() + delay_s, action)
        self._sleep_again()

    def cancel(self, name: str) -> None:
        """Do not do what was to be done under this name."""
        if self._due.pop(name, None) is not None:
            self._sleep_again()

    def advance(self, delta_s: float) -> None:
        """Behave as if so much time had passed: what is due then is done when it returns."""
        self._ahead_s += delta_s
        self._do_what_is_due()
        self._sleep_again()

    def close(self) -> None:
        """Do nothing any more."""
        self._due.clear()
        self._sleep_again()

    def _now_s(self) -> float:
        return self._clock.monotonic_s() + self._ahead_s

    def _sleep_again(self) -> None:
        if self._sleep is not None:
            self._sleep.cancel()
        delay_s = min((due.at_s for due in self._due.values()), default=0.0) - self._now_s()
        self._sleep = asyncio.create_task(self._wake_after(delay_s)) if self._due else None

    async def _wake_after(self, delay_s: float) -> None:
        await self._clock.sleep(max(0.0, delay_s))
        self._sleep = None  # it is this task, which must not end itself
        self._do_what_is_due()
        self._sleep_again()

    def _do_what_is_due(self) -> None:
        now_s = self._now_s()
        for name, due in sorted(self._due.items(), key=lambda item: item[1].at_s):
            if due.at_s <= now_s and self._due.get(name) is due:
                del self._due[name]
                due.action()

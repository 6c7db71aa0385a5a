"""The event bus of one process, in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from anya_actors.ports.event_bus import Delivered
from anya_actors.ports.state_store import Recorded


class MemoryEventBus:
    """An `EventBus` that is gone with the process."""

    def __init__(self) -> None:
        self._events: list[Delivered] = []
        self._last: dict[str, int] = {}
        self._arrived = asyncio.Event()

    async def publish(self, source: str, events: Sequence[Recorded]) -> int:
        last = self._last.get(source, 0)
        for recorded in sorted(events, key=lambda recorded: recorded.sequence):
            if recorded.sequence > last:
                last = recorded.sequence
                self._events.append(Delivered(len(self._events) + 1, source, last, recorded.event))
        self._last[source] = last
        self._arrived.set()
        self._arrived = asyncio.Event()
        return last

    async def last_sequence(self, source: str) -> int:
        return self._last.get(source, 0)

    async def events_after(self, cursor: int, limit: int, wait_s: float) -> list[Delivered]:
        if cursor >= len(self._events) and wait_s > 0:
            try:
                async with asyncio.timeout(wait_s):
                    while cursor >= len(self._events):
                        await self._arrived.wait()
            except TimeoutError:
                return []
        return self._events[max(cursor, 0) :][:limit]

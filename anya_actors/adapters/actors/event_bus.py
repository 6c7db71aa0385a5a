"""The event bus, reached through the coordinator."""

from __future__ import annotations

from collections.abc import Sequence

from anya_actors.ports.actors import COORDINATOR, Actors
from anya_actors.ports.event_bus import Delivered
from anya_actors.ports.state_store import Recorded


class ActorsEventBus:
    """`EventBus` over `Actors`."""

    def __init__(self, actors: Actors) -> None:
        self._actors = actors

    async def publish(self, source: str, events: Sequence[Recorded]) -> int:
        return int(await self._actors.call(COORDINATOR, "publish", source, list(events)))

    async def last_sequence(self, source: str) -> int:
        return int(await self._actors.call(COORDINATOR, "last_sequence", source))

    async def events_after(self, cursor: int, limit: int, wait_s: float) -> list[Delivered]:
        found = await self._actors.call(
            COORDINATOR, "events_after", cursor, limit, wait_s, timeout_s=wait_s + 30.0
        )
        return list(found)

"""Carries committed events from a store to the event bus."""

from __future__ import annotations

import asyncio

import structlog

from anya_actors.domain.supervision.backoff import Backoff
from anya_actors.ports.clock import Clock
from anya_actors.ports.event_bus import EventBus
from anya_actors.ports.randomness import Randomness
from anya_actors.ports.state_store import FencedError, StateStore

BATCH = 256
FORGET_EVERY = 1024

_log = structlog.get_logger(__name__)


class EventRelay:
    """Publishes one actor's events in order, from where the bus has them, until it is closed.

    The bus ignores what it already has, so a relay that dies between publishing and remembering
    loses nothing and doubles nothing. Without a bus, events stay in the store.
    """

    def __init__(
        self,
        store: StateStore,
        bus: EventBus | None,
        clock: Clock,
        randomness: Randomness,
        backoff: Backoff,
    ) -> None:
        self._store = store
        self._bus = bus
        self._clock = clock
        self._randomness = randomness
        self._backoff = backoff
        self._news = asyncio.Event()
        self._progressed = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; events committed before are published first."""
        if self._bus is not None:
            self._task = asyncio.create_task(self._run(self._bus))

    def notify(self) -> None:
        """Events were committed."""
        self._news.set()

    async def close(self) -> None:
        """Stop; what is not published yet is published by the next activation."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, bus: EventBus) -> None:
        tries = 0
        while True:
            try:
                cursor = await bus.last_sequence(self._store.actor)
                await self._publish_from(bus, cursor)
            except Exception as error:  # noqa: BLE001 - whatever it was, the events must get there
                if isinstance(error, FencedError) and error.args[0] == self._store.actor:
                    return
                if self._progressed:
                    tries, self._progressed = 0, False
                _log.warning("events wait", actor=self._store.actor, error=str(error), tries=tries + 1)
                await self._clock.sleep(self._backoff.delay_s(tries, self._randomness.uniform()))
                tries += 1

    async def _publish_from(self, bus: EventBus, cursor: int) -> None:
        forgotten = 0
        while True:
            self._news.clear()
            batch = await self._store.events_after(cursor, BATCH)
            if not batch:
                await self._news.wait()
                continue
            cursor = await bus.publish(self._store.actor, batch)
            self._progressed = True
            if cursor - forgotten >= FORGET_EVERY:
                await self._store.forget_events(cursor)
                forgotten = cursor

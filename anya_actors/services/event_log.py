"""The event bus of one platform: a durable log of what every actor published."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

import msgspec

from anya_actors.domain.encoding import Schema
from anya_actors.domain.machine import InvalidInputError, SystemEvent
from anya_actors.ports.clock import Clock
from anya_actors.ports.event_bus import Delivered
from anya_actors.ports.state_store import Commit, Recorded, StateStore

MOST_PER_READ = 1000
LONGEST_WAIT_S = 60.0


class _Source(msgspec.Struct, frozen=True):
    """The highest sequence that the log has of one source."""

    last_sequence: int


class _Entry(msgspec.Struct, frozen=True, array_like=True):
    source: str
    source_sequence: int
    event: bytes


_SOURCE: Schema[_Source] = Schema("event source", _Source)
_ENTRY: Schema[_Entry] = Schema("bus event", _Entry)


class EventLog:
    """`EventBus` over one `StateStore`.

    One commit holds a batch of events and the source's last sequence, so a batch published twice
    is taken once, and an event that was taken is never lost. A consumer keeps the cursor of the
    last event that it has dealt with; delivery is at least once.
    """

    def __init__(self, store: StateStore, clock: Clock, *, keep: int = 100_000) -> None:
        self._store = store
        self._clock = clock
        self._keep = keep
        self._locks: dict[str, asyncio.Lock] = {}
        self._news = asyncio.Event()
        self._head = 0

    async def publish(self, source: str, events: Sequence[Recorded]) -> int:
        """Take the source's new events; return the highest sequence the log has of it."""
        async with self._locks.setdefault(source, asyncio.Lock()):
            return await self._publish(source, events)

    async def announce(self, source: str, schema: Schema[SystemEvent], event: SystemEvent) -> None:
        """Publish one event of a source that lives in the log's own process."""
        async with self._locks.setdefault(source, asyncio.Lock()):
            _, last = await self._source(source)
            await self._publish(source, [Recorded(last + 1, schema.encode(event))])

    async def last_sequence(self, source: str) -> int:
        """The highest sequence that the log has of ``source``, 0 if none."""
        return (await self._source(source))[1]

    async def events_after(self, cursor: int, limit: int, wait_s: float) -> list[Delivered]:
        """Up to ``limit`` events after ``cursor``; waits up to ``wait_s`` for the first."""
        if cursor < 0 or limit < 1:
            raise InvalidInputError("cursor or limit", "a cursor is at least 0, a limit at least 1")
        news = self._news
        found = await self._read(cursor, limit)
        if found or wait_s <= 0:
            return found
        try:
            async with asyncio.timeout(min(wait_s, LONGEST_WAIT_S)):
                await news.wait()
        except TimeoutError:
            return []
        return await self._read(cursor, limit)

    async def head(self) -> int:
        """The newest event's cursor, 0 if there never was one: where "from now on" begins."""
        while batch := await self._store.events_after(self._head, MOST_PER_READ):
            self._head = max(self._head, batch[-1].sequence)
        return self._head

    async def forget_old(self) -> None:
        """Drop events beyond the newest ``keep``, and the ids of publications long done."""
        head = await self.head()
        if head > self._keep:
            await self._store.forget_events(head - self._keep)
        await self._store.forget_replies(self._clock.now_unix_ms() - 3_600_000)

    async def close(self) -> None:
        """Release the store."""
        await self._store.close()

    async def _publish(self, source: str, events: Sequence[Recorded]) -> int:
        version, last = await self._source(source)
        new = [event for event in events if event.sequence > last]
        if not new:
            return last
        if any(a.sequence >= b.sequence for a, b in itertools.pairwise(new)):
            raise InvalidInputError("events", f"{source} published them out of order")
        last = new[-1].sequence
        commit = Commit(
            key=source,
            expected_version=version,
            state=_SOURCE.encode(_Source(last)),
            message_id=f"{source}@{last}",
            events=tuple(_ENTRY.encode(_Entry(source, e.sequence, e.event)) for e in new),
            at_unix_ms=self._clock.now_unix_ms(),
        )
        try:
            await self._store.commit(commit)
        finally:
            # Also when it failed: it may have happened all the same.
            self._news.set()
            self._news = asyncio.Event()
        return last

    async def _read(self, cursor: int, limit: int) -> list[Delivered]:
        batch = await self._store.events_after(cursor, min(limit, MOST_PER_READ))
        delivered = []
        for recorded in batch:
            entry = _ENTRY.decode(recorded.event)
            delivered.append(Delivered(recorded.sequence, entry.source, entry.source_sequence, entry.event))
        return delivered

    async def _source(self, source: str) -> tuple[int, int]:
        stored = await self._store.load(source)
        return (0, 0) if stored is None else (stored.version, _SOURCE.decode(stored.state).last_sequence)

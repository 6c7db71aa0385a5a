"""One reader of the event bus for all listeners of a replica.

A listener holds no queue, only its cursor: it reads from a ring of the newest events that all
share, and from the bus itself while it is further behind. So a thousand slow listeners cost no
more memory than one fast one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import structlog

from anya_actors.domain.machine import AnyaError, InvalidInputError, UnavailableError
from anya_actors.ports.actors import COORDINATOR, Actors
from anya_actors.ports.clock import Clock
from anya_actors.ports.event_bus import Delivered
from anya_actors.serve.errors import TooManyListenersError

PAGE: Final = 256
WAIT_S: Final = 20.0
RETRY_S: Final = 1.0

_log = structlog.get_logger(__name__)
_decode = msgspec.msgpack.Decoder(tuple[int, Any]).decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class FeedItem:
    """One event as every listener gets it."""

    cursor: int
    json: bytes


def feed_item(delivered: Delivered) -> FeedItem:
    """``{"cursor", "source", "event": {"type", ...}}``, byte strings in hex.

    The event is read without knowing its class: a capability's new event needs no change here.
    """
    try:
        _, value = _decode(delivered.event)
        event = _plain(value)
    except msgspec.MsgspecError:
        # A damaged record must not stop those behind it; its cursor still counts.
        event = {"type": "Unreadable", "record": delivered.event.hex()}
    shown = {"cursor": delivered.cursor, "source": delivered.source, "event": event}
    return FeedItem(delivered.cursor, _encode(shown))


class EventFeed:
    """Fans the bus out. The reader runs while somebody listens, and until its question is answered.

    It is not broken off: the coordinator would wait on for each one that came and went.
    """

    def __init__(self, actors: Actors, clock: Clock, *, buffer: int, clients: int) -> None:
        self._actors = actors
        self._clock = clock
        self._clients = clients
        self._listeners = 0
        # The ring holds every event in (base, head].
        self._ring: deque[FeedItem] = deque(maxlen=buffer)
        self._base = 0
        self._head = 0
        self._reader: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._moved = asyncio.Event()
        self.closed = False

    @property
    def listeners(self) -> int:
        """How many listen now."""
        return self._listeners

    @asynccontextmanager
    async def listen(self, after: int | None) -> AsyncIterator[int]:
        """Hold a listener's place; gives the cursor to read from.

        ``after`` is the last cursor that the listener has, or None for what happens from now on.
        Raises `TooManyListenersError`, `InvalidInputError` for a cursor the bus never gave, and
        `UnavailableError`.
        """
        if self.closed:
            raise UnavailableError("the event stream", "this replica is stopping")
        if self._listeners >= self._clients:
            raise TooManyListenersError(self._clients)
        self._listeners += 1
        try:
            await self._start()
            yield await self._first_cursor(after)
        finally:
            self._listeners -= 1

    async def events_after(self, cursor: int) -> list[FeedItem]:
        """Some events after the cursor, in order; waits for one. Empty once the feed is closed."""
        while not self.closed:
            if cursor < self._base:
                older = await self._fetch(cursor, PAGE, 0.0)
                if older:
                    return [feed_item(delivered) for delivered in older]
                cursor = self._base  # the bus no longer has what was between
            if cursor < self._head:
                return self._newer_than(cursor)
            await self._moved.wait()
        return []

    async def close(self) -> None:
        """End every listener's stream."""
        self.closed = True
        self._moved.set()
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _first_cursor(self, after: int | None) -> int:
        if after is None:
            return self._head
        # Another replica may have read further than this one, so ask the bus before refusing.
        if after > self._head and not await self._fetch(after - 1, 1, 0.0):
            raise InvalidInputError("after", f"it is beyond the newest event, {self._head}")
        return after

    async def _start(self) -> None:
        async with self._starting:
            if self._reader is None or self._reader.done():
                head = int(await self._actors.call(COORDINATOR, "events_head"))
                self._ring.clear()
                self._base = self._head = head
                self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while self._listeners > 0:
            try:
                found = await self._fetch(self._head, PAGE, WAIT_S)
            except Exception as error:  # noqa: BLE001 - all listeners hang on this one loop
                cause = error.code if isinstance(error, AnyaError) else repr(error)
                _log.warning("the event bus cannot be read", cause=cause)
                await self._clock.sleep(RETRY_S)
                continue
            for delivered in found:
                self._take(feed_item(delivered))
            if found:
                self._moved.set()
                self._moved = asyncio.Event()

    def _newer_than(self, cursor: int) -> list[FeedItem]:
        # From the new end: a listener that keeps up lacks one or two of thousands.
        newer: list[FeedItem] = []
        for item in reversed(self._ring):
            if item.cursor <= cursor:
                break
            newer.append(item)
        newer.reverse()
        return newer[:PAGE]

    def _take(self, item: FeedItem) -> None:
        if len(self._ring) == self._ring.maxlen:
            self._base = self._ring[0].cursor
        self._ring.append(item)
        self._head = item.cursor

    async def _fetch(self, cursor: int, limit: int, wait_s: float) -> list[Delivered]:
        found: list[Delivered] = await self._actors.call(
            COORDINATOR, "events_after", cursor, limit, wait_s, timeout_s=wait_s + 10.0
        )
        return found


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value

"""What WebSocket and SSE listeners have in common: reading on until there is a reason to end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from anya_actors.domain.machine import AnyaError
from anya_actors.serve.caller import Caller
from anya_actors.serve.event_feed import FeedItem
from anya_actors.services.tokens import RevokedTokenError

CURSOR_HEADER: Final = "Anya-Event-Cursor"
# Stores number events in 64 bits.
MAX_CURSOR_DIGITS: Final = 18
# A connection that is being dropped gets this long to take the reason.
PARTING_S: Final = 1.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a stream ended. ``code`` is the WebSocket close code (RFC 6455, section 7.4)."""

    code: int
    reason: str


STOPPING: Final = Ending(1001, "stopping: connect again and resume after your last cursor")
UNEXPECTED_DATA: Final = Ending(1003, "unexpected-data: this channel takes no messages")
UNAVAILABLE: Final = Ending(1013, "unavailable: connect again later and resume after your last cursor")
EXPIRED: Final = Ending(4401, "expired-token: connect again with a new token")
REVOKED: Final = Ending(4401, "revoked-token: connect again with a new token")
TOO_SLOW: Final = Ending(4408, "too-slow: resume after your last cursor and read faster")
GONE: Final = Ending(1006, "gone")

ENDINGS: Final = (STOPPING, UNEXPECTED_DATA, UNAVAILABLE, EXPIRED, REVOKED, TOO_SLOW)


def is_cursor(text: str) -> bool:
    """Whether the text can be the cursor of an event."""
    return text.isascii() and text.isdigit() and len(text) <= MAX_CURSOR_DIGITS


async def pump(
    caller: Caller,
    cursor: int,
    send: Callable[[Sequence[FeedItem]], Awaitable[None]],
    beat: Callable[[], Awaitable[None]],
) -> Ending:
    """Send every event after ``cursor`` until the token ends, the listener stalls or we stop."""
    door = caller.door
    settings = door.settings
    while True:
        left_s = caller.claims.expires_unix_s - door.clock.now_unix_ms() / 1000
        if left_s <= 0:
            return EXPIRED
        try:
            items = await _within(min(settings.event_heartbeat_s, left_s), door.feed.events_after(cursor))
            if items is not None and not items:
                return STOPPING
            await door.authenticator.check_revoked(caller.claims)
        except RevokedTokenError:
            return REVOKED
        except AnyaError as error:
            _log.warning("a listener's events cannot be read", cause=error.code)
            return UNAVAILABLE
        sending = beat() if items is None else send(items)
        try:
            async with asyncio.timeout(settings.event_send_timeout_s):
                await sending
        except TimeoutError:
            return TOO_SLOW
        if items:
            cursor = items[-1].cursor


async def first_of(pumping: Awaitable[Ending], watching: Awaitable[Ending]) -> Ending:
    """The ending that comes first: ours, or the listener's going away."""
    tasks = [asyncio.ensure_future(pumping), asyncio.ensure_future(watching)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return next(task for task in tasks if task in done).result()


def count_ending(caller: Caller, ending: Ending) -> None:
    """Count a listener that we dropped."""
    if ending is not GONE:
        caller.door.metrics.listeners_dropped.labels(ending.reason.partition(":")[0]).inc()


async def _within(timeout_s: float, reading: Awaitable[list[FeedItem]]) -> list[FeedItem] | None:
    """What was read, or None if the time ended first."""
    try:
        async with asyncio.timeout(timeout_s):
            return await reading
    except TimeoutError:
        return None

"""The latest picture of the platform, without a hop to the coordinator for each request."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec
import structlog

from anya_actors.domain.machine import AnyaError, UnavailableError
from anya_actors.ports.actors import COORDINATOR, Actors
from anya_actors.ports.clock import Clock

RETRY_S: Final = 0.5
# Beyond the time that the coordinator was asked to wait.
ANSWER_S: Final = 5.0
_PICTURE: Final = "the picture of the platform"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SystemSnapshot:
    """One picture: as JSON, and as plain values for the parts of it."""

    json: bytes
    value: Mapping[str, Any]

    @classmethod
    def of(cls, view: Any) -> SystemSnapshot:
        """From the coordinator's answer."""
        json = msgspec.json.encode(view)
        return cls(json, msgspec.json.decode(json))


class SystemSource(Protocol):
    """Gives the latest snapshot."""

    async def snapshot(self) -> SystemSnapshot:
        """The platform as of a moment ago. Raises `UnavailableError` when that cannot be known."""

    async def close(self) -> None:
        """Stop whatever keeps the snapshot fresh."""


class CoordinatorSystem:
    """Follows the coordinator for as long as somebody asks, so that no request waits for it.

    One call is always under way; the coordinator answers it at the next change, or after
    ``wait_s`` to say that there was none. After ``linger_s`` without a question it is let go.
    """

    def __init__(
        self,
        actors: Actors,
        clock: Clock,
        *,
        wait_s: float = 5.0,
        stale_s: float = 10.0,
        linger_s: float = 60.0,
    ) -> None:
        self._actors = actors
        self._clock = clock
        self._wait_s = wait_s
        self._stale_s = stale_s
        self._linger_s = linger_s
        self._snapshot: SystemSnapshot | None = None
        self._confirmed_s = -math.inf
        self._asked_s = -math.inf
        self._next: asyncio.Future[SystemSnapshot] | None = None
        self._follower: asyncio.Task[None] | None = None
        self._failure: str | None = None

    async def snapshot(self) -> SystemSnapshot:
        now_s = self._asked_s = self._clock.monotonic_s()
        latest = self._snapshot
        if latest is not None and now_s - self._confirmed_s <= self._stale_s:
            return latest
        if self._failure is not None:
            # Told at once; the follower goes on asking.
            raise UnavailableError(_PICTURE, self._failure)
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        if self._follower is None or self._follower.done():
            self._follower = asyncio.create_task(self._follow())
        # Shielded: a caller that goes away must not take the answer from the others.
        return await asyncio.shield(self._next)

    async def close(self) -> None:
        """Stop following."""
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.gather(self._follower, return_exceptions=True)

    async def _follow(self) -> None:
        epoch, version = -1, -1
        try:
            while self._clock.monotonic_s() - self._asked_s <= self._linger_s:
                try:
                    view = await self._ask(epoch, version)
                except AnyaError as error:
                    _log.warning("the coordinator cannot be asked", cause=error.code)
                    self._fail(error.code)
                    await self._clock.sleep(RETRY_S)
                else:
                    epoch, version = view.coordinator_epoch, view.version
                    self._take(SystemSnapshot.of(view))
        finally:
            # What nobody renews must not be shown later.
            self._snapshot = None
            self._fail("nobody follows it now")
            self._failure = None

    async def _ask(self, epoch: int, version: int) -> Any:
        wait_s = 0.0 if self._snapshot is None else self._wait_s
        return await self._actors.call(
            COORDINATOR, "system_after", epoch, version, wait_s, timeout_s=self._wait_s + ANSWER_S
        )

    def _take(self, snapshot: SystemSnapshot) -> None:
        self._snapshot = snapshot
        self._failure = None
        self._confirmed_s = self._clock.monotonic_s()
        waiting, self._next = self._next, None
        if waiting is not None:
            waiting.set_result(snapshot)

    def _fail(self, why: str) -> None:
        self._failure = why
        waiting, self._next = self._next, None
        if waiting is not None:
            waiting.set_exception(UnavailableError(_PICTURE, why))
            # Seen, also if every caller has gone away by now.
            waiting.exception()

"""The latest picture of the platform, without a hop to the coordinator for each request."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec
import structlog

from anya_actors.domain.machine import AnyaError
from anya_actors.ports.actors import Actors
from anya_actors.ports.clock import Clock

COORDINATOR: Final = "coordinator"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SystemSnapshot:
    """One picture: as JSON, and as plain values for the parts of it."""

    json: bytes
    value: Mapping[str, Any]

    @classmethod
    def of(cls, view: Any) -> SystemSnapshot:
        """From the coordinator's answer, any struct or mapping."""
        json = msgspec.json.encode(view)
        return cls(json, msgspec.json.decode(json))


class SystemSource(Protocol):
    """Gives the latest snapshot."""

    async def snapshot(self) -> SystemSnapshot:
        """The platform as of a moment ago. Raises `UnavailableError` when that cannot be known."""


class CoordinatorSystem:
    """Asks the coordinator, at most once per ``fresh_s``, and only while somebody asks us.

    A snapshot older than ``fresh_s`` is answered at once and renewed behind the answer; one older
    than ``stale_s`` is renewed first.
    """

    def __init__(
        self, actors: Actors, clock: Clock, *, fresh_s: float, stale_s: float, timeout_s: float = 5.0
    ) -> None:
        self._actors = actors
        self._clock = clock
        self._fresh_s = fresh_s
        self._stale_s = stale_s
        self._timeout_s = timeout_s
        self._snapshot: SystemSnapshot | None = None
        self._taken_s = -math.inf
        self._renewal: asyncio.Task[SystemSnapshot] | None = None

    async def snapshot(self) -> SystemSnapshot:
        age_s = self._clock.monotonic_s() - self._taken_s
        latest = self._snapshot
        if latest is not None and age_s <= self._fresh_s:
            return latest
        renewal = self._renew()
        if latest is not None and age_s <= self._stale_s:
            return latest
        # Shielded: a caller that goes away must not take the answer from the others.
        return await asyncio.shield(renewal)

    def _renew(self) -> asyncio.Task[SystemSnapshot]:
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._ask())
            self._renewal.add_done_callback(_log_failure)
        return self._renewal

    async def _ask(self) -> SystemSnapshot:
        asked_s = self._clock.monotonic_s()
        view = await self._actors.call(COORDINATOR, "system", timeout_s=self._timeout_s)
        self._snapshot = SystemSnapshot.of(view)
        # Dated when it was asked for: the picture may be that old.
        self._taken_s = asked_s
        return self._snapshot


def _log_failure(renewal: asyncio.Task[SystemSnapshot]) -> None:
    # Reading the exception also tells asyncio that it was seen when no caller waits for it.
    if renewal.cancelled():
        return
    error = renewal.exception()
    if error is not None:
        code = error.code if isinstance(error, AnyaError) else type(error).__name__
        _log.warning("the coordinator's snapshot could not be renewed", cause=code)

"""Processes that wait, prepared, to take the place of a critical actor that dies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from anya_actors.coordinator.launcher import end, reason
from anya_actors.coordinator.processes import Process
from anya_actors.domain.supervision.backoff import Backoff
from anya_actors.ports.clock import Clock
from anya_actors.ports.randomness import Randomness

_log = structlog.get_logger(__name__)


class Standbys:
    """At most one standby of each actor; one that dies or cannot start is replaced, with backoff.

    A standby is begun ``delay_s`` after its actor serves: it must not compete with a boot.
    """

    def __init__(
        self,
        launch: Callable[[str], Awaitable[Process]],
        prepare_timeout_s: Callable[[str], float],
        clock: Clock,
        randomness: Randomness,
        backoff: Backoff,
        delay_s: float = 0.0,
    ) -> None:
        self._launch = launch
        self._prepare_timeout_s = prepare_timeout_s
        self._clock = clock
        self._randomness = randomness
        self._backoff = backoff
        self._delay_s = delay_s
        self._preparing: dict[str, asyncio.Task[None]] = {}
        self._ready: dict[str, tuple[Process, asyncio.Task[None]]] = {}
        self._closing = False

    def ready(self) -> set[str]:
        """The actors whose standby is ready."""
        return set(self._ready)

    def keep(self, actor: str, found: Process | None = None) -> None:
        """See that ``actor`` has a standby; ``found`` is one that a dead supervisor left."""
        if actor not in self._ready and actor not in self._preparing and not self._closing:
            self._preparing[actor] = asyncio.create_task(self._prepare(actor, found))

    def take(self, actor: str) -> Process | None:
        """The actor's standby if one is ready; it is the caller's from now on."""
        process, watching = self._ready.pop(actor, (None, None))
        if watching is not None:
            watching.cancel()
        return process

    async def drop(self, actor: str) -> None:
        """Keep no standby of ``actor`` any more."""
        preparing = self._preparing.pop(actor, None)
        if preparing is not None:
            preparing.cancel()
            await asyncio.gather(preparing, return_exceptions=True)
        process = self.take(actor)
        if process is not None:
            await end(process)

    async def close(self) -> None:
        """Drop all, and keep none any more."""
        self._closing = True
        await asyncio.gather(*(self.drop(actor) for actor in {*self._preparing, *self._ready}))

    async def _prepare(self, actor: str, process: Process | None) -> None:
        tries = 0
        if process is None:
            await self._clock.sleep(self._delay_s)
        while True:
            try:
                async with asyncio.timeout(self._prepare_timeout_s(actor)):
                    if process is None:
                        process = await self._launch(actor)
                    await process.prepare()
            except BaseException as error:
                if process is not None:
                    await end(process)
                process = None
                if not isinstance(error, Exception):
                    raise
                # Without a standby the next restart is only slower.
                _log.warning("standby failed", actor=actor, error=reason(error))
                await self._clock.sleep(self._backoff.delay_s(tries, self._randomness.uniform()))
                tries += 1
            else:
                self._preparing.pop(actor, None)
                self._ready[actor] = process, asyncio.create_task(self._watch(actor, process))
                return

    async def _watch(self, actor: str, process: Process) -> None:
        try:
            await process.wait_death()
        except Exception as error:  # noqa: BLE001 - a standby that cannot be watched is none
            _log.warning("standby lost", actor=actor, error=reason(error))
        if self._ready.get(actor, (None, None))[0] is process:
            del self._ready[actor]
            await end(process)
            self.keep(actor)

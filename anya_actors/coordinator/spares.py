"""Hosts that wait for whoever is launched next: one for any actor, and some prepared for one kind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, Generic, Protocol, TypeVar

import structlog

from anya_actors.coordinator.kinds import Kind
from anya_actors.coordinator.launcher import reason
from anya_actors.domain.supervision.backoff import Backoff
from anya_actors.ports.clock import Clock
from anya_actors.ports.randomness import Randomness

_log = structlog.get_logger(__name__)

ANY: Final = ""  # the pool of the spare that any actor may take
FIRST_AFTER_S: Final = 10.0  # not in the middle of a boot
AFTER_LAUNCH_S: Final = 2.0  # nor of a recovery
AFTER_WARM_LAUNCH_S: Final = 0.5  # a kind that keeps prepared hosts is launched all day
LONGEST_MAKING_S: Final = 60.0


class Spare(Protocol):
    """A host that has not become an actor yet."""

    async def wait_death(self) -> None:
        """Return when its process is dead."""

    def kill(self) -> None:
        """End it."""


H = TypeVar("H", bound=Spare)


class Spares(Generic[H]):
    """Keeps one host for any actor, and ``warm`` prepared hosts of each kind that asks for them.

    ``make`` brings up one host, prepared for a kind or for any, and leaves no process when it fails
    or is cancelled. One is made at a time, and none within `AFTER_LAUNCH_S` of the last launch: a
    recovery breaks off what is being made.
    """

    def __init__(
        self,
        make: Callable[[Kind | None], Awaitable[H]],
        kinds: Iterable[Kind],
        clock: Clock,
        randomness: Randomness,
        backoff: Backoff,
    ) -> None:
        self._make = make
        self._kinds = {kind.name: kind for kind in kinds if kind.warm > 0}
        self._clock = clock
        self._randomness = randomness
        self._backoff = backoff
        self._ready: dict[str, dict[H, asyncio.Task[None]]] = {ANY: {}, **{name: {} for name in self._kinds}}
        self._filling: asyncio.Task[None] | None = None
        self._failures = 0
        self._not_before_s = clock.monotonic_s() + FIRST_AFTER_S
        self._closed = False

    def ready(self) -> dict[str, int]:
        """How many hosts wait, by the kind that they are prepared for; `ANY` for the one that is not."""
        return {name: len(pool) for name, pool in self._ready.items()}

    def take(self, kind: Kind, fits: Callable[[H], bool]) -> H | None:
        """A host for an actor of ``kind``, prepared if there is one; it is the caller's from now on.

        Call it for every launch: it also puts off the making of new ones.
        """
        found = self._pop(kind.name, fits) or self._pop(ANY, fits)
        warm = kind.name in self._kinds
        if not warm and self._filling is not None:
            self._filling.cancel()
            self._filling = None
        self._put_off(AFTER_WARM_LAUNCH_S if warm else AFTER_LAUNCH_S)
        self.fill()
        return found

    def fill(self) -> None:
        """See that everything that is missing is made, in time."""
        if not self._closed and (self._filling is None or self._filling.done()):
            self._filling = asyncio.create_task(self._fill())

    async def close(self) -> None:
        """End all, and keep none any more."""
        self._closed = True
        tasks = [watching for pool in self._ready.values() for watching in pool.values()]
        if self._filling is not None:
            tasks.append(self._filling)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for pool in self._ready.values():
            for host in pool:
                host.kill()
            pool.clear()

    def _pop(self, name: str, fits: Callable[[H], bool]) -> H | None:
        pool = self._ready.get(name, {})
        for host, watching in pool.items():
            if fits(host):
                del pool[host]
                watching.cancel()
                return host
        return None

    def _put_off(self, delay_s: float) -> None:
        self._not_before_s = max(self._not_before_s, self._clock.monotonic_s() + delay_s)

    def _missing(self) -> str | None:
        for name, pool in self._ready.items():
            if len(pool) < (1 if name == ANY else self._kinds[name].warm):
                return name
        return None

    async def _fill(self) -> None:
        while True:
            while (left_s := self._not_before_s - self._clock.monotonic_s()) > 0:
                await self._clock.sleep(left_s)
            name = self._missing()
            if name is None:
                return
            try:
                async with asyncio.timeout(LONGEST_MAKING_S):
                    host = await self._make(self._kinds.get(name))
            except Exception as error:  # noqa: BLE001 - without a spare the next launch is only slower
                _log.warning("no spare host", kind=name, error=reason(error))
                self._put_off(self._backoff.delay_s(self._failures, self._randomness.uniform()))
                self._failures += 1
            else:
                self._failures = 0
                self._ready[name][host] = asyncio.create_task(self._watch(name, host))

    async def _watch(self, name: str, host: H) -> None:
        try:
            await host.wait_death()
        except Exception as error:  # noqa: BLE001 - one that cannot be watched is none
            _log.warning("spare host lost", kind=name, error=reason(error))
        if self._ready[name].pop(host, None) is not None:
            host.kill()
            self._put_off(AFTER_LAUNCH_S)  # one that dies as soon as it is up must not be made all the time
            self.fill()

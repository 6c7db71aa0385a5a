"""The coordinator: the root supervisor, the registry and the event bus in one Ray actor.

Ray restarts this one actor for ever (``max_restarts=-1``); it restarts all others itself. What
survives its crash: every child it had started (adopted by the label in the journal), every event
on the bus, every cursor. What does not: nothing; callers wait for it meanwhile.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog

from anya_actors import __version__
from anya_actors.actors.logs import configure_logs
from anya_actors.coordinator.client import connect
from anya_actors.coordinator.health import HealthPolicy
from anya_actors.coordinator.journal import Journal
from anya_actors.coordinator.kinds import Kind, Kinds
from anya_actors.coordinator.ray_processes import RayProcesses
from anya_actors.coordinator.supervisor import Supervisor
from anya_actors.coordinator.views import SystemView, actor_views, supervisor_view
from anya_actors.domain.machine import AnyaError, SystemEvent
from anya_actors.domain.supervision.events import SUPERVISION_EVENT
from anya_actors.domain.supervision.spec import SupervisorSpec
from anya_actors.ports.actors import COORDINATOR
from anya_actors.ports.clock import Clock
from anya_actors.ports.event_bus import Delivered
from anya_actors.ports.randomness import Randomness
from anya_actors.ports.state_store import FencedError, Recorded, StateStore, StateStores
from anya_actors.services.event_log import EventLog

_log = structlog.get_logger(__name__)

JOURNAL_ACTOR = "coordinator/journal"
EVENTS_ACTOR = "coordinator/events"
LONGEST_LOCATE_S = 60.0
RETRY_START_S = 5.0
STANDBY_AFTER_S = 2.0
FORGET_EVERY_S = 600.0
FLOCK_S = 0.1


def nothing() -> None:
    """A process that imports nothing in advance."""


@dataclass(frozen=True)
class Plan:
    """All that the coordinator must know. Picklable; ``stores``, ``clock`` and ``randomness`` make theirs.

    ``warm_up`` imports, in a host's process, what every actor will need.
    ``settings`` are shown to whoever may read the system: no secret may be in them.
    """

    tree: SupervisorSpec
    kinds: Mapping[str, Kind]
    stores: Callable[[], StateStores]
    clock: Callable[[], Clock]
    randomness: Callable[[], Randomness]
    health: HealthPolicy = field(default_factory=HealthPolicy)
    settings: Mapping[str, Any] = field(default_factory=dict)
    warm_up: Callable[[], None] = nothing


class Coordinator:
    """The Ray actor named ``coordinator``."""

    def __init__(self, plan: Plan) -> None:
        configure_logs(**plan.settings.get("log", {}))
        self._plan = plan
        self._clock = plan.clock()
        self._announcements: asyncio.Queue[SystemEvent] = asyncio.Queue()
        self._down = asyncio.Event()
        # Ray runs this again after a crash, and nobody else may call first.
        self._boot = asyncio.get_running_loop().create_task(self._start_or_end())

    async def _start_or_end(self) -> None:
        try:
            await self._start()
        except Exception:
            _log.exception("the coordinator could not start")
            # Whoever asks within this time is told why; then Ray tries again with a new process.
            asyncio.get_running_loop().call_later(RETRY_START_S, os._exit, 1)
            raise

    async def _start(self) -> None:
        plan = self._plan
        stores = plan.stores()
        self._journal_store: StateStore = await stores.activate(JOURNAL_ACTOR)
        self._events = EventLog(await stores.activate(EVENTS_ACTOR), self._clock)
        kinds = Kinds(plan.kinds)
        self._processes = RayProcesses(kinds, connect, plan.warm_up, self._clock, plan.randomness())
        self._supervisor = Supervisor(
            plan.tree,
            kinds,
            processes=self._processes,
            journal=Journal(self._journal_store),
            clock=self._clock,
            randomness=plan.randomness(),
            health=plan.health,
            announce=self._announcements.put_nowait,
            standby_delay_s=STANDBY_AFTER_S,
        )
        self._started_unix_ms = self._clock.now_unix_ms()
        loop = asyncio.get_running_loop()
        self._chores = [loop.create_task(self._announce()), loop.create_task(self._forget())]
        await self._supervisor.start()

    # -- registry -----------------------------------------------------------------------------

    async def ready(self) -> None:
        """Return when the coordinator itself has started; raise what kept it from it."""
        await asyncio.shield(self._boot)

    async def locate(self, actor: str, timeout_s: float) -> Any:
        """The handle of the process of ``actor``; see `Supervisor.locate`."""
        await self.ready()
        return (await self._supervisor.locate(actor, min(timeout_s, LONGEST_LOCATE_S))).handle

    async def passivate(self, actor: str) -> None:
        """Stop a virtual actor gracefully; the next call to it brings it back."""
        await self.ready()
        self._supervisor.remove(actor)

    # -- what the platform tells of itself ------------------------------------------------------

    async def system(self) -> SystemView:
        """The tree, the actors and the settings, now."""
        await self.ready()
        tree, supervisor = self._supervisor.tree, self._supervisor
        actors = actor_views(tree, supervisor.active(), supervisor.standbys())
        return SystemView(
            name="anya_actors",
            platform_version=__version__,
            phase=tree.phase.value,
            version=supervisor.changes.version,
            coordinator_pid=os.getpid(),
            coordinator_epoch=self._journal_store.epoch,
            started_unix_ms=self._started_unix_ms,
            restarts=sum(actor.restarts for actor in actors),
            kinds=tuple(sorted(self._plan.kinds)),
            tree=supervisor_view(tree.spec, tree),
            actors=actors,
            settings=dict(self._plan.settings),
            spares=self._processes.spares(),
        )

    async def system_after(self, epoch: int, version: int, wait_s: float) -> SystemView:
        """`system` as soon as it differs from ``version`` of this ``epoch``, or after ``wait_s``."""
        await self.ready()
        if epoch == self._journal_store.epoch:
            await self._supervisor.changes.wait(version, min(wait_s, LONGEST_LOCATE_S))
            # Changes come in flocks, and whoever is told is not to compete with what is being started.
            await self._clock.sleep(FLOCK_S)
        return await self.system()

    async def failures(self) -> dict[str, AnyaError]:
        """Why each actor that does not serve now could not be started the last time."""
        await self.ready()
        return dict(self._supervisor.failures)

    # -- event bus ------------------------------------------------------------------------------

    async def publish(self, source: str, events: Sequence[Recorded]) -> int:
        """See `EventLog.publish`."""
        await self.ready()
        return int(await self._or_end(self._events.publish(source, events)))

    async def last_sequence(self, source: str) -> int:
        """See `EventLog.last_sequence`."""
        await self.ready()
        return await self._events.last_sequence(source)

    async def events_after(self, cursor: int, limit: int, wait_s: float) -> list[Delivered]:
        """See `EventLog.events_after`."""
        await self.ready()
        return await self._events.events_after(cursor, limit, wait_s)

    async def events_head(self) -> int:
        """The newest event's cursor."""
        await self.ready()
        return await self._events.head()

    # -- the end --------------------------------------------------------------------------------

    async def shutdown(self) -> None:
        """Stop every child, youngest first, then release the stores."""
        await self.ready()
        await self._supervisor.stop()
        await self._processes.close()
        for chore in self._chores:
            chore.cancel()
        await self._events.close()
        await self._journal_store.close()

    async def _announce(self) -> None:
        while True:
            event = await self._announcements.get()
            await self._persist(partial(self._events.announce, COORDINATOR, SUPERVISION_EVENT, event))

    async def _forget(self) -> None:
        while True:
            await self._persist(self._events.forget_old)
            await self._clock.sleep(FORGET_EVERY_S)

    async def _persist(self, work: Callable[[], Awaitable[object]]) -> None:
        """Try until it succeeds: a full disk is a matter of time."""
        while True:
            try:
                await self._or_end(work())
            except Exception as error:  # noqa: BLE001 - whatever it was, the chore must go on
                _log.warning("the event log waits", error=str(error))
                await self._clock.sleep(RETRY_START_S)
            else:
                return

    async def _or_end(self, work: Any) -> Any:
        """Two coordinators must never act: one that is fenced ends itself."""
        try:
            return await work
        except FencedError:
            _log.error("fenced: another coordinator has taken over")
            os._exit(1)

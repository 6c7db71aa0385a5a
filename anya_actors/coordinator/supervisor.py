"""Performs what the supervision machine decides, on any `Processes`. Knows no Ray.

Every child has one sentinel, a call that never ends while the child lives. Every start is written
to the journal before it happens, so that a restarted supervisor adopts the living children
instead of starting twins.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import structlog

from anya_actors.coordinator.changes import Changes
from anya_actors.coordinator.health import Active, HealthPolicy, HealthWatch
from anya_actors.coordinator.journal import Journal
from anya_actors.coordinator.kinds import Kinds
from anya_actors.coordinator.launcher import Found, Launcher, end, reason, stop_or_end
from anya_actors.coordinator.processes import Health, Identity, Process, Processes, StartFailedError
from anya_actors.coordinator.standbys import Standbys
from anya_actors.domain.machine import AnyaError, Event, OverloadedError, SystemEvent, UnavailableError
from anya_actors.domain.supervision.events import ActorFailed, ActorStarted, SupervisorGaveUp
from anya_actors.domain.supervision.machine import (
    ChildAdded,
    ChildAdopted,
    ChildFailed,
    ChildRemoved,
    ChildStarted,
    ChildStopped,
    GiveUp,
    ShutdownRequested,
    StartChild,
    StartRequested,
    StopChild,
    step,
)
from anya_actors.domain.supervision.spec import ChildSpec, Restart, SupervisorSpec
from anya_actors.domain.supervision.tree import Phase, Status, Tree, plant
from anya_actors.ports.actors import UnknownActorError
from anya_actors.ports.clock import Clock
from anya_actors.ports.randomness import Randomness

_log = structlog.get_logger(__name__)


class Supervisor:
    """Keeps the tree of ``spec`` and the actors of ``kinds`` alive. One event loop."""

    def __init__(
        self,
        spec: SupervisorSpec,
        kinds: Kinds,
        *,
        processes: Processes,
        journal: Journal,
        clock: Clock,
        randomness: Randomness,
        health: HealthPolicy,
        announce: Callable[[SystemEvent], None],
        standby_delay_s: float = 0.0,
    ) -> None:
        self._tree: Tree = plant(spec)
        self._nodes = {node.name: node for node in spec.supervisors()}
        self._static = {leaf.name: leaf for leaf in spec.leaves()}
        self._kinds = kinds
        self._clock = clock
        self._randomness = randomness
        self._health = health
        self._announce = announce
        self._active: dict[str, Active] = {}
        self._launcher = Launcher(processes, journal)
        self._standbys = Standbys(
            lambda name: self._launch(name, as_standby=True),
            lambda name: self._spec(name).start_timeout_s,
            clock,
            randomness,
            spec.backoff,
            standby_delay_s,
        )
        self._ending: dict[str, asyncio.Task[None]] = {}
        self._waiting: dict[str, asyncio.Future[Process]] = {}
        self._coming: dict[str, Process] = {}
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.changes = Changes()
        """Of the tree."""
        self.failures: dict[str, AnyaError] = {}
        """Why each child that does not serve now could not be started the last time."""

    # -- life ---------------------------------------------------------------------------------

    async def start(self) -> None:
        """Adopt what a dead predecessor left alive, then start the rest."""
        for found in await self._launcher.find_living(self._health.timeout_s):
            await self._adopt(found)
        self._apply(StartRequested())
        watch = HealthWatch(
            self._health,
            self._clock,
            self._active,
            healthy=self._is_healthy,
            unhealthy=self._is_unhealthy,
        )
        self._spawn(watch.run())

    async def stop(self) -> None:
        """Stop every child, youngest first, and return when all are gone."""
        self._apply(ShutdownRequested())
        await self.changes.wait_for(self._is_down)
        await self._standbys.close()
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._launcher.close()

    @property
    def tree(self) -> Tree:
        """The machine's state now."""
        return self._tree

    def active(self) -> Mapping[str, Active]:
        """The children that serve now, by name."""
        return self._active

    def standbys(self) -> set[str]:
        """The actors that have a standby process ready."""
        return self._standbys.ready()

    async def locate(self, actor: str, timeout_s: float) -> Process:
        """The actor's serving process; the first call to a virtual actor starts it.

        That of a warm kind is given before it serves; it keeps its calls until then. Raises
        `UnknownActorError`, `OverloadedError` (too many of its kind), `StartFailedError`,
        or `UnavailableError` when it is not there in time.
        """
        if actor in self._active:
            return self._active[actor].process
        if actor in self._coming:
            return self._coming[actor]
        if self._tree.phase not in (Phase.IDLE, Phase.RUNNING):
            raise UnavailableError(actor, f"the platform is {self._tree.phase.value}")
        if actor not in self._tree.children:
            self._add(actor)
        future = self._waiting.get(actor)
        if future is None:
            self._waiting[actor] = future = asyncio.get_running_loop().create_future()
            future.add_done_callback(_retrieve)
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.shield(future)
        except TimeoutError:
            status = self._tree.children[actor].status.value if actor in self._tree.children else "stopped"
            raise UnavailableError(actor, f"it is {status}") from None

    def remove(self, actor: str) -> None:
        """Passivate a virtual actor: stop it gracefully and forget it until it is called again."""
        if actor in self._tree.children and actor not in self._static:
            self._apply(ChildRemoved(actor))

    def _add(self, actor: str) -> None:
        if actor in self._static:
            raise UnavailableError(actor, "it has ended, and is one that is not started again")
        kind = self._kinds.kind_of(actor)
        if kind is None or kind.supervisor is None:
            raise UnknownActorError(actor)
        living = sum(1 for name in self._tree.children if name.startswith(f"{kind.name}/"))
        if living >= kind.most_active:
            raise OverloadedError(f"{kind.name}/*", living)
        if self._tree.phase is not Phase.RUNNING:
            raise UnavailableError(actor, f"the platform is {self._tree.phase.value}")
        self._apply(ChildAdded(kind.supervisor, actor, kind.restart.value))

    async def _adopt(self, found: Found) -> None:
        name, process, identity = found.entry.actor, found.process, found.identity
        kind = self._kinds.kind_of(name)
        if (
            kind is not None
            and kind.supervisor is not None
            and name not in self._static
            # A dead one may owe something, unless its kind lets the dead rest.
            and (identity is not None or kind.restart is Restart.PERMANENT)
        ):
            self._apply(ChildAdded(kind.supervisor, name, kind.restart.value))
        if name not in self._tree.children:  # nobody wants it any more
            await asyncio.gather(*(end(left) for left in (process, found.standby) if left is not None))
            await self._launcher.forget(name)
            return
        if process is not None and identity is not None:
            self._apply(ChildAdopted(name, self._clock.monotonic_s(), found.entry.restarts))
            self._serve(name, process, identity)
        elif process is not None:
            await end(process)
        if self._spec(name).critical:
            self._standbys.keep(name, found.standby)
        elif found.standby is not None:
            await end(found.standby)

    # -- the machine --------------------------------------------------------------------------

    def _apply(self, event: Event) -> None:
        if self._launcher.superseded:
            return  # a newer supervisor decides; ours must not stop what is now its children
        outcome = step(self._tree, event)
        self._tree = outcome.state
        for command in outcome.commands:
            if isinstance(command, StartChild):
                self._starting[command.name] = self._spawn(self._start_child(command))
            elif isinstance(command, StopChild):
                self._spawn(self._stop_child(command.name))
            elif isinstance(command, GiveUp):
                self._announce(SupervisorGaveUp(command.supervisor))
        self.changes.tell()

    def _is_down(self) -> bool:
        # Not only condemned: nothing of ours may still run.
        return self._tree.phase in (Phase.STOPPED, Phase.GAVE_UP) and not any(
            child.status is not Status.STOPPED for child in self._tree.children.values()
        )

    async def _start_child(self, command: StartChild) -> None:
        name = command.name
        process: Process | None = None
        try:
            if command.attempt > 0:
                backoff = self._nodes[self._tree.child(name).supervisor].backoff
                await self._clock.sleep(backoff.delay_s(command.attempt - 1, self._randomness.uniform()))
            async with asyncio.timeout(self._spec(name).start_timeout_s):
                await self._ended(name)
                process = await self._take_standby(name) or await self._launch(name)
                identity = await self._activated(name, process)
        except BaseException as error:
            if process is not None:
                await end(process)
            if not isinstance(error, Exception):
                raise
            self._start_failed(name, error)  # whatever it was, the machine decides what follows
            return
        finally:
            # A failed start may have the next one under way already: that is not ours to forget.
            if self._starting.get(name) is asyncio.current_task():
                del self._starting[name]
        self._serve(name, process, identity)
        self._apply(ChildStarted(name, self._clock.monotonic_s()))
        if self._spec(name).critical:
            self._standbys.keep(name)

    async def _activated(self, name: str, process: Process) -> Identity:
        if not self._kinds.is_warm(name):
            return await process.activate()
        self._coming[name] = process
        self._answer(name, process)
        try:
            return await process.activate()
        finally:
            del self._coming[name]

    def _start_failed(self, name: str, error: Exception) -> None:
        typed = error if isinstance(error, AnyaError) else StartFailedError(name, reason(error))
        self.failures[name] = typed
        self._announce(ActorFailed(name, reason(error)))
        _log.warning("start failed", actor=name, error=reason(error))
        never_served = name not in self._static and self._tree.child(name).restarts == 0
        if never_served:
            self._refuse(name, typed)
            self.failures.pop(name)
            self._apply(ChildRemoved(name))
        else:
            self._apply(ChildFailed(name, self._clock.monotonic_s()))

    def _refuse(self, name: str, error: AnyaError) -> None:
        future = self._waiting.pop(name, None)
        if future is not None and not future.done():
            future.set_exception(error)

    def _serve(self, name: str, process: Process, identity: Identity) -> None:
        active = self._active[name] = Active(process, identity)
        self.failures.pop(name, None)
        self._spawn(self._watch_death(name, active))
        restarts = self._tree.child(name).restarts
        self._announce(ActorStarted(name, identity.epoch, identity.pid, restarts))
        self._answer(name, process)

    def _answer(self, name: str, process: Process) -> None:
        future = self._waiting.pop(name, None)
        if future is not None and not future.done():
            future.set_result(process)

    async def _stop_child(self, name: str) -> None:
        starting = self._starting.pop(name, None)
        if starting is not None:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
        await self._ended(name)
        active = self._active.pop(name, None)
        if active is not None:
            await stop_or_end(active.process, self._spec(name).stop_timeout_s)
        if self._tree.child(name).leaving:
            await self._standbys.drop(name)
        if name not in self._static:
            try:
                await self._launcher.forget(name)
            except AnyaError as error:
                _log.warning("not forgotten", actor=name, error=reason(error))
        self._apply(ChildStopped(name))
        if name in self._waiting and name not in self._tree.children:
            self._call_back(name)

    def _call_back(self, name: str) -> None:
        """Somebody called ``name`` while it was leaving."""
        try:
            self._add(name)
        except AnyaError as error:
            self._refuse(name, error)

    async def _ended(self, name: str) -> None:
        """Return when the process of ``name`` that died is certainly gone."""
        ending = self._ending.get(name)
        if ending is not None:
            await asyncio.wait([ending])
            if self._ending.get(name) is ending:
                del self._ending[name]

    async def _launch(self, name: str, *, as_standby: bool = False) -> Process:
        child = self._tree.child(name)
        return await self._launcher.launch(
            name,
            child.supervisor,
            dynamic=name not in self._static,
            restarts=child.restarts,
            as_standby=as_standby,
        )

    async def _take_standby(self, name: str) -> Process | None:
        standby = self._standbys.take(name)
        if standby is not None:
            await self._launcher.promote(name, standby, restarts=self._tree.child(name).restarts)
        return standby

    # -- death and health ---------------------------------------------------------------------

    async def _watch_death(self, name: str, active: Active) -> None:
        try:
            await active.process.wait_death()
        except Exception as error:  # noqa: BLE001 - one that cannot be watched is as good as dead
            _log.warning("sentinel lost", actor=name, error=reason(error))
        if self._active.get(name) is not active:
            return
        del self._active[name]
        # Told at once, or a stop decided meanwhile would miss it; the successor waits for the end.
        self._ending[name] = self._spawn(end(active.process))
        self._announce(ActorFailed(name, "its process died"))
        self._apply(ChildFailed(name, self._clock.monotonic_s()))

    def _is_unhealthy(self, name: str, active: Active, reason: str) -> None:
        self._announce(ActorFailed(name, f"unhealthy: {reason}"))
        self._spawn(end(active.process))  # its sentinel tells the machine

    def _is_healthy(self, name: str, health: Health) -> None:
        idle_timeout_s = self._spec(name).idle_timeout_s
        if idle_timeout_s is not None and health.in_flight == 0 and health.idle_s >= idle_timeout_s:
            self.remove(name)

    # -- odds and ends ------------------------------------------------------------------------

    def _spec(self, name: str) -> ChildSpec:
        static = self._static.get(name)
        if static is not None:
            return static
        kind = self._kinds.kind_of(name)
        if kind is None:
            raise UnknownActorError(name)
        return kind.child_spec(name)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            # Not exc_info: structlog would print every local variable with it.
            _log.error("supervision task failed", trace="".join(traceback.format_exception(error)))


def _retrieve(future: asyncio.Future[Process]) -> None:
    # Nobody may be waiting any more: mark the exception as seen.
    if not future.cancelled():
        future.exception()

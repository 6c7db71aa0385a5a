"""Performs what the supervision machine decides, on any `Processes`. Knows no Ray.

Every child has one sentinel, a call that never ends while the child lives. Every start is written
to the journal before it happens, so that a restarted supervisor adopts the living children
instead of starting twins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from msgspec import structs

from anya_actors.coordinator.journal import Entry, Journal
from anya_actors.coordinator.kinds import Kinds
from anya_actors.coordinator.processes import Identity, Process, Processes, StartFailedError
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
    Phase,
    ShutdownRequested,
    StartChild,
    StartRequested,
    Status,
    StopChild,
    Tree,
    plant,
    step,
)
from anya_actors.domain.supervision.spec import ChildSpec, SupervisorSpec
from anya_actors.ports.actors import UnknownActorError
from anya_actors.ports.clock import Clock
from anya_actors.ports.randomness import Randomness
from anya_actors.ports.state_store import FencedError

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class HealthPolicy:
    """How often children are asked, how long they may take, how often they may fail to answer."""

    interval_s: float = 5.0
    timeout_s: float = 5.0
    failures: int = 2


@dataclass(slots=True)
class Active:
    """A child that serves."""

    process: Process
    identity: Identity
    failures: int = 0


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
    ) -> None:
        self._tree: Tree = plant(spec)
        self._nodes = {node.name: node for node in spec.supervisors()}
        self._static = {leaf.name: leaf for leaf in spec.leaves()}
        self._kinds = kinds
        self._processes = processes
        self._journal = journal
        self._clock = clock
        self._randomness = randomness
        self._health = health
        self._announce = announce
        self._active: dict[str, Active] = {}
        self._standby: dict[str, Process] = {}
        self._waiting: dict[str, asyncio.Future[Active]] = {}
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Condition()
        self.version = 0

    # -- life ---------------------------------------------------------------------------------

    async def start(self) -> None:
        """Adopt what a dead predecessor left alive, then start the rest."""
        entries = [entry for entry in await self._journal.open() if entry.active]
        labels = {entry.label for entry in entries} | {e.standby for e in entries if e.standby}
        await self._processes.kill_strays(labels)
        await asyncio.gather(*(self._adopt(entry) for entry in entries))
        self._apply(StartRequested())
        self._spawn(self._watch_health())

    async def stop(self) -> None:
        """Stop every child, youngest first, and return when all are gone."""
        self._apply(ShutdownRequested())
        async with self._changed:
            await self._changed.wait_for(self._is_down)
        for task in list(self._tasks):
            if task is not asyncio.current_task():
                task.cancel()
        await asyncio.gather(*(process.kill() for process in self._standby.values()), return_exceptions=True)

    @property
    def tree(self) -> Tree:
        """The machine's state now."""
        return self._tree

    def active(self) -> Mapping[str, Active]:
        """The children that serve now, by name."""
        return self._active

    def standbys(self) -> set[str]:
        """The actors that have a standby process ready."""
        return set(self._standby)

    async def wait_change(self, version: int, timeout_s: float) -> int:
        """Return the tree's version as soon as it is not ``version``, or after the time-out."""
        async with self._changed:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._changed.wait_for(lambda: self.version != version)
            except TimeoutError:
                pass
        return self.version

    async def locate(self, actor: str, timeout_s: float) -> Active:
        """The actor's serving process; the first call to a virtual actor starts it.

        Raises `UnknownActorError`, `OverloadedError` (too many of its kind), `StartFailedError`,
        or `UnavailableError` when it is not there in time.
        """
        found = self._active.get(actor)
        if found is not None:
            return found
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
        kind = self._kinds.kind_of(actor)
        if kind is None or kind.supervisor is None:
            raise UnknownActorError(actor)
        living = sum(1 for name in self._tree.children if name.startswith(f"{kind.name}/"))
        if living >= kind.most_active:
            raise OverloadedError(f"{kind.name}/*", living)
        if self._tree.phase is not Phase.RUNNING:
            raise UnavailableError(actor, f"the platform is {self._tree.phase.value}")
        self._apply(ChildAdded(kind.supervisor, actor))

    async def _adopt(self, entry: Entry) -> None:
        process = await self._processes.find(entry.actor, entry.label)
        identity = None if process is None else await _quietly(process.identity(), self._health.timeout_s)
        if process is not None and identity is None:
            await process.kill()
        if entry.actor not in self._tree.children:
            if not entry.dynamic or process is None or identity is None:
                return
            self._apply(ChildAdded(entry.supervisor, entry.actor))
        if process is not None and identity is not None:
            self._apply(ChildAdopted(entry.actor, self._clock.monotonic_s(), entry.restarts))
            self._serve(entry.actor, process, identity)
        if entry.standby is not None:
            standby = await self._processes.find(entry.actor, entry.standby)
            if standby is not None:
                self._standby[entry.actor] = standby

    # -- the machine --------------------------------------------------------------------------

    def _apply(self, event: Event) -> None:
        outcome = step(self._tree, event)
        self._tree = outcome.state
        for command in outcome.commands:
            if isinstance(command, StartChild):
                self._starting[command.name] = self._spawn(self._start_child(command))
            elif isinstance(command, StopChild):
                self._spawn(self._stop_child(command.name))
            elif isinstance(command, GiveUp):
                self._announce(SupervisorGaveUp(command.supervisor))
        self._tell_change()

    def _tell_change(self) -> None:
        self.version += 1
        self._spawn(self._notify())

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

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
            process = await self._take_standby(name) or await self._launch(name)
            async with asyncio.timeout(self._spec(name).start_timeout_s):
                identity = await process.activate()
        except asyncio.CancelledError:
            if process is not None:
                await process.kill()
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, the machine decides what follows
            if process is not None:
                await process.kill()
            self._start_failed(name, error)
            return
        finally:
            self._starting.pop(name, None)
        self._serve(name, process, identity)
        self._apply(ChildStarted(name, self._clock.monotonic_s()))
        if self._spec(name).critical:
            self._spawn(self._keep_standby(name))

    def _start_failed(self, name: str, error: Exception) -> None:
        typed = error if isinstance(error, AnyaError) else StartFailedError(name, _reason(error))
        self._announce(ActorFailed(name, _reason(error)))
        _log.warning("start failed", actor=name, error=_reason(error))
        never_served = name not in self._static and self._tree.child(name).restarts == 0
        if never_served:
            self._refuse(name, typed)
            self._apply(ChildRemoved(name))
        else:
            self._apply(ChildFailed(name, self._clock.monotonic_s()))

    def _refuse(self, name: str, error: AnyaError) -> None:
        future = self._waiting.pop(name, None)
        if future is not None and not future.done():
            future.set_exception(error)

    def _serve(self, name: str, process: Process, identity: Identity) -> None:
        active = self._active[name] = Active(process, identity)
        self._spawn(self._watch_death(name, active))
        restarts = self._tree.child(name).restarts
        self._announce(ActorStarted(name, identity.epoch, identity.pid, restarts))
        future = self._waiting.pop(name, None)
        if future is not None and not future.done():
            future.set_result(active)

    async def _stop_child(self, name: str) -> None:
        starting = self._starting.pop(name, None)
        if starting is not None:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
        active = self._active.pop(name, None)
        if active is not None:
            try:
                async with asyncio.timeout(self._spec(name).stop_timeout_s):
                    await active.process.stop()
            except Exception as error:  # noqa: BLE001 - a child that cannot stop is killed
                _log.warning("stop failed", actor=name, error=_reason(error))
            await active.process.kill()
        standby = self._standby.pop(name, None)
        if standby is not None and self._tree.child(name).leaving:
            await standby.kill()
        elif standby is not None:
            self._standby[name] = standby
        entry = self._journal.entry(name)
        if entry is not None and name not in self._static:
            await self._journal.write(structs.replace(entry, active=False))
        self._apply(ChildStopped(name))

    # -- processes ----------------------------------------------------------------------------

    async def _launch(self, name: str, *, as_standby: bool = False) -> Process:
        entry = self._journal.entry(name) or Entry(
            actor=name,
            label="",
            supervisor=self._tree.child(name).supervisor,
            dynamic=name not in self._static,
            launches=0,
        )
        label = f"{name}#{entry.launches + 1}"
        changes: dict[str, Any] = {"standby": label} if as_standby else {"label": label, "active": True}
        changes |= {"launches": entry.launches + 1, "restarts": self._tree.child(name).restarts}
        await self._journal.write(structs.replace(entry, **changes))
        launching = asyncio.ensure_future(self._processes.launch(name, label))
        try:
            return await asyncio.shield(launching)
        except asyncio.CancelledError:
            # The process comes up all the same; left alone it would hold the actor's store.
            await (await launching).kill()
            raise

    async def _take_standby(self, name: str) -> Process | None:
        standby = self._standby.pop(name, None)
        entry = self._journal.entry(name)
        if standby is None or entry is None:
            return None
        restarts = self._tree.child(name).restarts
        await self._journal.write(
            structs.replace(entry, label=standby.label, standby=None, active=True, restarts=restarts)
        )
        return standby

    async def _keep_standby(self, name: str) -> None:
        if name in self._standby:
            return
        process = await self._launch(name, as_standby=True)
        try:
            async with asyncio.timeout(self._spec(name).start_timeout_s):
                await process.prepare()
        except Exception as error:  # noqa: BLE001 - without a standby the next restart is only slower
            _log.warning("standby failed", actor=name, error=_reason(error))
            await process.kill()
            return
        if name in self._standby or self._tree.phase is not Phase.RUNNING:
            await process.kill()
            return
        self._standby[name] = process
        self._tell_change()
        self._spawn(self._watch_standby(name, process))

    async def _watch_standby(self, name: str, process: Process) -> None:
        await process.wait_death()
        if self._standby.get(name) is process:
            del self._standby[name]
            if name in self._active:
                await self._keep_standby(name)

    # -- death and health ---------------------------------------------------------------------

    async def _watch_death(self, name: str, active: Active) -> None:
        await active.process.wait_death()
        if self._active.get(name) is not active:
            return
        del self._active[name]
        await active.process.kill()
        self._announce(ActorFailed(name, "its process died"))
        self._apply(ChildFailed(name, self._clock.monotonic_s()))

    async def _watch_health(self) -> None:
        while True:
            await self._clock.sleep(self._health.interval_s)
            await asyncio.gather(*(self._ask(name, active) for name, active in list(self._active.items())))

    async def _ask(self, name: str, active: Active) -> None:
        try:
            async with asyncio.timeout(self._health.timeout_s):
                health = await active.process.check_health()
        except Exception as error:  # noqa: BLE001 - any failure to answer well counts
            active.failures += 1
            _log.warning("unhealthy", actor=name, error=_reason(error), failures=active.failures)
            fenced = isinstance(error, FencedError)
            if self._active.get(name) is active and (fenced or active.failures >= self._health.failures):
                self._announce(ActorFailed(name, f"unhealthy: {_reason(error)}"))
                await active.process.kill()  # its sentinel tells the machine
            return
        active.failures = 0
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
        if not task.cancelled() and task.exception() is not None:
            _log.error("supervision task failed", exc_info=task.exception())


async def _quietly(answer: Coroutine[Any, Any, Identity | None], timeout_s: float) -> Identity | None:
    try:
        async with asyncio.timeout(timeout_s):
            return await answer
    except Exception as error:  # noqa: BLE001 - one that cannot say who it is, is not adopted
        _log.warning("not adopted", error=_reason(error))
        return None


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _retrieve(future: asyncio.Future[Active]) -> None:
    # Nobody may be waiting any more: mark the exception as seen.
    if not future.cancelled():
        future.exception()

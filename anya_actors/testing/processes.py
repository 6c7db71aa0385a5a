"""`Processes` in memory: they die, hang, fail and dawdle on a test's command."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from anya_actors.coordinator.processes import Health, Identity, StartFailedError

_supervisor: ContextVar[int] = ContextVar("supervisor", default=0)


@dataclass(slots=True)
class Hold:
    """A step that goes on only when ``released`` is set; ``reached`` tells that it has begun."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)


class MemoryProcess:
    """One process of one actor. What it did stands in its owner's ``story``."""

    def __init__(self, owner: MemoryProcesses, actor: str, label: str, pid: int) -> None:
        self._owner = owner
        self._label = label
        self._dead = asyncio.Event()
        self._identity: Identity | None = None
        self.actor = actor
        self.pid = pid
        self.health = Health(0.0, 0)

    @property
    def label(self) -> str:
        return self._label

    @property
    def handle(self) -> Any:
        return self

    @property
    def alive(self) -> bool:
        """Whether it has neither died nor ended."""
        return not self._dead.is_set()

    @property
    def serves(self) -> bool:
        """Whether it lives and has the actor's store."""
        return self.alive and self._identity is not None

    def die(self) -> None:
        """End at once, as by SIGKILL."""
        self._dead.set()

    async def prepare(self) -> None:
        await self._step("prepare")

    async def activate(self) -> Identity:
        await self._step("activate")
        if self._identity is None:
            self._identity = self._owner.take_store(self)
        return self._identity

    async def identity(self) -> Identity | None:
        await self._step("identity")
        return self._identity

    async def wait_death(self) -> None:
        await self._owner.step(self.actor, "wait_death", self._label)
        await self._dead.wait()

    async def check_health(self) -> Health:
        await self._step("check_health")
        return self.health

    async def stop(self) -> None:
        await self._step("stop")
        self.die()

    async def kill(self) -> None:
        await self._owner.step(self.actor, "kill", self._label)
        self.die()

    async def _step(self, name: str) -> None:
        await self._owner.step(self.actor, name, self._label)
        if not self.alive:
            raise StartFailedError(self.actor, "its process is dead")


class MemoryProcesses:
    """All processes of one platform; it outlives the supervisors that use it.

    ``twins`` names every actor that two living processes ever served at once.
    """

    def __init__(self) -> None:
        self.story: list[str] = []
        self.twins: list[str] = []
        self._pids = itertools.count(1001)
        self._epochs: dict[str, int] = defaultdict(int)
        self._processes: dict[str, MemoryProcess] = {}
        self._failures: dict[tuple[str, str], list[Exception]] = defaultdict(list)
        self._holds: dict[tuple[str, str], Hold] = {}
        self._supervisors = itertools.count(1)
        self._crashed: set[int] = set()

    # -- what the supervisor calls ----------------------------------------------------------------

    async def launch(self, actor: str, label: str) -> MemoryProcess:
        await self.step(actor, "launch", label)
        if label in self._processes:
            raise StartFailedError(actor, f"the label {label} is taken")
        process = self._processes[label] = MemoryProcess(self, actor, label, next(self._pids))
        return process

    async def find(self, actor: str, label: str) -> MemoryProcess | None:
        await self.step(actor, "find", label)
        process = self._processes.get(label)
        return process if process is not None and process.alive else None

    async def kill_strays(self, known: set[str]) -> list[str]:
        strays = [process for process in self.living() if process.label not in known]
        for process in strays:
            await process.kill()
        return [process.label for process in strays]

    # -- what a test commands ---------------------------------------------------------------------

    def fail(self, actor: str, step: str, *errors: Exception) -> None:
        """The next steps of this name raise ``errors``, one each."""
        self._failures[actor, step].extend(errors)

    def forgive(self) -> None:
        """No step fails any more that was told to."""
        self._failures.clear()

    def hold(self, actor: str, step: str) -> Hold:
        """Every step of this name waits, until the hold is released."""
        hold = self._holds[actor, step] = Hold()
        return hold

    def let_go(self, actor: str, step: str) -> None:
        """Release the hold of this step, and hold no more."""
        self._holds.pop((actor, step)).released.set()

    def begin(self) -> None:
        """The supervisor that is made next in this context is a new process of its own."""
        _supervisor.set(next(self._supervisors))

    def crash(self) -> None:
        """Whatever the last supervisor still tries, it has been dead since now."""
        self._crashed.add(_supervisor.get())

    def serving(self, actor: str) -> MemoryProcess:
        """The one living process that serves ``actor``."""
        (process,) = (process for process in self.living(actor) if process.serves)
        return process

    def living(self, actor: str | None = None) -> list[MemoryProcess]:
        """The processes that live, of one actor or of all, eldest first."""
        return [p for p in self._processes.values() if p.alive and actor in (None, p.actor)]

    def steps(self, *names: str) -> list[str]:
        """The story, of the steps of these names alone."""
        return [line for line in self.story if line.split()[0] in names]

    # -- what happens -----------------------------------------------------------------------------

    async def step(self, actor: str, name: str, label: str) -> None:
        """One step of one process: told, held and failed as a test wants it."""
        if _supervisor.get() in self._crashed:
            raise asyncio.CancelledError  # nobody is there any more to take the step
        self.story.append(f"{name} {label}")
        hold = self._holds.get((actor, name))
        if hold is None:
            await asyncio.sleep(0)
        else:
            hold.reached.set()
            await hold.released.wait()
            if _supervisor.get() in self._crashed:
                raise asyncio.CancelledError
        if self._failures[actor, name]:
            raise self._failures[actor, name].pop(0)

    def take_store(self, process: MemoryProcess) -> Identity:
        """The actor's next epoch, for ``process``."""
        if any(other.serves for other in self.living(process.actor)):
            self.twins.append(process.actor)
        self._epochs[process.actor] += 1
        return Identity(process.pid, "127.0.0.1", self._epochs[process.actor])

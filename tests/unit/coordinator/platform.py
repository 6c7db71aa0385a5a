"""A supervisor over memory: the journal and the processes outlive it, as they outlive a crash."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from anya_actors.actors.shell import DurableActor
from anya_actors.adapters.memory.state_store import MemoryStateStores
from anya_actors.coordinator.health import HealthPolicy
from anya_actors.coordinator.journal import Journal
from anya_actors.coordinator.kinds import Kind, Kinds
from anya_actors.coordinator.supervisor import Supervisor
from anya_actors.domain.machine import SystemEvent
from anya_actors.domain.supervision.spec import ChildSpec, Restart, Strategy, SupervisorSpec
from anya_actors.ports.actors import Actors
from anya_actors.ports.state_store import StateStore
from anya_actors.testing.clock import ManualClock
from anya_actors.testing.processes import MemoryProcesses

JOURNAL = "coordinator/journal"
SHORT_S = 0.02  # real time: only what hangs for ever waits for it


class Chance:
    """No jitter."""

    def token_bytes(self, size: int) -> bytes:
        return bytes(size)

    def uniform(self) -> float:
        return 0.0


class NoBuilder:
    """Memory processes build nothing."""

    async def prepare(self) -> None:
        raise AssertionError

    async def build(self, name: str, actors: Actors) -> tuple[Any, int]:
        raise AssertionError


def kind(name: str, *, most_active: int = 3, idle_timeout_s: float = 60.0, critical: bool = False) -> Kind:
    return Kind(
        name, DurableActor, NoBuilder(), supervisor="virtual", most_active=most_active,
        idle_timeout_s=idle_timeout_s, critical=critical, start_timeout_s=60.0,
        restart=Restart.TEMPORARY if name == "t" else Restart.PERMANENT, warm=int(name == "p"),
    )  # fmt: skip


def tree(
    *children: ChildSpec, strategy: Strategy = Strategy.ONE_FOR_ONE, intensity: int = 100
) -> SupervisorSpec:
    """The warm children under ``warm``, and a place for virtual ones."""
    warm = SupervisorSpec("warm", strategy, intensity, 10.0, children=children)
    virtual = SupervisorSpec("virtual", intensity=intensity, period_s=10.0)
    return SupervisorSpec("root", intensity=0, children=(warm, virtual))


def child(
    name: str, *, critical: bool = False, start_timeout_s: float = 60.0, stop_timeout_s: float = 60.0
) -> ChildSpec:
    return ChildSpec(name, critical=critical, start_timeout_s=start_timeout_s, stop_timeout_s=stop_timeout_s)


class Platform:
    """All that outlives a coordinator, and the coordinator of the moment."""

    def __init__(self, *children: ChildSpec, **shape: Any) -> None:
        self.spec = tree(*children, **shape)
        self.stores = MemoryStateStores()
        self.processes = MemoryProcesses()
        self.clock = ManualClock()
        self.told: list[SystemEvent] = []
        self.kinds = Kinds({name: kind(name) for name in ("v", "w", "s", "t", "p")})
        self.supervisor: Supervisor
        self.store: StateStore

    async def boot(self, *, wrap: Any = None) -> Supervisor:
        """A new coordinator over what is left; wait until it is quiet."""
        self.processes.begin()
        self.told = []
        self.store = await self.stores.activate(JOURNAL)
        if wrap is not None:
            self.store = wrap(self.store)
        self.supervisor = Supervisor(
            self.spec,
            self.kinds,
            processes=self.processes,
            journal=Journal(self.store),
            clock=self.clock,
            randomness=Chance(),
            health=HealthPolicy(interval_s=5.0, timeout_s=SHORT_S, failures=2),
            announce=self.told.append,
        )
        await self.supervisor.start()
        await quiet()
        return self.supervisor

    async def crash(self) -> None:
        """The coordinator's process dies without a farewell; its children live on."""
        self.processes.crash()
        await quiet()

    async def locate(self, actor: str, timeout_s: float = 5.0) -> Any:
        return await self.supervisor.locate(actor, timeout_s)

    def labels(self) -> list[str]:
        """The labels of all living processes, sorted."""
        return sorted(process.label for process in self.processes.living())


async def quiet() -> None:
    """Let everything run that can."""
    for _ in range(100):
        await asyncio.sleep(0)


async def soon(work: Awaitable[Any]) -> Any:
    """What must come about without anything else happening."""
    async with asyncio.timeout(60.0):
        return await work

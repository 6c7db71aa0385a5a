"""The platform on one machine: the supervisor keeps the banks' processes, and may die itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from anya_actors.actors.shell import DurableActor
from anya_actors.coordinator.health import HealthPolicy
from anya_actors.coordinator.journal import Journal
from anya_actors.coordinator.kinds import Kind, Kinds
from anya_actors.coordinator.supervisor import Supervisor
from anya_actors.domain.machine import NotSupportedError
from anya_actors.domain.supervision.spec import ChildSpec, SupervisorSpec
from anya_actors.ports.actors import Actors
from anya_actors.ports.event_bus import EventBus
from anya_actors.services.event_log import EventLog
from anya_actors.testing.simulation.network import Network
from anya_actors.testing.simulation.outcome import Outside
from anya_actors.testing.simulation.process import Machine, Process
from anya_actors.testing.simulation.remote import RemoteBus
from anya_actors.testing.simulation.seats import Seats, SupervisedActors
from anya_actors.testing.simulation.store import JournalStores
from anya_actors.testing.simulation.system import BANKS, Defects
from anya_actors.testing.simulation.world import World

_HEALTH = HealthPolicy(interval_s=1.0, timeout_s=0.5, failures=2)


class _BuiltElsewhere:
    """The seats build the services themselves."""

    async def prepare(self) -> None:
        raise NotSupportedError("preparing here", "a seat does it")

    async def build(self, name: str, actors: Actors) -> tuple[Any, int]:
        raise NotSupportedError(f"building {name} here", "a seat does it")


def _tree() -> SupervisorSpec:
    # The intensity is out of reach: what a supervisor that gives up does is not asked here.
    banks = SupervisorSpec(
        "banks", intensity=10_000, children=(ChildSpec(BANKS[0], critical=True), ChildSpec(BANKS[1]))
    )
    return SupervisorSpec("root", intensity=10_000, children=(banks,))


def _kinds() -> Kinds:
    # The third bank stands in no tree: it lives when it is called and is passivated when idle.
    kind = Kind("bank", DurableActor, _BuiltElsewhere(), supervisor="banks", idle_timeout_s=2.0)
    return Kinds({"bank": kind})


class SupervisedSystem:
    """One machine with a coordinator and a process for each bank, all on one disk."""

    def __init__(self, world: World, defects: Defects) -> None:
        self.world = world
        self._defects = defects
        self.outside = Outside()
        world.faults.lying_disk = defects.lying_disk
        # Calls between the processes of one machine arrive.
        world.faults.drop = world.faults.partition_every_s = 0.0
        self.network = Network(world)
        self.coordinator = world.add_machine("coordinator", self._coordinate)
        self._outside_machine = world.add_machine("outside", self._witness)
        self._client_machine = world.add_machine("client", self._ask)
        self.seats = Seats(self.network, self.coordinator, self._outside_machine, defects)
        self.coordinator.mates = self.seats.machines

    @property
    def client(self) -> Process:
        assert self._client_machine.process is not None  # noqa: S101 - nothing strikes it
        return self._client_machine.process

    def boot(self) -> None:
        for machine in list(self.world.machines.values()):
            machine.boot()

    def actors(self) -> Actors:
        return SupervisedActors(self.network, self.client, self.coordinator, self.seats)

    def bus(self) -> EventBus:
        return RemoteBus(self.network, self.client, self.coordinator)

    def break_one(self, *, power: bool) -> None:
        living: list[Machine] = [self.coordinator, *self.seats.machines()]
        if power:
            self.coordinator.crash(power=True)
        else:
            self.world.chance.choice(living).crash(power=False)

    def disturb_one(self) -> None:
        """Let a process hang: it neither answers nor acts, and does not die."""
        living = self.seats.machines()
        if living:
            self.seats.hang(self.world.chance.choice(living))

    def commit_epochs(self) -> dict[str, list[int]]:
        return self.seats.commit_epochs()

    async def _coordinate(self, process: Process) -> None:
        disk, randomness, clock = (
            process.machine.disk.mounted(process),
            self.world.randomness(),
            self.world.clock(),
        )
        stores = await JournalStores.open(
            disk, randomness, lambda: self.coordinator.crash(power=False) if process.alive else None
        )
        bus = EventLog(await stores.activate("coordinator"), clock)
        supervisor = Supervisor(
            _tree(),
            _kinds(),
            processes=self.seats.processes(process),
            journal=Journal(await stores.activate("coordinator/children")),
            clock=clock,
            randomness=randomness,
            health=_HEALTH if self._defects.watches_health else replace(_HEALTH, failures=1_000_000),
            announce=lambda event: self.world.trace(f"supervisor: {event}"),
        )
        process.served.update(bus=bus, supervisor=supervisor)
        await supervisor.start()

    async def _witness(self, process: Process) -> None:
        process.served["outside"] = self.outside

    async def _ask(self, process: Process) -> None:
        process.served["client"] = True

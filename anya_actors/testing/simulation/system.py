"""The system under simulation: machines that run banks, their database and the event bus."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from anya_actors.domain.machine import AnyaError, UnavailableError
from anya_actors.ports.actors import Actors
from anya_actors.ports.event_bus import EventBus
from anya_actors.ports.state_store import StateStore, StateStores
from anya_actors.services.event_log import EventLog
from anya_actors.testing.simulation.actors import Directory, Host, SimulatedActors
from anya_actors.testing.simulation.bank import BankService, Witness
from anya_actors.testing.simulation.network import ConnectionRefused, Network
from anya_actors.testing.simulation.outcome import Outside
from anya_actors.testing.simulation.process import Machine, Process
from anya_actors.testing.simulation.remote import RemoteBus, RemoteStores
from anya_actors.testing.simulation.store import JournalStores
from anya_actors.testing.simulation.world import World

BANKS = ("bank/a", "bank/b", "bank/c")
_WORKERS = 3
_WITNESS_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Defects:
    """Known bugs to plant, so that a test sees them found."""

    lying_disk: bool = False
    fences: bool = True
    watches_health: bool = True
    store: Callable[[StateStore], StateStore] = lambda store: store
    service: type[BankService] = BankService


class System(Protocol):
    """What a run needs of the system that it strikes and questions."""

    outside: Outside

    def __init__(self, world: World, defects: Defects) -> None: ...

    @property
    def client(self) -> Process:
        """The process of those who use the system; it never dies."""

    def boot(self) -> None:
        """Start every machine."""

    def actors(self) -> Actors:
        """The actors as the client calls them."""

    def bus(self) -> EventBus:
        """The event bus as the client reads it."""

    def break_one(self, *, power: bool) -> None:
        """Kill something, or cut its power."""

    def disturb_one(self) -> None:
        """Do what a system in good health must bear: move an actor, hang one."""

    def commit_epochs(self) -> dict[str, list[int]]:
        """The epochs of each actor's commits, in order."""


class BankSystem:
    """Three workers that host three banks, a coordinator that holds the event bus, and a client.

    On a *cluster* the banks keep their state in a database machine and may be moved, rightly or
    wrongly, so two copies of one live at once. *Embedded*, each worker keeps it on its own disk.
    """

    def __init__(self, world: World, defects: Defects) -> None:
        self.world = world
        self.is_cluster = world.chance.random() < 0.5
        self.network = Network(world)
        self.outside = Outside()
        self._defects = defects
        world.faults.lying_disk = defects.lying_disk
        self.workers = [world.add_machine(f"worker{n}", self._work) for n in range(_WORKERS)]
        self.coordinator = world.add_machine("coordinator", self._coordinate)
        self.database = world.add_machine("database", self._keep)
        self._outside_machine = world.add_machine("outside", self._witness)
        self._client_machine = world.add_machine("client", self._ask)
        self.directory = Directory(world.faults)
        for number, bank in enumerate(BANKS):
            self.directory.place(bank, self.workers[number % _WORKERS])

    def boot(self) -> None:
        """Start every machine."""
        for machine in self.world.machines.values():
            machine.boot()

    @property
    def client(self) -> Process:
        """The process of those who use the system; it never dies."""
        assert self._client_machine.process is not None  # noqa: S101 - nothing strikes it
        return self._client_machine.process

    def actors(self) -> Actors:
        return SimulatedActors(self.network, self.client, self.directory)

    def bus(self) -> EventBus:
        return RemoteBus(self.network, self.client, self.coordinator)

    def break_one(self, *, power: bool) -> None:
        self.world.chance.choice(self._fallible).crash(power=power)

    def disturb_one(self) -> None:
        """Believe an actor to be elsewhere, though it may live where it was."""
        if self.is_cluster:
            bank, worker = self.world.chance.choice(BANKS), self.world.chance.choice(self.workers)
            self.world.trace(f"{bank} is believed to be on {worker.name}")
            self.directory.place(bank, worker)

    def commit_epochs(self) -> dict[str, list[int]]:
        processes = [machine.process for machine in self._fallible]
        stores = [process.served["stores"] for process in processes if process and "stores" in process.served]
        return {shelf.actor: shelf.commit_epochs for each in stores for shelf in each.shelves.values()}

    @property
    def _fallible(self) -> list[Machine]:
        return [*self.workers, self.coordinator, self.database]

    # -- programs -------------------------------------------------------------------------------

    async def _work(self, process: Process) -> None:
        clock, randomness = self.world.clock(), self.world.randomness()
        local = None if self.is_cluster else await self._open_stores(process)
        stores: StateStores = local or RemoteStores(self.network, process, self.database)
        actors = SimulatedActors(self.network, process, self.directory)
        bus = RemoteBus(self.network, process, self.coordinator)

        async def build(actor: str) -> BankService:
            store = await stores.activate(actor)
            self.world.trace(f"{process.name} activates {actor}, epoch {store.epoch}")
            return self._defects.service(
                self._defects.store(store),
                actors=actors,
                witness=witness_of(self.network, process, self._outside_machine),
                clock=clock,
                randomness=randomness,
                bus=bus,
            )

        host = Host(build)
        process.served["host"] = host
        if local is not None:
            process.served["stores"] = local
        for actor in self.directory.actors_on(process.machine):
            process.spawn(_keep_trying(lambda actor=actor: host.activate(actor)))  # type: ignore[misc]

    async def _keep(self, process: Process) -> None:
        process.served["stores"] = await self._open_stores(process)

    async def _coordinate(self, process: Process) -> None:
        stores = await self._open_stores(process)
        bus = EventLog(await stores.activate("coordinator"), self.world.clock())
        process.served.update(stores=stores, bus=bus)

    async def _witness(self, process: Process) -> None:
        process.served["outside"] = self.outside

    async def _ask(self, process: Process) -> None:
        process.served["client"] = True

    async def _open_stores(self, process: Process) -> JournalStores:
        machine = process.machine
        return await JournalStores.open(
            machine.disk.mounted(process),
            self.world.randomness(),
            lambda: machine.crash(power=False) if process.alive else None,
            fences=self._defects.fences,
        )


async def _keep_trying(act: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    while True:
        try:
            await act()
        except AnyaError:
            await asyncio.sleep(0.5)
        else:
            return


def witness_of(network: Network, process: Process, outside: Machine) -> Witness:
    """How ``process`` brings receipts to the world outside."""

    async def bring(effect_id: str, transfer: str, amount_sat: int) -> None:
        async def take(taker: Process) -> None:
            process.world.trace(f"outside takes {effect_id} from {process.name}")
            taker.served["outside"].take(effect_id, transfer, amount_sat)

        try:
            async with asyncio.timeout(_WITNESS_TIMEOUT_S):
                await network.request(process, outside, take)
        except (TimeoutError, ConnectionRefused) as error:
            raise UnavailableError("the outside", type(error).__name__) from error

    return bring

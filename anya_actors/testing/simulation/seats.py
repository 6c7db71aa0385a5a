"""Processes of actors as a supervisor starts, watches and kills them, and the way to call them."""

from __future__ import annotations

import asyncio
from typing import Any

from anya_actors.coordinator.processes import Health, Identity, StartFailedError
from anya_actors.coordinator.supervisor import Supervisor
from anya_actors.domain.machine import UnavailableError
from anya_actors.ports.actors import CallTimeoutError
from anya_actors.ports.append_log import LogFullError
from anya_actors.ports.state_store import FencedError
from anya_actors.testing.simulation.bank import BankService
from anya_actors.testing.simulation.disk import SimulatedDisk
from anya_actors.testing.simulation.network import ConnectionRefused, Network, Serve, travelled
from anya_actors.testing.simulation.process import Machine, Process
from anya_actors.testing.simulation.remote import RemoteBus
from anya_actors.testing.simulation.store import JournalStores
from anya_actors.testing.simulation.system import Defects, witness_of
from anya_actors.testing.simulation.world import World

_ATTEMPT_TIMEOUT_S = 3.0
_PAUSE_S = 0.3


class Seat(Machine):
    """Where one process of one actor lives, once. Its disk and its power are the coordinator's."""

    restarts = False

    def __init__(self, world: World, label: str, disk: SimulatedDisk, neighbour: Machine) -> None:
        super().__init__(world, label, disk, self._sit)
        self._neighbour = neighbour
        self.actor = label.partition("#")[0]
        self.hanging = False

    def crash(self, *, power: bool) -> None:
        # A cut of the power that began here hits the whole machine.
        if power and self.process is not None:
            if self._neighbour.process is not None:
                self._neighbour.crash(power=True)
                return
            self.disk.lose_power()
        super().crash(power=False)

    async def _sit(self, process: Process) -> None:
        process.served["booted"] = True


class Seats:
    """All seats of one machine."""

    def __init__(self, network: Network, coordinator: Machine, outside: Machine, defects: Defects) -> None:
        self.network = network
        self._coordinator = coordinator
        self._outside = outside
        self._defects = defects
        self._seats: dict[str, Seat] = {}
        self._last_epochs: dict[str, list[int]] = {}

    def machines(self) -> list[Machine]:
        """The seats whose process lives."""
        return [seat for seat in self._seats.values() if seat.process is not None]

    def living(self, label: str) -> Seat | None:
        seat = self._seats.get(label)
        return seat if seat is not None and seat.process is not None else None

    def add(self, label: str) -> Seat:
        """Start a process, that does nothing yet."""
        seat = Seat(self._coordinator.world, label, self._coordinator.disk, self._coordinator)
        self._seats[label] = seat
        seat.boot()
        return seat

    def hang(self, machine: Machine) -> None:
        """From now on the process gets no turn any more."""
        assert isinstance(machine, Seat)  # noqa: S101 - only seats are here
        machine.world.trace(f"{machine.name} hangs")
        machine.hanging = True

    def processes(self, owner: Process) -> SimulatedProcesses:
        """The `Processes` of the coordinator's process ``owner``."""
        return SimulatedProcesses(self, owner)

    def commit_epochs(self) -> dict[str, list[int]]:
        """The epochs of each bank's commits, as its living process has read and written them."""
        return dict(self._last_epochs)

    async def activate(self, seat: Seat, process: Process) -> int:
        """Inside the seat's process: open the store, build the service, resume; the epoch."""
        if "service" not in process.served:
            world, actor = seat.world, seat.actor
            stores = await self._open_stores(seat, process)
            store = await stores.activate(actor)
            world.trace(f"{process.name} activates {actor}, epoch {store.epoch}")
            service = self._defects.service(
                self._defects.store(store),
                actors=SupervisedActors(self.network, process, self._coordinator, self),
                witness=witness_of(self.network, process, self._outside),
                clock=world.clock(),
                randomness=world.randomness(),
                bus=RemoteBus(self.network, process, self._coordinator),
            )
            await service.resume()
            self._last_epochs[actor] = stores.shelf(actor).commit_epochs
            process.served.update(service=service, epoch=store.epoch, calls=0, called_s=world.now_s)
        epoch: int = process.served["epoch"]
        return epoch

    async def _open_stores(self, seat: Seat, process: Process) -> JournalStores:
        try:
            return await JournalStores.open(
                seat.disk.mounted(process),
                seat.world.randomness(),
                lambda: seat.crash(power=False) if process.alive else None,
                name=seat.actor.replace("/", "-"),
                fences=self._defects.fences,
            )
        except LogFullError as error:
            raise UnavailableError(f"the store of {seat.actor}", str(error.args[-1])) from error


class SimulatedProcesses:
    """The `Processes` of a supervisor. What it has started outlives it."""

    def __init__(self, seats: Seats, owner: Process) -> None:
        self._seats = seats
        self._owner = owner

    async def launch(self, actor: str, label: str) -> SimulatedActorProcess:
        await asyncio.sleep(self._owner.world.chance.random() * 0.5)
        self._owner.check_alive()
        return SimulatedActorProcess(self._seats, self._owner, self._seats.add(label))

    async def find(self, actor: str, label: str) -> SimulatedActorProcess | None:
        seat = self._seats.living(label)
        return None if seat is None else SimulatedActorProcess(self._seats, self._owner, seat)

    async def kill_strays(self, known: set[str]) -> list[str]:
        strays = [seat for seat in self._seats.machines() if seat.name not in known]
        for seat in strays:
            seat.crash(power=False)
        return [seat.name for seat in strays]


class SimulatedActorProcess:
    """One seat, as the coordinator's process ``owner`` holds it."""

    def __init__(self, seats: Seats, owner: Process, seat: Seat) -> None:
        self._seats = seats
        self._owner = owner
        self._seat = seat

    @property
    def label(self) -> str:
        return self._seat.name

    @property
    def handle(self) -> Any:
        return self._seat.name

    async def prepare(self) -> None:
        async def serve(_: Process) -> None:
            await asyncio.sleep(0.1)

        await self._ask(serve)

    async def activate(self) -> Identity:
        async def serve(process: Process) -> int:
            return await self._seats.activate(self._seat, process)

        return Identity(1, "127.0.0.1", await self._ask(serve))

    async def identity(self) -> Identity | None:
        async def serve(process: Process) -> int | None:
            return process.served.get("epoch")

        epoch: int | None = await self._ask(serve)
        return None if epoch is None else Identity(1, "127.0.0.1", epoch)

    async def wait_death(self) -> None:
        process = self._seat.process
        if process is not None:
            await asyncio.shield(process.died)
            await asyncio.sleep(0.005)

    async def check_health(self) -> Health:
        async def serve(process: Process) -> tuple[float, int]:
            service: BankService = process.served["service"]
            await service.check_health()
            busy = process.served["calls"] + service.engine.owed_count
            return process.world.now_s - process.served["called_s"], busy

        idle_s, in_flight = await self._ask(serve)
        return Health(idle_s, in_flight)

    async def stop(self) -> None:
        async def serve(process: Process) -> None:
            if "service" in process.served:
                await process.served["service"].close()

        await self._ask(serve)
        self._seat.crash(power=False)

    async def kill(self) -> None:
        self._owner.check_alive()
        self._seat.crash(power=False)

    async def _ask(self, serve: Serve) -> Any:
        try:
            return await self._seats.network.request(
                self._owner, self._seat, _unless_hanging(serve), stream=True
            )
        except ConnectionRefused as error:
            raise UnavailableError(self.label, "its process is dead") from error


class SupervisedActors:
    """The `Actors` of one process: asks the supervisor where, and calls there, until it is answered."""

    def __init__(self, network: Network, process: Process, coordinator: Machine, seats: Seats) -> None:
        self._network = network
        self._process = process
        self._coordinator = coordinator
        self._seats = seats

    async def call(
        self, actor: str, method: str, *args: Any, message_id: str | None = None, timeout_s: float = 30.0
    ) -> Any:
        keywords = {} if message_id is None else {"message_id": message_id}
        arguments = travelled(args)

        async def locate(process: Process) -> str:
            supervisor: Supervisor = process.served["supervisor"]
            return (await supervisor.locate(actor, 2.0)).label

        async def serve(process: Process) -> Any:
            served = process.served
            served["calls"] += 1
            served["called_s"] = process.world.now_s
            try:
                return await getattr(served["service"], method)(*travelled(arguments), **keywords)
            finally:
                if process.alive:
                    served["calls"] -= 1

        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        while (left_s := deadline_s - loop.time()) > 0:
            try:
                async with asyncio.timeout(min(left_s, _ATTEMPT_TIMEOUT_S)):
                    label = await self._network.request(self._process, self._coordinator, locate)
                    seat = self._seats.living(label)
                    if seat is not None:
                        return await self._network.request(self._process, seat, _unless_hanging(serve))
            except TimeoutError:
                continue
            except (ConnectionRefused, FencedError, UnavailableError, StartFailedError, KeyError):
                pass
            await asyncio.sleep(_PAUSE_S)
        raise CallTimeoutError(actor, method, timeout_s)


def _unless_hanging(serve: Serve) -> Serve:
    async def perhaps(process: Process) -> Any:
        if isinstance(process.machine, Seat) and process.machine.hanging:
            await asyncio.get_running_loop().create_future()
        return await serve(process)

    return perhaps

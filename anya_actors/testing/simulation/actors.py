"""Actors spread over simulated machines: activated where the directory says, called by name."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from anya_actors.domain.machine import OverloadedError, UnavailableError
from anya_actors.ports.actors import CallTimeoutError, UnknownActorError, UnknownMethodError
from anya_actors.ports.state_store import FencedError
from anya_actors.testing.simulation.faults import Faults
from anya_actors.testing.simulation.network import ConnectionRefused, Network, travelled
from anya_actors.testing.simulation.process import Machine, Process

BuildService = Callable[[str], Awaitable[Any]]

_ATTEMPT_TIMEOUT_S = 3.0
_PAUSE_S = 0.3


class Directory:
    """Which machine an actor is believed to live on. Believing wrongly is one of the faults."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._places: dict[str, Machine] = {}
        self._former: dict[str, Machine] = {}

    def place(self, actor: str, machine: Machine) -> None:
        """From now on the actor is believed to be there; what lives elsewhere is not told."""
        if actor in self._places:
            self._former[actor] = self._places[actor]
        self._places[actor] = machine

    def locate(self, actor: str) -> Machine:
        """Where to call it; while actors are moved about, sometimes where it was before."""
        if actor not in self._places:
            raise UnknownActorError(actor)
        if self._faults.move_every_s and actor in self._former and self._faults.strikes(0.2):
            return self._former[actor]
        return self._places[actor]

    def actors_on(self, machine: Machine) -> list[str]:
        return [actor for actor, place in self._places.items() if place is machine]

    def actors(self) -> list[str]:
        return list(self._places)


class Host:
    """The actors of one process. The first call to a name activates it; a fenced copy is dropped."""

    def __init__(self, build: BuildService) -> None:
        self._build = build
        self._services: dict[str, Any] = {}
        self._activating: dict[str, asyncio.Lock] = {}

    async def activate(self, actor: str) -> Any:
        """The actor's service, brought to life if it is not."""
        async with self._activating.setdefault(actor, asyncio.Lock()):
            service = self._services.get(actor)
            if service is None:
                service = await self._build(actor)
                try:
                    await service.resume()
                except BaseException:
                    await service.close()
                    raise
                self._services[actor] = service
            return service

    async def call(self, actor: str, method: str, arguments: tuple[Any, ...], message_id: str | None) -> Any:
        service = await self.activate(actor)
        serve = getattr(service, method, None)
        if method.startswith("_") or not inspect.iscoroutinefunction(serve):
            raise UnknownMethodError(actor, method)
        try:
            return await serve(*arguments, **({} if message_id is None else {"message_id": message_id}))
        except FencedError:
            if self._services.get(actor) is service:
                del self._services[actor]
            await service.close()
            raise


class SimulatedActors:
    """The `Actors` of one process: sends again, as that port says, until the time is over."""

    def __init__(self, network: Network, process: Process, directory: Directory) -> None:
        self._network = network
        self._process = process
        self._directory = directory

    async def call(
        self, actor: str, method: str, *args: Any, message_id: str | None = None, timeout_s: float = 30.0
    ) -> Any:
        arguments = travelled(args)

        async def serve(process: Process) -> Any:
            host: Host = process.served["host"]
            return await host.call(actor, method, travelled(arguments), message_id)

        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        while (left_s := deadline_s - loop.time()) > 0:
            machine = self._directory.locate(actor)
            try:
                async with asyncio.timeout(min(left_s, _ATTEMPT_TIMEOUT_S)):
                    return await self._network.request(self._process, machine, serve)
            except TimeoutError:
                continue
            except (ConnectionRefused, FencedError):
                await asyncio.sleep(_PAUSE_S)
        raise CallTimeoutError(actor, method, timeout_s)


RETRYABLE = (CallTimeoutError, OverloadedError, UnavailableError)

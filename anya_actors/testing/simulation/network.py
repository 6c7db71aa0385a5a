"""Messages between machines: late, lost, doubled, or cut off one way or both."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from anya_actors.testing.simulation.process import Machine, Process

if TYPE_CHECKING:
    from anya_actors.testing.simulation.world import World

Serve = Callable[[Process], Awaitable[Any]]


class ConnectionRefused(Exception):
    """Nothing listens there now; the request had no effect."""


def travelled(value: Any) -> Any:
    """``value`` as the other side gets it: a copy."""
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own bytes of a line ago


class Network:
    """Carries requests and answers between machines."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def request(self, source: Process, target: Machine, serve: Serve, *, stream: bool = False) -> Any:
        """Have ``serve`` run by the process of ``target``; its answer, or its error.

        The first answer counts. Lost messages mean waiting for ever: callers set a time-out. Over
        a ``stream`` nothing is doubled, and nothing reaches a successor of the process that ran
        there when it was sent. Raises `ConnectionRefused` if nothing runs there.
        """
        source.check_alive()
        faults = self._world.faults
        doubles, peer = not stream, target.process
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        for _ in range(2 if doubles and faults.strikes(faults.double) else 1):
            self._carry(
                source.machine.name,
                target.name,
                lambda: self._arrive(source, target, serve, answer, peer if stream else target.process),
            )
        return await answer

    def _carry(self, source: str, target: str, deliver: Callable[[], None]) -> None:
        faults = self._world.faults
        if faults.strikes(faults.drop):
            return

        def arrive() -> None:
            if (source, target) not in faults.cut:
                deliver()

        self._world.after(faults.delay_s(), arrive)

    def _arrive(
        self,
        source: Process,
        target: Machine,
        serve: Serve,
        answer: asyncio.Future[Any],
        process: Process | None,
    ) -> None:

        def reply(result: Any, error: BaseException | None) -> None:
            self._carry(target.name, source.machine.name, lambda: _resolve(answer, result, error))

        if process is None or not process.alive or not process.served:
            reply(None, ConnectionRefused())
            return

        async def handle() -> None:
            try:
                result = travelled(await serve(process))
            except Exception as error:  # noqa: BLE001 - it is the answer
                if process.alive:
                    reply(None, travelled(error))
            else:
                if process.alive:
                    reply(result, None)

        process.spawn(handle())


def _resolve(answer: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(result)
    else:
        answer.set_exception(error)

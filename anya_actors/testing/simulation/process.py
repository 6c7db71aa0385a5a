"""Processes on machines: they run tasks, die at any moment and leave their machine's disk behind."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anya_actors.testing.simulation.disk import SimulatedDisk
    from anya_actors.testing.simulation.world import World

CURRENT: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class ProcessDied(BaseException):
    """Raised out of a port of a process that is dead: nothing after it may have any effect."""


class Process:
    """One incarnation of a machine's program.

    ``served`` holds what other processes may call, by name; it is empty until the program has
    started.
    """

    def __init__(self, world: World, machine: Machine, number: int) -> None:
        self.world = world
        self.machine = machine
        self.name = f"{machine.name}#{number}"
        self.alive = True
        self.served: dict[str, Any] = {}
        self.died: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks: list[asyncio.Task[Any]] = []

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run ``coroutine`` as this process's own task."""
        context = contextvars.copy_context()
        context.run(CURRENT.set, self)
        return asyncio.get_running_loop().create_task(coroutine, context=context)

    def own(self, task: asyncio.Task[Any]) -> None:
        """Note a task to be ended with the process."""
        if len(self._tasks) > 64:
            self._tasks = [each for each in self._tasks if not each.done()]
        self._tasks.append(task)

    def check_alive(self) -> None:
        """Every port calls this first: the dead have no effect."""
        if not self.alive:
            raise ProcessDied(self.name)

    def die(self) -> None:
        """End at once. What still runs is cancelled and finds every port dead."""
        self.alive = False
        self.served.clear()
        self._end_tasks()
        if not self.died.done():
            self.died.set_result(None)

    def _end_tasks(self) -> None:
        self._tasks = [task for task in self._tasks if not task.done()]
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            # A task may wait once more while it unwinds.
            asyncio.get_running_loop().call_later(0.001, self._end_tasks)


class Machine:
    """A place with a disk on which one process runs at a time.

    ``mates`` names the other places that share its disk and its power: they end with it when the
    power fails. One that does not restart is for a process that somebody else starts anew.
    """

    restarts = True

    def __init__(
        self,
        world: World,
        name: str,
        disk: SimulatedDisk,
        program: Callable[[Process], Coroutine[Any, Any, None]],
    ) -> None:
        self.world = world
        self.name = name
        self.disk = disk
        self.process: Process | None = None
        self._program = program
        self.mates: Callable[[], list[Machine]] = list
        self._boots = 0

    def boot(self) -> None:
        """Start the program anew; nothing happens if it runs."""
        if self.process is not None:
            return
        self._boots += 1
        self.process = Process(self.world, self, self._boots)
        self.world.trace(f"{self.process.name} boots")
        self.process.spawn(self._run(self.process))

    def crash(self, *, power: bool) -> None:
        """Kill the process; with ``power``, what the disk had not synced may be lost with it."""
        if self._end("loses power" if power else "is killed") and power:
            for mate in self.mates():
                mate._end("loses power")
            self.disk.lose_power()

    def _end(self, how: str) -> bool:
        process, self.process = self.process, None
        if process is None:
            return False
        self.world.trace(f"{process.name} {how}")
        self.world.crashes += 1
        process.die()
        if self.restarts:
            self.world.after(self.world.faults.restart_delay_s(), self.boot)
        return True

    async def _run(self, process: Process) -> None:
        try:
            await self._program(process)
        except Exception as error:  # noqa: BLE001 - a program that cannot start ends, as a real one does
            self.world.trace(f"{process.name} could not start: {error!r}")
            if self.process is process:
                self.crash(power=False)

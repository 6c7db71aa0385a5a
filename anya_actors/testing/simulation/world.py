"""One run: its seed, its time, its machines, its trace."""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, TypeVar

from anya_actors.testing.simulation.disk import SimulatedDisk
from anya_actors.testing.simulation.faults import Faults
from anya_actors.testing.simulation.loop import SimulatedLoop, SimulatedTask
from anya_actors.testing.simulation.process import CURRENT, Machine, Process, ProcessDied

T = TypeVar("T")

_START_UNIX_MS = 1_700_000_000_000


class SimulatedClock:
    """A `Clock` of virtual time, with one process's error of its wall clock."""

    def __init__(self, world: World, skew_ms: int) -> None:
        self._world = world
        self._skew_ms = skew_ms

    def now_unix_ms(self) -> int:
        return _START_UNIX_MS + round(self._world.now_s * 1000) + self._skew_ms

    def monotonic_s(self) -> float:
        return self._world.now_s

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)


class SimulatedRandomness:
    """A `Randomness` that is nothing but the seed: for simulations alone."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance

    def token_bytes(self, size: int) -> bytes:
        return self._chance.randbytes(size)

    def uniform(self) -> float:
        return self._chance.random()


class World:
    """Everything that one seed determines.

    ``trace`` takes one line for each thing that happened; two runs of one seed have the same
    `fingerprint`.
    """

    def __init__(self, seed: int, *, keep_trace: bool = False) -> None:
        self.seed = seed
        self.chance = Random(seed)  # noqa: S311 - a simulation is replayed, nothing secret is drawn
        self.faults = Faults.drawn(self.chance)
        self.machines: dict[str, Machine] = {}
        self.crashes = 0
        self.lines: list[str] | None = [] if keep_trace else None
        self._hash = hashlib.blake2b(digest_size=16)
        self._loop = SimulatedLoop(self.chance)
        self._loop.adopt = self._adopt
        self._loop.wrap_thread = _for_the_living
        self._loop.set_exception_handler(self._note_unhandled)

    @property
    def now_s(self) -> float:
        return self._loop.time()

    @property
    def fingerprint(self) -> str:
        """Of everything traced so far."""
        return self._hash.hexdigest()

    def trace(self, line: str) -> None:
        line = f"{self.now_s:10.6f} {line}"
        self._hash.update(line.encode())
        if self.lines is not None:
            self.lines.append(line)

    def add_machine(self, name: str, program: Callable[[Process], Coroutine[Any, Any, None]]) -> Machine:
        """A machine that runs ``program`` whenever it is up; boot it yourself."""
        machine = Machine(self, name, SimulatedDisk(self, name), program)
        self.machines[name] = machine
        return machine

    def clock(self) -> SimulatedClock:
        """A clock for a new process; wall clocks differ by up to two seconds."""
        return SimulatedClock(self, self.chance.randrange(-1000, 1000))

    def randomness(self) -> SimulatedRandomness:
        return SimulatedRandomness(self.chance)

    def after(self, delay_s: float, act: Callable[[], None]) -> None:
        """Let ``act`` happen later, whatever becomes of the process that asks for it."""
        self._loop.call_later(delay_s, act, context=contextvars.Context())

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run the whole world until ``main`` ends, then end every process."""
        try:
            return self._loop.run(main)
        finally:
            self._loop.run(self._end())
            self._loop.close()

    def _adopt(self, task: SimulatedTask, context: contextvars.Context) -> None:
        process = context.get(CURRENT)
        if process is not None:
            process.own(task)
            if not process.alive:
                task.cancel()

    async def _end(self) -> None:
        for machine in self.machines.values():
            if machine.process is not None:
                machine.process.die()
        me = asyncio.current_task()
        while left := [task for task in asyncio.all_tasks() if task is not me and not task.done()]:
            for task in left:
                task.cancel()
            await asyncio.sleep(0.001)

    def _note_unhandled(self, _: Any, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, ProcessDied):
            self.trace(f"unhandled: {context.get('message')} {error!r}")


def _for_the_living(work: Callable[[], None]) -> Callable[[], None]:
    """A thread's work happens only while the process that asked for it lives."""
    process = CURRENT.get()

    def run() -> None:
        if process is not None and not process.alive:
            return
        try:
            work()
        except ProcessDied:
            return

    return run

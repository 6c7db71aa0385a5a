"""An event loop whose time is virtual and whose order is drawn from a seed."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")

# More callbacks than any scenario needs: something runs in circles.
MOST_TURNS = 3_000_000


class StuckError(RuntimeError):
    """Nothing can ever happen again, or too much happens without an end."""


class SimulatedTask(asyncio.Task[Any]):
    """A task whose place in a set does not hang on its address in memory."""

    def __init__(self, number: int, coroutine: Any, loop: asyncio.AbstractEventLoop, context: Any) -> None:
        self.number = number
        super().__init__(coroutine, loop=loop, context=context)

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


class _ReadyInAnyOrder:
    """The callbacks that may run now; the next one is drawn by chance."""

    def __init__(self, chance: Random) -> None:
        self._draw = chance.random
        self._handles: list[asyncio.Handle] = []

    def append(self, handle: asyncio.Handle) -> None:
        self._handles.append(handle)

    def popleft(self) -> asyncio.Handle:
        handles = self._handles
        place = int(self._draw() * len(handles))
        handles[place], handles[-1] = handles[-1], handles[place]
        return handles.pop()

    def clear(self) -> None:
        self._handles.clear()

    def __len__(self) -> int:
        return len(self._handles)


class _NoSockets:
    """Stands where a loop waits for sockets: here waiting makes time pass."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        self._loop.pass_time(timeout)
        return []


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs coroutines with no waiting: when nothing is ready, time jumps to the next timer.

    Work for threads runs on the loop's own thread, at a moment and with a delay drawn by chance,
    so it still interleaves with everything else. ``adopt`` is called with every task
    made and its context; ``wrap_thread`` may change what a thread does.
    """

    _scheduled: list[asyncio.TimerHandle]

    def __init__(self, chance: Random) -> None:
        super().__init__()
        self._chance = chance
        self._now_s = 0.0
        # Finer than any delay drawn, coarser than a float can tell apart after years of virtual time.
        self._clock_resolution = 1e-6
        self._turns = 0
        self._tasks_made = 0
        self._ready = _ReadyInAnyOrder(chance)
        self._selector = _NoSockets(self)
        self.adopt: Callable[[SimulatedTask, contextvars.Context], None] = lambda *_: None
        self.wrap_thread: Callable[[Callable[[], None]], Callable[[], None]] = lambda work: work
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        return self._now_s

    def pass_time(self, timeout_s: float | None) -> None:
        """Called when a real loop would wait for at most ``timeout_s``."""
        self._turns += 1
        if self._turns > MOST_TURNS:
            raise StuckError(f"{MOST_TURNS} turns without an end")
        if timeout_s is None:
            raise StuckError("every task waits for another")
        if timeout_s > 0:
            self._now_s = max(self._now_s, self._scheduled[0].when())

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        done: asyncio.Future[T] = self.create_future()

        def work() -> None:
            error: Exception | None = None
            try:
                result = func(*args)
            except Exception as raised:  # noqa: BLE001 - handed to whoever waits, as a thread does
                error = raised
            self.call_later(self._chance.random() * 0.002, finish, error, None if error else result)

        def finish(error: Exception | None, result: Any) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(result)
            else:
                done.set_exception(error)

        slow = self._chance.random() < 0.05
        self.call_later(self._chance.random() * (0.2 if slow else 0.004), self.wrap_thread(work))
        return done

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run ``main`` to its end."""
        self._turns = 0
        return self.run_until_complete(main)

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, coroutine: Any, context: contextvars.Context | None = None
    ) -> SimulatedTask:
        self._tasks_made += 1
        context = context or contextvars.copy_context()
        task = SimulatedTask(self._tasks_made, coroutine, loop, context)
        self.adopt(task, context)
        return task

    def _process_events(self, event_list: Any) -> None:
        """There are no sockets."""

    def _write_to_self(self) -> None:
        """There is no other thread to wake up for."""

"""The commands that one activation owes: performed in order per key until they are settled."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

import structlog

from anya_actors.domain.machine import UnavailableError
from anya_actors.domain.supervision.backoff import Backoff
from anya_actors.ports.clock import Clock
from anya_actors.ports.randomness import Randomness
from anya_actors.ports.state_store import FencedError, Owed, StateStore

_log = structlog.get_logger(__name__)


class Outbox:
    """Keeps at every debt until it is paid, this copy of the actor is fenced, or it is closed.

    ``perform`` does one owed command and settles it in the store; whatever it raises, the debt
    remains and is tried again with growing delays.
    """

    def __init__(
        self,
        store: StateStore,
        perform: Callable[[Owed], Awaitable[None]],
        clock: Clock,
        randomness: Randomness,
        backoff: Backoff,
    ) -> None:
        self._store = store
        self._perform = perform
        self._clock = clock
        self._randomness = randomness
        self._backoff = backoff
        self._owed: dict[str, deque[Owed]] = {}
        self._known: set[int] = set()
        self._reading = 0
        self._performers: dict[str, asyncio.Task[None]] = {}
        self._chores: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Condition()
        self._fenced: FencedError | None = None
        self._closing = False

    @property
    def owed_count(self) -> int:
        """How many commands are owed now, over all keys."""
        return sum(len(queue) for queue in self._owed.values())

    def verify_acting(self) -> None:
        """Raise `FencedError` or `UnavailableError` when this copy may not act any more."""
        self.verify_unfenced()
        if self._closing:
            raise UnavailableError(self._store.actor, "this copy of it is closing")

    def verify_unfenced(self) -> None:
        """Raise `FencedError` when a newer copy has taken over."""
        if self._fenced is not None:
            raise FencedError(*self._fenced.args)

    async def fence(self, error: FencedError) -> None:
        """Stop acting if ``error`` tells of this actor; another actor's is only a failed call."""
        if error.args[0] == self._store.actor:
            self._fenced = error
            await self._notify()

    def add(self, owed: Iterable[Owed]) -> None:
        """Begin to perform ``owed``, except what is known already."""
        if self._closing:
            return
        for one in sorted(owed, key=lambda each: each.sequence):
            if one.sequence in self._known:
                continue
            self._known.add(one.sequence)
            self._owed.setdefault(one.key, deque()).append(one)
            if one.key not in self._performers:
                self._performers[one.key] = asyncio.create_task(self._perform_all(one.key))

    async def take_up(self) -> None:
        """Begin to perform everything that the store says is owed."""
        self._reading += 1
        try:
            self.add(await self._store.owed())
        finally:
            self._reading -= 1

    def persist(self, attempt: Callable[[], Awaitable[object]], complaint: str) -> None:
        """Try ``attempt`` in the background until it succeeds."""
        if not self._closing:
            self._start_chore(self._persist(attempt, complaint))

    async def wait_settled(self, key: str) -> None:
        """Return once nothing is owed for ``key``; raise when that cannot come about here."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: key not in self._owed or self._fenced is not None or self._closing
            )
        if key in self._owed:
            self.verify_acting()

    def begin_closing(self) -> None:
        """Take on nothing more."""
        self._closing = True

    async def close(self) -> None:
        """Stop performing; what is still owed stays owed."""
        self.begin_closing()
        await self._notify()
        tasks = [*self._performers.values(), *self._chores]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _perform_all(self, key: str) -> None:
        try:
            queue = self._owed[key]
            while queue:
                owed = queue[0]
                await self._persist(lambda owed=owed: self._perform(owed), "an owed command failed")  # type: ignore[misc]  # bound now
                if self._fenced is not None:
                    return
                queue.popleft()
                if not self._reading:  # what is being read may still name it
                    self._known.discard(owed.sequence)
            del self._owed[key]
        finally:
            self._performers.pop(key, None)
            await self._notify()

    async def _persist(self, attempt: Callable[[], Awaitable[object]], complaint: str) -> None:
        """Try until it succeeds, backing off; end at once when fenced."""
        tries = 0
        while not self._is_fenced():
            try:
                await attempt()
            except Exception as error:  # noqa: BLE001 - whatever it was, the debt remains
                if isinstance(error, FencedError):
                    await self.fence(error)
                    if self._is_fenced():
                        return
                _log.warning(complaint, actor=self._store.actor, error=str(error), tries=tries + 1)
                await self._clock.sleep(self._backoff.delay_s(tries, self._randomness.uniform()))
                tries += 1
            else:
                return

    def _is_fenced(self) -> bool:
        return self._fenced is not None

    def _start_chore(self, chore: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(chore)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

"""A store that fails, forgets to answer, or dies where a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from anya_actors.domain.machine import UnavailableError
from anya_actors.ports.state_store import Applied, Commit, Owed, Recorded, StateStore, Stored

T = TypeVar("T")

Around = Callable[[str, Callable[[], Awaitable[Any]]], Awaitable[Any]]
"""``around(method, call)``: may call, before, after, or never."""


async def undisturbed(_: str, call: Callable[[], Awaitable[Any]]) -> Any:
    return await call()


class FaultyStore:
    """Every call but `close` goes through ``around``."""

    def __init__(self, inner: StateStore, around: Around = undisturbed) -> None:
        self._inner = inner
        self.around = around
        self.closed = False

    @property
    def actor(self) -> str:
        return self._inner.actor

    @property
    def epoch(self) -> int:
        return self._inner.epoch

    async def load(self, key: str) -> Stored | None:
        return await self._run("load", lambda: self._inner.load(key))

    async def keys(self, prefix: str = "") -> list[str]:
        return await self._run("keys", lambda: self._inner.keys(prefix))

    async def applied(self, message_id: str) -> Applied | None:
        return await self._run("applied", lambda: self._inner.applied(message_id))

    async def commit(self, commit: Commit) -> tuple[int, ...]:
        return await self._run("commit", lambda: self._inner.commit(commit))

    async def owed(self) -> list[Owed]:
        return await self._run("owed", lambda: self._inner.owed())

    async def settle(self, sequence: int) -> None:
        await self._run("settle", lambda: self._inner.settle(sequence))

    async def events_after(self, sequence: int, limit: int) -> list[Recorded]:
        return await self._run("events_after", lambda: self._inner.events_after(sequence, limit))

    async def forget_events(self, up_to_sequence: int) -> None:
        await self._run("forget_events", lambda: self._inner.forget_events(up_to_sequence))

    async def forget_replies(self, before_unix_ms: int) -> int:
        return await self._run("forget_replies", lambda: self._inner.forget_replies(before_unix_ms))

    async def close(self) -> None:
        self.closed = True
        await self._inner.close()

    async def _run(self, method: str, call: Callable[[], Awaitable[T]]) -> T:
        result: T = await self.around(method, call)
        return result


class Times:
    """Disturbs the first calls of one method; ``remaining`` counts down."""

    def __init__(self, method: str, times: int, error: Exception, *, after: bool) -> None:
        self._method = method
        self._error = error
        self._after = after
        self.remaining = times

    async def __call__(self, method: str, call: Callable[[], Awaitable[Any]]) -> Any:
        if method != self._method or self.remaining == 0:
            return await call()
        self.remaining -= 1
        if self._after:
            await call()
        raise self._error


def refusing(method: str, times: int = 1, error: Exception | None = None) -> Times:
    """The call is not made and fails."""
    return Times(method, times, error or UnavailableError("the store", "it was told to fail"), after=False)


def losing_the_answer(method: str, times: int = 1) -> Times:
    """The call is made, and the answer never arrives."""
    return Times(method, times, UnavailableError("the store", "the answer was lost"), after=True)


class Death:
    """The process dies at its call number ``at``: before the call is made, or after."""

    def __init__(self, at: int, *, after: bool) -> None:
        self._at = at
        self._after = after
        self._calls = 0
        self.died = asyncio.Event()

    async def __call__(self, _: str, call: Callable[[], Awaitable[Any]]) -> Any:
        self._calls += 1
        if self._calls < self._at:
            return await call()
        if self._calls == self._at and self._after:
            await call()
        self.died.set()
        return await asyncio.Event().wait()  # for ever: nobody is there any more


class Gate:
    """Holds the calls of one method until it is opened."""

    def __init__(self, method: str, *, after: bool = False) -> None:
        self._method = method
        self._after = after
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def __call__(self, method: str, call: Callable[[], Awaitable[Any]]) -> Any:
        if method != self._method:
            return await call()
        result = await call() if self._after else None
        self.reached.set()
        await self.opened.wait()
        return result if self._after else await call()


class LateCommits:
    """A commit goes its way even when its caller has gone, and is in sight only once `land` is set.

    So does RocksDB's between the write and the sync, and a server that the connection to is lost.
    The callers of the first ``lost`` are told that it failed.
    """

    def __init__(self, lost: int = 0) -> None:
        self._lost = lost
        self.sent = asyncio.Event()
        self.land = asyncio.Event()
        self._commits: list[asyncio.Task[Any]] = []

    async def __call__(self, method: str, call: Callable[[], Awaitable[Any]]) -> Any:
        if method == "settle":  # a write comes through after those that were sent before it
            self.land.set()
            await asyncio.gather(*self._commits, return_exceptions=True)
        if method != "commit":
            return await call()

        async def arrive() -> Any:
            await self.land.wait()
            return await call()

        commit = asyncio.create_task(arrive())
        self._commits.append(commit)
        self.sent.set()
        if self._lost:
            self._lost -= 1
            raise UnavailableError("the store", "the connection broke")
        return await asyncio.shield(commit)

"""What every actor shares: activation, a bounded mailbox, health, and errors that travel.

A shell is a plain class that knows no Ray; ``host`` gives it its process. It lives in two steps. A process
that is only *prepared* has done what needs no store (imports, unsealing): a standby waits there.
*Activated*, it holds the actor's store under a new epoch and serves.
"""

from __future__ import annotations

import asyncio
import functools
import os
import secrets
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, runtime_checkable

import structlog

from anya_actors.domain.machine import AnyaError, OverloadedError
from anya_actors.ports.actors import Actors
from anya_actors.ports.state_store import FencedError

_log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


class NotServingError(AnyaError):
    """This copy of the actor does not serve (any more); nothing was done."""

    code = "not-serving"
    message = "this copy of {} does not serve"
    remedy = "Locate the actor again."

    def __init__(self, actor: str) -> None:
        super().__init__(actor)


class ActorFaultError(AnyaError):
    """A fault in the actor's own code. Its log has the traceback under ``fault_id``."""

    code = "internal-error"
    message = "{} failed in {}; fault {}"
    remedy = "Look for the fault's id in the actor's log, and report what you find."

    def __init__(self, actor: str, method: str, fault_id: str) -> None:
        super().__init__(actor, method, fault_id)


class Service(Protocol):
    """What a shell needs of its service; everything else are the service's own use cases."""

    async def resume(self) -> None:
        """Take up what a dead predecessor owed."""

    async def check_health(self) -> None:
        """Return if healthy, raise if not."""

    async def close(self) -> None:
        """Release what it holds."""


@runtime_checkable
class Owing(Protocol):
    """A service that may owe effects: it is not idle, and not passivated, while it does."""

    @property
    def owed_count(self) -> int:
        """How many effects are owed now."""


SV = TypeVar("SV", bound=Service)


class Builder(Protocol):
    """Makes the service inside the actor's own process. Picklable; carries no secret."""

    async def prepare(self) -> None:
        """Do what may be done before the store is taken."""

    async def build(self, name: str, actors: Actors) -> tuple[Any, int]:
        """Take the store; return the service and its epoch."""


class DurableActor(Generic[SV]):
    """The shell of one actor.

    A call that returns has been made durable. A call that fails may have been: repeat it with the
    same ``message_id``; it is applied once.
    """

    def __init__(
        self,
        name: str,
        builder: Builder,
        connect: Callable[[], Actors],
        mailbox_limit: int = 1000,
        prepared: bool = False,
    ) -> None:
        self.name = name
        self._builder = builder
        self._connect = connect
        self._mailbox_limit = mailbox_limit
        self._service: SV | None = None
        self._epoch = 0
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._last_call_s = time.monotonic()
        self._stepping = asyncio.Lock()
        self._prepared = prepared
        self._tried = asyncio.Event()
        self._failure: AnyaError | None = None
        self._draining = False

    @property
    def service(self) -> SV:
        """The service, once activated."""
        if self._service is None or self._draining:
            raise NotServingError(self.name)
        return self._service

    async def prepare(self) -> None:
        """Do what may be done before the store is taken. Repeating it is no error."""
        async with self._stepping:
            await self._guarded("prepare", self._prepare)

    async def activate(self) -> int:
        """Take the store, resume, serve; return the epoch. Repeating it is no error."""
        async with self._stepping:
            if self._service is None:
                try:
                    await self._guarded("activate", self._activate)
                except AnyaError as error:
                    self._failure = error
                    raise
                finally:
                    self._tried.set()
            return self._epoch

    async def wait_activated(self) -> None:
        """Return once it was activated; raise what kept it from that."""
        await self._tried.wait()
        if self._service is None and self._failure is not None:
            raise self._failure

    @property
    def epoch(self) -> int | None:
        """The epoch, or None while it is not activated."""
        return None if self._service is None else self._epoch

    async def check_health(self) -> tuple[float, int]:
        """Return (seconds since the last call, calls in flight and effects owed) or raise."""
        service = self.service
        await self._guarded("check_health", service.check_health)
        owed = service.owed_count if isinstance(service, Owing) else 0
        return time.monotonic() - self._last_call_s, self._in_flight + owed

    async def drain(self) -> None:
        """Refuse new calls, finish those in flight, release the store."""
        service, self._draining = self._service, True
        await self._idle.wait()
        if service is not None:
            await service.close()

    async def _prepare(self) -> None:
        if not self._prepared:
            await self._builder.prepare()
            self._prepared = True

    async def _activate(self) -> None:
        await self._prepare()
        service, self._epoch = await self._builder.build(self.name, self._connect())
        try:
            await service.resume()
        except BaseException:
            await service.close()  # or its store stays taken, and no other try can succeed
            raise
        self._last_call_s = time.monotonic()
        self._service = service

    async def _serve(self, method: str, work: Callable[[], Awaitable[T]]) -> T:
        if self._service is None or self._draining:
            raise NotServingError(self.name)
        if self._in_flight >= self._mailbox_limit:
            raise OverloadedError(self.name, self._in_flight)
        self._in_flight += 1
        self._idle.clear()
        self._last_call_s = time.monotonic()
        try:
            return await self._guarded(method, work)
        finally:
            self._last_call_s = time.monotonic()
            self._in_flight -= 1
            if self._in_flight == 0:
                self._idle.set()

    async def _guarded(self, method: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do ``work``; only errors of our own leave this process, without what they came from."""
        try:
            return await work()
        except AnyaError as error:
            error.__cause__ = error.__context__ = None
            if isinstance(error, FencedError):
                self._draining = True
                _end_after_answering()
            raise
        except Exception as error:  # noqa: BLE001 - an unknown error may carry a secret, and may not pickle
            fault_id = secrets.token_hex(8)
            _log.error("fault", actor=self.name, method=method, fault_id=fault_id, trace=_trace(error))
            raise ActorFaultError(self.name, method, fault_id) from None


A = TypeVar("A", bound=DurableActor[Any])


def served(
    method: Callable[Concatenate[A, P], Awaitable[T]],
) -> Callable[Concatenate[A, P], Coroutine[Any, Any, T]]:
    """Mark a shell's method as one that callers may call; it goes through the mailbox."""

    async def through_mailbox(self: A, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._serve(method.__name__, lambda: method(self, *args, **kwargs))

    functools.update_wrapper(through_mailbox, method)
    through_mailbox.served = True  # type: ignore[attr-defined]  # read by `ActorHost.invoke`
    return through_mailbox


def _trace(error: BaseException) -> str:
    """Where and what: no message, and none of the local variables that structlog would print."""
    lines = ["".join(traceback.format_tb(error.__traceback__)) + type(error).__name__]
    cause = error.__cause__ or error.__context__
    return "\ncaused by\n".join([*lines, _trace(cause)] if cause is not None else lines)


def _end_after_answering() -> None:
    """A fenced copy must not go on: end the process once the answer is out."""
    asyncio.get_running_loop().call_later(0.2, os._exit, 1)

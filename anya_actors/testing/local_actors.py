"""Actors in one process: given services, called by name as on a real platform."""

from __future__ import annotations

import asyncio
import inspect
import pickle
from collections.abc import Callable, Mapping
from typing import Any, Final

from anya_actors.domain.machine import OverloadedError
from anya_actors.ports.actors import CallTimeoutError, UnknownActorError, UnknownMethodError

# What a shell calls on its service itself and offers to nobody.
LIFECYCLE: Final = frozenset({"resume", "check_health", "close"})

BuildService = Callable[[str], Any]


class LocalActors:
    """An `Actors` over services in this process and event loop, without Ray.

    ``services`` maps actor names to services; ``kinds`` maps a kind to a function that makes the
    service of a name ``kind/key`` at the first call to it, as activation does. Arguments, answers
    and errors are copied as they would be between two processes, so a test finds what cannot
    travel and what two parties would otherwise share. A method serves if it is public, a
    coroutine function and no part of the lifecycle.
    """

    def __init__(
        self,
        services: Mapping[str, Any] | None = None,
        *,
        kinds: Mapping[str, BuildService] | None = None,
        mailbox_limit: int = 1000,
    ) -> None:
        self._services = dict(services or {})
        self._kinds = dict(kinds or {})
        self._mailbox_limit = mailbox_limit
        self._waiting: dict[str, int] = {}
        self._activating: dict[str, asyncio.Lock] = {}

    def place(self, actor: str, service: Any) -> None:
        """Let ``service`` be the actor of this name, in the place of any before it."""
        self._services[actor] = service

    def remove(self, actor: str) -> None:
        """Let the actor be gone; one of a kind is made anew at the next call."""
        self._services.pop(actor, None)

    async def call(
        self, actor: str, method: str, *args: Any, message_id: str | None = None, timeout_s: float = 30.0
    ) -> Any:
        """Call a method, as `Actors` says."""
        service = await self._service(actor)
        serve = self._method(service, actor, method)
        waiting = self._waiting.get(actor, 0)
        if waiting >= self._mailbox_limit:
            raise OverloadedError(actor, waiting)
        keywords = {} if message_id is None else {"message_id": message_id}
        self._waiting[actor] = waiting + 1
        try:
            async with asyncio.timeout(timeout_s) as deadline:
                return _copy(await serve(*_copy(args), **keywords))
        except TimeoutError:
            if not deadline.expired():
                raise
            raise CallTimeoutError(actor, method, timeout_s) from None
        except Exception as error:
            raise _copy(error) from error
        finally:
            self._waiting[actor] -= 1

    async def close(self) -> None:
        """Close every service that can be closed."""
        services, self._services = self._services, {}
        for service in reversed(services.values()):
            if hasattr(service, "close"):
                await service.close()

    async def _service(self, actor: str) -> Any:
        # Two first calls at once must not activate twice.
        async with self._activating.setdefault(actor, asyncio.Lock()):
            service = self._services.get(actor)
            if service is None:
                kind, _, key = actor.partition("/")
                build = self._kinds.get(kind)
                if build is None or not key:
                    raise UnknownActorError(actor)
                service = build(key)
                if inspect.isawaitable(service):
                    service = await service
                if hasattr(service, "resume"):
                    await service.resume()
                self._services[actor] = service
            return service

    def _method(self, service: Any, actor: str, method: str) -> Callable[..., Any]:
        found = None if method.startswith("_") or method in LIFECYCLE else getattr(service, method, None)
        if found is None or not inspect.iscoroutinefunction(found):
            raise UnknownMethodError(actor, method)
        serve: Callable[..., Any] = found
        return serve


def _copy(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own bytes of a line ago

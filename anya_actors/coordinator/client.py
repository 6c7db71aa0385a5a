"""`Actors` on Ray: finds an actor by its name, and finds it again when it has died."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from typing import Any

import ray
import ray.exceptions

from anya_actors.actors.host import packed, unpacked
from anya_actors.actors.line import LineBrokenError
from anya_actors.actors.shell import NotServingError
from anya_actors.coordinator.ray_errors import unwrapped
from anya_actors.coordinator.route import Route
from anya_actors.domain.machine import AnyaError, UnavailableError
from anya_actors.ports.actors import COORDINATOR, CallTimeoutError, UnknownMethodError
from anya_actors.ports.state_store import FencedError

COORDINATOR_SERVES = frozenset(
    {
        "locate",
        "passivate",
        "system",
        "system_after",
        "failures",
        "publish",
        "last_sequence",
        "events_after",
        "events_head",
    }
)
FIRST_PAUSE_S = 0.01
LONGEST_PAUSE_S = 0.5
MOST_ROUTES = 256  # virtual actors come and go by the thousand, and Ray watches whoever has a handle


class RayActors:
    """One per process; keeps the ways to actors that it has found and used last.

    ``namespace`` is where the coordinator is, if this process was not given that namespace by Ray.
    """

    def __init__(self, namespace: str | None = None) -> None:
        self._namespace = namespace
        self._routes: OrderedDict[str, Route] = OrderedDict()

    async def call(
        self, actor: str, method: str, *args: Any, message_id: str | None = None, timeout_s: float = 30.0
    ) -> Any:
        keywords = {} if message_id is None else {"message_id": message_id}
        deadline_s = time.monotonic() + timeout_s
        pause_s = FIRST_PAUSE_S
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    route = await self._route(actor, deadline_s - time.monotonic())
                    try:
                        return await _send(route, actor, method, args, keywords)
                    except (
                        ray.exceptions.RayActorError,
                        LineBrokenError,
                        NotServingError,
                        FencedError,
                    ):
                        # Dead, dying or superseded: the registry knows who serves next.
                        self._forget(actor, route)
                    await asyncio.sleep(pause_s)
                    pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
        except TimeoutError:
            # The one that we know under this name, or the coordinator that should know it, may be no more.
            known = actor if actor in self._routes else COORDINATOR
            if known in self._routes:
                self._routes.pop(known).retire()
            raise CallTimeoutError(actor, method, timeout_s) from None

    async def reach(self, actor: str, timeout_s: float = 5.0) -> None:
        """Have the shortest way to the actor at hand, if it lives, before anything is asked of it."""
        with contextlib.suppress(AnyaError, TimeoutError):
            async with asyncio.timeout(timeout_s):
                await (await self._route(actor, timeout_s)).seek()

    def close(self) -> None:
        """Leave every actor; a call after that finds it anew."""
        while self._routes:
            self._routes.popitem()[1].close()

    async def _route(self, actor: str, timeout_s: float) -> Route:
        known = self._routes.get(actor)
        if known is not None:
            self._routes.move_to_end(actor)
            return known
        if actor == COORDINATOR:
            try:
                found = await asyncio.to_thread(ray.get_actor, COORDINATOR, self._namespace)
            except ValueError:
                raise UnavailableError(COORDINATOR, "the platform is not running") from None
        else:
            found = await self.call(COORDINATOR, "locate", actor, timeout_s, timeout_s=timeout_s)
        return self._keep(actor, Route(found))

    def _keep(self, actor: str, route: Route) -> Route:
        kept = self._routes.setdefault(actor, route)  # another call may have found it meanwhile
        if len(self._routes) > MOST_ROUTES:
            self._routes.popitem(last=False)[1].retire()
        return kept

    def _forget(self, actor: str, route: Route) -> None:
        if actor != COORDINATOR and self._routes.get(actor) is route:
            del self._routes[actor]
            route.retire()


async def _send(route: Route, actor: str, method: str, args: tuple[Any, ...], keywords: Any) -> Any:
    if actor != COORDINATOR:
        return unpacked(await route.call(packed((method, args, keywords))))
    if method not in COORDINATOR_SERVES:
        raise UnknownMethodError(actor, method)
    with unwrapped():
        return await getattr(route.handle, method).remote(*args, **keywords)


_connected: RayActors | None = None


def connect() -> RayActors:
    """This process's `RayActors`."""
    global _connected
    if _connected is None:
        _connected = RayActors()
    return _connected

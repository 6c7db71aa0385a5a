"""`Actors` on Ray: finds an actor by its name, and finds it again when it has died."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from typing import Any

import ray
import ray.exceptions

from anya_actors.actors.host import packed, unpacked
from anya_actors.actors.shell import NotServingError
from anya_actors.coordinator.ray_errors import unwrapped
from anya_actors.domain.machine import UnavailableError
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
MOST_HANDLES = 256  # virtual actors come and go by the thousand, and Ray watches whoever has a handle


class RayActors:
    """One per process; keeps the handles that it has found and used last.

    ``namespace`` is where the coordinator is, if this process was not given that namespace by Ray.
    """

    def __init__(self, namespace: str | None = None) -> None:
        self._namespace = namespace
        self._handles: OrderedDict[str, Any] = OrderedDict()

    async def call(
        self, actor: str, method: str, *args: Any, message_id: str | None = None, timeout_s: float = 30.0
    ) -> Any:
        keywords = {} if message_id is None else {"message_id": message_id}
        deadline_s = time.monotonic() + timeout_s
        pause_s = FIRST_PAUSE_S
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    handle = await self._handle(actor, deadline_s - time.monotonic())
                    try:
                        with unwrapped():
                            return await _send(handle, actor, method, args, keywords)
                    except (ray.exceptions.RayActorError, NotServingError, FencedError):
                        # Dead, dying or superseded: the registry knows who serves next.
                        self._forget(actor, handle)
                    await asyncio.sleep(pause_s)
                    pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
        except TimeoutError:
            # The one that we know under this name, or the coordinator that should know it, may be no more.
            self._handles.pop(actor if actor in self._handles else COORDINATOR, None)
            raise CallTimeoutError(actor, method, timeout_s) from None

    async def _handle(self, actor: str, timeout_s: float) -> Any:
        known = self._handles.get(actor)
        if known is not None:
            self._handles.move_to_end(actor)
            return known
        if actor == COORDINATOR:
            try:
                found = await asyncio.to_thread(ray.get_actor, COORDINATOR, self._namespace)
            except ValueError:
                raise UnavailableError(COORDINATOR, "the platform is not running") from None
        else:
            found = await self.call(COORDINATOR, "locate", actor, timeout_s, timeout_s=timeout_s)
        self._handles[actor] = found
        if len(self._handles) > MOST_HANDLES:
            self._handles.popitem(last=False)
        return found

    def _forget(self, actor: str, handle: Any) -> None:
        if actor != COORDINATOR and self._handles.get(actor) is handle:
            del self._handles[actor]


async def _send(handle: Any, actor: str, method: str, args: tuple[Any, ...], keywords: Any) -> Any:
    if actor != COORDINATOR:
        return unpacked(await handle.invoke.remote(packed((method, args, keywords))))
    if method not in COORDINATOR_SERVES:
        raise UnknownMethodError(actor, method)
    return await getattr(handle, method).remote(*args, **keywords)


_connected: RayActors | None = None


def connect() -> RayActors:
    """This process's `RayActors`."""
    global _connected
    if _connected is None:
        _connected = RayActors()
    return _connected

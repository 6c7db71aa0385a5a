"""Keys that rotate by themselves, as their policies say."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from anya_actors.domain.hsm.policy import rotation_due_unix_ms
from anya_actors.domain.hsm.views import KeyView
from anya_actors.ports.clock import Clock
from anya_actors.ports.state_store import FencedError
from anya_actors.services.hsm.background import Background
from anya_actors.services.hsm.keys import KeyRing

RETRY_S: Final = 60

_log = structlog.get_logger(__name__)


class Rotations(Background):
    """Has ``rotate`` make a new version of each key that is due, also of those that fell due meanwhile.

    Only keys that are enabled rotate. What fails is logged and tried again after a minute.
    """

    def __init__(self, ring: KeyRing, clock: Clock, rotate: Callable[[KeyView], Awaitable[KeyView]]) -> None:
        super().__init__("rotation", self._watch, clock, RETRY_S)
        self._ring = ring
        self._rotate = rotate
        self._due: dict[str, int] = {}  # 0 for never
        self._noted = asyncio.Event()

    def note(self, view: KeyView) -> KeyView:
        """A key was made or changed."""
        self._due[view.name] = _due_of(view)
        self._noted.set()
        return view

    async def _watch(self) -> None:
        for view in await self._ring.views(None):
            if view.name not in self._due:  # else what was noted meanwhile is newer
                self._due[view.name] = _due_of(view)
        while True:
            self._noted.clear()
            now = self._clock.now_unix_ms()
            for name in [name for name, due in self._due.items() if 0 < due <= now]:
                try:
                    await self._rotate_if_due(name)
                except FencedError:
                    raise
                except Exception as error:  # noqa: BLE001 - one key must not stop the others
                    _log.warning("a key that is due could not be rotated", key=name, error=str(error))
                    self._due[name] = now + RETRY_S * 1000
            await self._wait(min((due for due in self._due.values() if due), default=None))

    async def _rotate_if_due(self, name: str) -> None:
        view = await self._ring.view(name, "")
        self._due[name] = _due_of(view)
        if 0 < self._due[name] <= self._clock.now_unix_ms():
            self.note(await self._rotate(view))

    async def _wait(self, until_unix_ms: int | None) -> None:
        if until_unix_ms is None:
            await self._noted.wait()
            return
        left_s = (until_unix_ms - self._clock.now_unix_ms()) / 1000
        waiting = [
            asyncio.create_task(self._clock.sleep(left_s)),
            asyncio.create_task(self._noted.wait()),
        ]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)


def _due_of(view: KeyView) -> int:
    if view.state != "enabled":
        return 0
    return rotation_due_unix_ms(view.policy, view.versions[-1].created_unix_ms)

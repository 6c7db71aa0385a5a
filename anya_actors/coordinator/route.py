"""The ways to one actor's process: Ray's always, and a line where it is on this machine."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final

import ray.exceptions

from anya_actors.actors.line import Line
from anya_actors.coordinator.ray_errors import unwrapped

CALLS_BEFORE_A_LINE: Final = 2  # whoever calls an actor once or twice would spend more on finding it


class Route:
    """Calls to one host, in the order in which they are made, whichever way each goes.

    Raises what the method raises, `RayActorError` and `LineBrokenError`: then the call may have been
    made or not.
    """

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self._line: Line | None = None
        self._calls = 0
        self._sending = asyncio.Lock()
        self._seeking: asyncio.Task[None] | None = None

    async def call(self, call: bytes) -> bytes:
        """The host's answer to a packed call."""
        async with self._sending:
            line = self._line
            if line is not None and line.is_open:
                sent: Any = line.send(call)
            else:
                sent = self.handle.invoke.remote(call)
        with unwrapped():
            answer: bytes = await sent
        self._calls += 1
        if self._calls == CALLS_BEFORE_A_LINE and self._line is None:
            self._seeking = asyncio.create_task(self.seek())
        return answer

    async def seek(self) -> None:
        """Look for a line now. Calls wait meanwhile: what Ray was given before has arrived then."""
        async with self._sending:
            with contextlib.suppress(ray.exceptions.RayError, OSError):
                name = await self.handle.line.remote()
                self._line = await Line.to(name) if name else None

    def retire(self) -> None:
        """Leave the line once everything is answered, and look for none any more."""
        if self._seeking is not None:
            self._seeking.cancel()
        if self._line is not None:
            self._line.retire()

    def close(self) -> None:
        """Leave the line now."""
        if self._line is not None:
            self._line.close()

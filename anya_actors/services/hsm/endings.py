"""Ends the processes of sessions that are over."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from anya_actors.domain.machine import AnyaError
from anya_actors.ports.actors import COORDINATOR, Actors
from anya_actors.ports.clock import Clock

DELAY_S: Final = 10.0


class ProcessEndings:
    """Has the coordinator stop a session's process, some seconds after the session is over.

    Not at once: whoever still calls it is to hear from it that the session is closed. A process
    that vanished instead would be brought back by that very call, to be ended again, and so on.
    Without ``actors`` nothing happens: the processes end when they idle.
    """

    def __init__(self, actors: Actors | None, clock: Clock) -> None:
        self._actors = actors
        self._clock = clock
        self._ending: dict[str, asyncio.Task[None]] = {}

    def schedule(self, actor: str) -> None:
        """End the process of ``actor`` soon; asking again meanwhile changes nothing."""
        if self._actors is not None and actor not in self._ending:
            self._ending[actor] = asyncio.create_task(self._end(self._actors, actor))

    async def close(self) -> None:
        """Forget what was scheduled."""
        tasks = list(self._ending.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _end(self, actors: Actors, actor: str) -> None:
        try:
            await self._clock.sleep(DELAY_S)
            # Refused audit entries protect the keys already; this is about memory, so it may fail.
            with contextlib.suppress(AnyaError):
                await actors.call(COORDINATOR, "passivate", actor)
        finally:
            self._ending.pop(actor, None)

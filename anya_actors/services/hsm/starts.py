"""Starts the processes of sessions that have been opened."""

from __future__ import annotations

import asyncio
import contextlib

from anya_actors.domain.machine import AnyaError
from anya_actors.ports.actors import COORDINATOR, Actors

LONGEST_START_S = 60.0


class ProcessStarts:
    """Has the coordinator start a session's process while its opening is still being audited.

    The keys are released to it only when that entry is durable. It may fail: then the session's
    first caller has it started. Without ``actors`` nothing happens.
    """

    def __init__(self, actors: Actors | None) -> None:
        self._actors = actors
        self._starting: set[asyncio.Task[None]] = set()

    def begin(self, actor: str) -> None:
        """Start the process of ``actor`` in the background."""
        if self._actors is not None:
            task = asyncio.create_task(self._start(self._actors, actor))
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)

    async def _start(self, actors: Actors, actor: str) -> None:
        with contextlib.suppress(AnyaError):
            await actors.call(COORDINATOR, "locate", actor, LONGEST_START_S, timeout_s=LONGEST_START_S)

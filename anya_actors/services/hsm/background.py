"""What the HSM does beside its calls, and goes on doing whatever fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from anya_actors.domain.hsm.errors import SealedError
from anya_actors.ports.clock import Clock
from anya_actors.ports.state_store import FencedError

_log = structlog.get_logger(__name__)


class Background:
    """Does ``work`` until it returns. If it raises, that is logged and it begins anew ``retry_s`` later.

    A copy that was fenced, or has no key any more, ends for good.
    """

    def __init__(self, name: str, work: Callable[[], Awaitable[None]], clock: Clock, retry_s: float) -> None:
        self._name = name
        self._work = work
        self._clock = clock
        self._retry_s = retry_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, or break off and begin again."""
        self.stop()
        self._task = asyncio.create_task(self._run())

    def stop(self) -> None:
        """Break off."""
        if self._task is not None:
            self._task.cancel()

    async def close(self) -> None:
        """Break off; return when it has ended."""
        self.stop()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self._work()
                return
            except (FencedError, SealedError):
                return
            except Exception as error:  # noqa: BLE001 - whatever it is, the work is still to be done
                _log.warning("work in the background is tried again", work=self._name, error=str(error))
                await self._clock.sleep(self._retry_s)

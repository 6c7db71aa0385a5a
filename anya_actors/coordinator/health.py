"""Asks every serving child how it is, and says which ones do not answer well."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from anya_actors.coordinator.launcher import reason
from anya_actors.coordinator.processes import Health, Identity, Process
from anya_actors.ports.clock import Clock
from anya_actors.ports.state_store import FencedError

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class HealthPolicy:
    """How often children are asked, how long they may take, how often they may fail to answer."""

    interval_s: float = 5.0
    timeout_s: float = 5.0
    failures: int = 2


@dataclass(slots=True)
class Active:
    """A child that serves."""

    process: Process
    identity: Identity
    failures: int = 0
    condemned: bool = False


class HealthWatch:
    """Calls ``unhealthy`` once for a child that failed too often, ``healthy`` for each good answer."""

    def __init__(
        self,
        policy: HealthPolicy,
        clock: Clock,
        active: Mapping[str, Active],
        *,
        healthy: Callable[[str, Health], None],
        unhealthy: Callable[[str, Active, str], None],
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._active = active
        self._healthy = healthy
        self._unhealthy = unhealthy

    async def run(self) -> None:
        """Ask for ever."""
        while True:
            await self._clock.sleep(self._policy.interval_s)
            asked = [self._ask(name, active) for name, active in self._active.items()]
            for fault in await asyncio.gather(*asked, return_exceptions=True):
                if isinstance(fault, Exception):  # nobody's fault may end the watch over all
                    _log.error("health watch failed", trace="".join(traceback.format_exception(fault)))

    async def _ask(self, name: str, active: Active) -> None:
        try:
            async with asyncio.timeout(self._policy.timeout_s):
                health = await active.process.check_health()
        except Exception as error:  # noqa: BLE001 - any failure to answer well counts
            active.failures += 1
            _log.warning("unhealthy", actor=name, error=reason(error), failures=active.failures)
            too_often = isinstance(error, FencedError) or active.failures >= self._policy.failures
            if too_often and not active.condemned and self._active.get(name) is active:
                active.condemned = True
                self._unhealthy(name, active, reason(error))
        else:
            active.failures = 0
            if self._active.get(name) is active:
                self._healthy(name, health)

"""What the supervisor needs of the thing that runs actors. Ray is one; a test's memory another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from anya_actors.domain.machine import AnyaError


class StartFailedError(AnyaError):
    """An actor's process came up, but the actor could not be activated."""

    code = "start-failed"
    message = "{} could not start: {}"
    remedy = "The reason is in the message; the supervisor tries again with growing delays."

    def __init__(self, actor: str, reason: str) -> None:
        super().__init__(actor, reason)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who an activated process is."""

    pid: int
    node_ip: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Health:
    """What a healthy process answers: how long nobody called it, and how many calls it has now."""

    idle_s: float
    in_flight: int


class Process(Protocol):
    """One process of one actor."""

    @property
    def label(self) -> str:
        """Its own name, ``kind/key#n``, by which `Processes.find` finds it again."""

    @property
    def handle(self) -> Any:
        """What callers call, opaque to the supervisor."""

    async def prepare(self) -> None:
        """Do all that may be done before the actor's store is taken (imports, unsealing)."""

    async def activate(self) -> Identity:
        """Take the store, resume what is owed, begin to serve. Repeating it is no error."""

    async def identity(self) -> Identity | None:
        """Who it is, or None if it is not activated."""

    async def wait_death(self) -> None:
        """Return when the process is dead. The sentinel."""

    async def check_health(self) -> Health:
        """Return if healthy, raise if not."""

    async def stop(self) -> None:
        """Finish the calls in flight, release the store, end."""

    async def kill(self) -> None:
        """End it now, even if it hangs; return when it cannot act any more."""


class Processes(Protocol):
    """Starts processes and finds the ones that a dead supervisor left."""

    async def launch(self, actor: str, label: str) -> Process:
        """Start a process for ``actor``; it is neither prepared nor activated yet."""

    async def find(self, actor: str, label: str) -> Process | None:
        """The living process of that label, or None."""

    async def kill_strays(self, known: set[str]) -> list[str]:
        """Kill every process of ours whose label is not known; return their labels."""

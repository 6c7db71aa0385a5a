"""Where committed system events go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from anya_actors.ports.state_store import Recorded


@dataclass(frozen=True, slots=True)
class Delivered:
    """One event on the bus. ``cursor`` counts up over the whole bus: resume after it."""

    cursor: int
    source: str
    source_sequence: int
    event: bytes


class EventBus(Protocol):
    """At-least-once delivery in order per source, with a cursor that outlives crashes."""

    async def publish(self, source: str, events: Sequence[Recorded]) -> int:
        """Take the source's events, ignoring those it already has; durable when it returns.

        Returns the highest source sequence that the bus has. Raises `UnavailableError`.
        """

    async def last_sequence(self, source: str) -> int:
        """The highest sequence it has of ``source``, 0 if none."""

    async def events_after(self, cursor: int, limit: int, wait_s: float) -> list[Delivered]:
        """Up to ``limit`` events after the cursor; waits up to ``wait_s`` for the first."""

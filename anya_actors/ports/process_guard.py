"""Keeping what is in this process's memory inside it."""

from __future__ import annotations

from typing import Protocol


class ProcessGuard(Protocol):
    """Hardens the process that holds secrets. Best effort: what the system refuses is reported."""

    def harden(self) -> tuple[str, ...]:
        """No core dump, no reading by other processes of the same user; what could not be had."""

    def lock(self, buffer: bytearray) -> bool:
        """Keep the buffer out of swap; whether the system allowed it."""

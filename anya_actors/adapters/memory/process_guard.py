"""A process guard that leaves the process as it is."""

from __future__ import annotations


class RecordingGuard:
    """A `ProcessGuard` for tests, whose process is not the HSM's; it remembers what was asked."""

    refuses = False
    """Whether the system refuses to lock memory."""

    def __init__(self) -> None:
        self.hardened = 0
        self.locked = 0

    def harden(self) -> tuple[str, ...]:
        self.hardened += 1
        return ()

    def lock(self, buffer: bytearray) -> bool:
        self.locked += not self.refuses
        return not self.refuses

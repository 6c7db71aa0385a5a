"""What keeps this process's keys in its memory, and what the system refuses of that."""

from __future__ import annotations

from typing import Final

import structlog

from anya_actors.domain.keys.secret import Secret
from anya_actors.ports.process_guard import ProcessGuard

NOT_LOCKED: Final = "memory cannot be locked (RLIMIT_MEMLOCK), so keys may be swapped to disk"

_log = structlog.get_logger(__name__)


class Hardening:
    """Asks the process guard. A refusal stops nothing: the log is told of it once, and whoever asks."""

    def __init__(self, guard: ProcessGuard) -> None:
        self._guard = guard
        self._refused: dict[str, None] = {}  # in their order

    @property
    def refused(self) -> tuple[str, ...]:
        """All that was refused to this process until now."""
        return tuple(self._refused)

    def harden(self) -> None:
        """As `ProcessGuard.harden`."""
        for refusal in self._guard.harden():
            self._tell(refusal)

    def locked(self, secret: Secret) -> Secret:
        """The secret, which is not swapped out from now on if the system allows that."""
        if secret.buffer and not self._guard.lock(secret.buffer):
            self._tell(NOT_LOCKED)
        return secret

    def _tell(self, refusal: str) -> None:
        if refusal not in self._refused:
            self._refused[refusal] = None
            _log.warning("hardening was refused", what=refusal)

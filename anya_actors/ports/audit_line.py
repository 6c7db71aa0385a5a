"""The short way from a session to the audit trail, for those on the HSM's own machine."""

from __future__ import annotations

from typing import Protocol

from anya_actors.domain.hsm.audit import OperationRecord


class Append(Protocol):
    """The HSM's own `append_audit`."""

    async def __call__(
        self, session_id: str, records: tuple[OperationRecord, ...], seconds: float, *, message_id: str
    ) -> None:
        """Return when the records are durable, or raise why they are not."""


class AuditLine(Protocol):
    """Takes calls of ``append_audit`` beside those that come as any other call does."""

    async def open(self, append: Append) -> str:
        """Begin to take them; the address for sessions, empty where there is no such way."""

    def close(self) -> None:
        """Take no more, and leave those who wait to ask in the usual way."""

"""What the HSM's machines owe and publish."""

from __future__ import annotations

from anya_actors.domain.hsm.audit import AuditRecord
from anya_actors.domain.machine import Command, SystemEvent


class RecordAudit(Command, frozen=True):
    """Put this record into the audit log. Owed together with the change that it tells of."""

    record: AuditRecord


class DiscardHandles(Command, frozen=True):
    """Destroy these keys of a token. A handle is of no use without the token's PIN."""

    handles: tuple[bytes, ...]


class SecurityKeyChanged(SystemEvent, frozen=True):
    """A key was created, disabled or enabled."""

    key: str
    key_type: str
    owner: str
    change: str


class SecuritySessionOpened(SystemEvent, frozen=True):
    """A session was opened for these keys."""

    session_id: str
    owner: str
    keys: tuple[str, ...]


class SecuritySessionClosed(SystemEvent, frozen=True):
    """A session is over."""

    session_id: str
    owner: str
    reason: str


class SecurityAlertRaised(SystemEvent, frozen=True):
    """Something that should not happen did; an operator should look."""

    alert: str
    subject: str


class SecuritySealed(SystemEvent, frozen=True):
    """The keys were wiped from memory, and every session is closed."""

    reason: str


class SecurityUnsealed(SystemEvent, frozen=True):
    """An HSM that was sealed serves again."""


class SecurityRekeyed(SystemEvent, frozen=True):
    """Every key is wrapped by this key-encryption key; the older ones are gone."""

    kek_version: int

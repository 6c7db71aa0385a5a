"""The HSM's stored records side by side: one machine for each kind of store key.

``root``, ``issuer``, ``audit``, ``sessions`` and ``revocations`` are single records; ``key/<name>`` is one
key slot, ``client/<id>`` one client.
"""

from __future__ import annotations

from typing import Final

import msgspec

from anya_actors.domain.encoding import Schema
from anya_actors.domain.hsm.approvals import ApprovalsSpent
from anya_actors.domain.hsm.backups import BACKUPS, step_backup
from anya_actors.domain.hsm.clients import Client, ClientTokenGranted, client_view, step_client
from anya_actors.domain.hsm.issuer import AuditHead, Grant, Issuer, TokenIssued, step_audit_head, step_issuer
from anya_actors.domain.hsm.key_life import LIFE, NoncesReserved, step_life
from anya_actors.domain.hsm.records import (
    DiscardHandles,
    RecordAudit,
    SecurityAlertRaised,
    SecurityKeyChanged,
    SecurityRekeyed,
    SecuritySealed,
    SecuritySessionClosed,
    SecuritySessionOpened,
    SecurityUnsealed,
)
from anya_actors.domain.hsm.revocations import Revocations, step_revocations
from anya_actors.domain.hsm.root import Root, step_root
from anya_actors.domain.hsm.sessions import (
    SessionExtended,
    SessionOpened,
    SessionTable,
    find_session,
    session_view,
    step_sessions,
)
from anya_actors.domain.hsm.slots import KeySlot, find_version, key_view, step_slot
from anya_actors.domain.hsm.views import ClientView, KeyView, SessionView
from anya_actors.domain.machine import Command, Event, Step, SystemEvent

ROOT: Final = "root"
ISSUER: Final = "issuer"
AUDIT: Final = "audit"
SESSIONS: Final = "sessions"
REVOCATIONS: Final = "revocations"
KEY_PREFIX: Final = "key/"
CLIENT_PREFIX: Final = "client/"

Record = Root | KeySlot | SessionTable | Issuer | AuditHead | Revocations | Client


class Done(msgspec.Struct, frozen=True, tag=True):
    """The answer of a change that has nothing to tell."""


class Allotted(msgspec.Struct, frozen=True, tag=True):
    """The encryptions that a session may make: numbers from ``first`` to before ``end``."""

    first: int
    end: int


Reply = Allotted | KeyView | SessionView | ClientView | Grant | Done

STATE: Final[Schema[Record]] = Schema("HSM record", Record)
REPLY: Final[Schema[Reply]] = Schema("HSM reply", Reply)
COMMAND: Final[Schema[Command]] = Schema("HSM command", RecordAudit | DiscardHandles)
EVENT: Final[Schema[SystemEvent]] = Schema(
    "HSM event",
    SecurityKeyChanged
    | SecuritySessionOpened
    | SecuritySessionClosed
    | SecurityAlertRaised
    | SecuritySealed
    | SecurityUnsealed
    | SecurityRekeyed,
)


def key_of(name: str) -> str:
    """The store key of a key slot."""
    return f"{KEY_PREFIX}{name}"


def client_of(client_id: str) -> str:
    """The store key of a client."""
    return f"{CLIENT_PREFIX}{client_id}"


def initial(key: str) -> Record:
    """The record of a store key that was never written."""
    if key.startswith(KEY_PREFIX):
        return KeySlot(key.removeprefix(KEY_PREFIX))
    if key.startswith(CLIENT_PREFIX):
        return Client(key.removeprefix(CLIENT_PREFIX))
    singles: dict[str, type[Record]] = {
        ROOT: Root, ISSUER: Issuer, AUDIT: AuditHead, SESSIONS: SessionTable, REVOCATIONS: Revocations,
    }  # fmt: skip
    return singles[key]()  # type: ignore[call-arg]  # what needs a name is not in the table


def step(record: Record, event: Event) -> Step[Record]:
    """Apply one event to the record it is for; if it is illegal, raise and change nothing."""
    outcome: (
        Step[Root]
        | Step[KeySlot]
        | Step[SessionTable]
        | Step[Issuer]
        | Step[AuditHead]
        | Step[Revocations]
        | Step[Client]
    )
    match record:
        case Root():
            outcome = step_root(record, event)
        case KeySlot() if isinstance(event, BACKUPS):
            outcome = step_backup(record, event)
        case KeySlot():
            outcome = step_life(record, event) if isinstance(event, LIFE) else step_slot(record, event)
        case SessionTable():
            outcome = step_sessions(record, event)
        case Issuer():
            outcome = step_issuer(record, event)
        case AuditHead():
            outcome = step_audit_head(record, event)
        case Revocations():
            outcome = step_revocations(record, event)
        case Client():
            outcome = step_client(record, event)
    return Step(outcome.state, outcome.commands, outcome.events)


def answer(record: Record, event: Event) -> Reply:
    """What a call that led to ``record`` returns, and returns again when repeated."""
    match record, event:
        case KeySlot(), NoncesReserved():
            made = find_version(record, event.version).encryptions
            return Allotted(made - event.count, made)
        case KeySlot(), ApprovalsSpent():
            return Done()
        case KeySlot(), _:
            return key_view(record)
        case SessionTable(), SessionOpened():
            return session_view(event.session)
        case SessionTable(), SessionExtended():
            return session_view(find_session(record, event.session_id))
        case Issuer() | Client(), TokenIssued() | ClientTokenGranted():
            return event.grant
        case Client(), _:
            return client_view(record)
    return Done()

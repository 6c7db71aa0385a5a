"""The table of open sessions: who may use which keys, in which process, for how long.

A session is bound to the first process that asks for its keys (named by that process's X25519
public key) and ends with it. The keys are released to that process alone, those that are added later
too; a second process that asks, whoever it is, closes the session and raises an alert.
"""

from __future__ import annotations

from typing import Final

import msgspec

from anya_actors.domain.hsm.audit import AuditRecord
from anya_actors.domain.hsm.errors import SessionClosedError, SessionLimitError
from anya_actors.domain.hsm.records import (
    RecordAudit,
    SecurityAlertRaised,
    SecuritySessionClosed,
    SecuritySessionOpened,
)
from anya_actors.domain.hsm.slots import is_actor
from anya_actors.domain.hsm.views import SessionView
from anya_actors.domain.machine import Event, IllegalTransitionError, Step

MAX_KEYS: Final = 1024


class Session(msgspec.Struct, frozen=True):
    """One open session. ``recipient`` is empty until its process took the keys."""

    session_id: str
    owner: str
    keys: tuple[str, ...]
    opened_unix_ms: int
    idle_timeout_s: int
    absolute_timeout_s: int
    recipient: bytes = b""

    @property
    def actor(self) -> str:
        """The name of the actor that serves it."""
        return f"hsm-session/{self.session_id}"

    @property
    def ends_unix_ms(self) -> int:
        """When it ends however busy it is."""
        return self.opened_unix_ms + self.absolute_timeout_s * 1000


class SessionTable(msgspec.Struct, frozen=True, tag=True):
    """Every session that is open, oldest first. Closed ones live on in the audit log only."""

    sessions: tuple[Session, ...] = ()


class SessionOpened(Event, frozen=True):
    """An owner opened a session."""

    session: Session
    limit: int
    audit: AuditRecord


class SessionExtended(Event, frozen=True):
    """The owner wants the session to hold these keys too."""

    session_id: str
    keys: tuple[str, ...]
    audit: AuditRecord


class KeysReleased(Event, frozen=True):
    """A process asked for the session's keys, to be sealed to ``recipient``."""

    session_id: str
    recipient: bytes
    audit: AuditRecord


class SessionClosed(Event, frozen=True):
    """The session was closed by its owner, by a time-out or by the HSM."""

    session_id: str
    reason: str
    audit: AuditRecord


def find_session(table: SessionTable, session_id: str) -> Session:
    """The open session of this id; raise `SessionClosedError`."""
    for session in table.sessions:
        if session.session_id == session_id:
            return session
    raise SessionClosedError(session_id, "it is over, or was never opened")


def session_view(session: Session) -> SessionView:
    """The session as shown to its owner."""
    return SessionView(
        session_id=session.session_id,
        actor=session.actor,
        owner=session.owner,
        keys=session.keys,
        opened_unix_ms=session.opened_unix_ms,
        idle_timeout_s=session.idle_timeout_s,
        absolute_timeout_s=session.absolute_timeout_s,
    )


def step_sessions(table: SessionTable, event: Event) -> Step[SessionTable]:
    """Apply one event; if it is illegal, raise and change nothing."""
    match event:
        case SessionOpened():
            return _open(table, event)
        case SessionExtended():
            return _extend(table, event)
        case KeysReleased():
            return _release(table, event)
        case SessionClosed():
            return _close(table, event)
    raise IllegalTransitionError("the session table", type(event).__name__)


def _open(table: SessionTable, event: SessionOpened) -> Step[SessionTable]:
    session = event.session
    # Actors are counted apart: no token holder can take the sessions that payments are signed in.
    alike = [other for other in table.sessions if is_actor(other.owner) == is_actor(session.owner)]
    if len(alike) >= event.limit:
        raise SessionLimitError(event.limit)
    published = SecuritySessionOpened(session.session_id, session.owner, session.keys)
    return Step(SessionTable((*table.sessions, session)), (RecordAudit(event.audit),), (published,))


def _extend(table: SessionTable, event: SessionExtended) -> Step[SessionTable]:
    session = find_session(table, event.session_id)
    keys = tuple(dict.fromkeys((*session.keys, *event.keys)))
    return Step(
        _with(table, session, msgspec.structs.replace(session, keys=keys)), (RecordAudit(event.audit),)
    )


def _release(table: SessionTable, event: KeysReleased) -> Step[SessionTable]:
    session = find_session(table, event.session_id)
    if session.recipient and session.recipient != event.recipient:
        # A restarted process, or an impostor: either way the first holder is no longer trusted.
        refused = msgspec.structs.replace(event.audit, outcome="refused: keys were released before")
        closed = SecuritySessionClosed(
            session.session_id, session.owner, "a second process asked for its keys"
        )
        alert = SecurityAlertRaised("hsm-keys-asked-twice", session.actor)
        return Step(_without(table, session), (RecordAudit(refused),), (closed, alert))
    bound = msgspec.structs.replace(session, recipient=event.recipient)
    return Step(_with(table, session, bound), (RecordAudit(event.audit),))


def _close(table: SessionTable, event: SessionClosed) -> Step[SessionTable]:
    try:
        session = find_session(table, event.session_id)
    except SessionClosedError:
        return Step(table)
    published = SecuritySessionClosed(session.session_id, session.owner, event.reason)
    return Step(_without(table, session), (RecordAudit(event.audit),), (published,))


def _with(table: SessionTable, session: Session, changed: Session) -> SessionTable:
    return SessionTable(tuple(changed if each is session else each for each in table.sessions))


def _without(table: SessionTable, session: Session) -> SessionTable:
    return SessionTable(tuple(each for each in table.sessions if each is not session))

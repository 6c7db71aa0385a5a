"""The token issuer: what it last granted, and when the audit log was last signed for."""

from __future__ import annotations

import msgspec

from anya_actors.domain.hsm.audit import AuditRecord, Checkpoint
from anya_actors.domain.hsm.records import RecordAudit, SecurityAlertRaised
from anya_actors.domain.machine import Event, IllegalTransitionError, InvalidInputError, Step

MAX_TTL_S = 366 * 24 * 3600


class Grant(msgspec.Struct, frozen=True, tag=True):
    """What a token says. Signing a grant again gives the same token, so tokens are not stored."""

    token_id: str
    subject: str
    scopes: tuple[str, ...]
    issued_unix_s: int
    expires_unix_s: int
    key_version: int = 0  # which key signs it; 0 is that of before keys were rotated: the newest
    client_id: str = ""  # empty: that of the subject


class Issuer(msgspec.Struct, frozen=True, tag=True):
    """How many tokens were issued, and the last grant."""

    issued: int = 0
    last: Grant | None = None


class TokenIssued(Event, frozen=True):
    """A token was granted."""

    grant: Grant
    audit: AuditRecord


class AuditHead(msgspec.Struct, frozen=True, tag=True):
    """The newest checkpoint of the audit log; none before the first."""

    checkpoint: Checkpoint | None = None


class AuditSigned(Event, frozen=True):
    """The HSM signed for its audit log up to here."""

    checkpoint: Checkpoint


class AuditFoundBroken(Event, frozen=True):
    """Verification found an entry that does not hold."""

    sequence: int


def check_ttl(ttl_s: int) -> None:
    """Raise `InvalidInputError` for a life that is not between a second and a year."""
    if not 1 <= ttl_s <= MAX_TTL_S:
        raise InvalidInputError("ttl_s", f"choose 1 to {MAX_TTL_S} seconds")


def step_issuer(issuer: Issuer, event: Event) -> Step[Issuer]:
    """Apply one event; if it is illegal, raise and change nothing."""
    match event:
        case TokenIssued():
            return Step(Issuer(issuer.issued + 1, event.grant), (RecordAudit(event.audit),))
    raise IllegalTransitionError("the token issuer", type(event).__name__)


def step_audit_head(head: AuditHead, event: Event) -> Step[AuditHead]:
    """Apply one event; a checkpoint never takes the place of one that covers more."""
    match event:
        case AuditSigned():
            last = head.checkpoint
            if last is not None and event.checkpoint.head.entries < last.head.entries:
                return Step(head)
            return Step(AuditHead(event.checkpoint))
        case AuditFoundBroken():
            return Step(head, (), (SecurityAlertRaised("audit-broken", f"entry {event.sequence}"),))
    raise IllegalTransitionError("the audit head", type(event).__name__)

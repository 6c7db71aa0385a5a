"""Access tokens that hold no longer although their time is not over.

A door may believe the list that it asked for at some moment for `LEASE_S` from that moment, and then
must ask again. A revocation is answered `SETTLED_S` after its commit: whatever any door was told before
it is too old by then. So no door need be known, and none can be missed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from anya_actors.domain.hsm.audit import AuditRecord
from anya_actors.domain.hsm.errors import RevocationLimitError
from anya_actors.domain.hsm.issuer import MAX_TTL_S
from anya_actors.domain.hsm.records import RecordAudit
from anya_actors.domain.machine import Event, IllegalTransitionError, Step

LEASE_S: Final = 2.0
SETTLED_S: Final = LEASE_S + 0.1  # two processes' clocks do not run quite alike
MAX_REVOKED: Final = 4096


class Revocations(msgspec.Struct, frozen=True, tag=True):
    """The list. ``version`` grows with each change.

    ``tokens``: until when each revoked token (by its id) need be remembered. ``names``: until which
    second tokens issued to a subject or client are revoked; ``everyone``: that of all.
    """

    version: int = 0
    tokens: dict[str, int] = msgspec.field(default_factory=dict)
    names: dict[str, int] = msgspec.field(default_factory=dict)
    everyone_unix_s: int = 0

    def covers(self, token_id: str, names: Iterable[str], issued_unix_s: int) -> bool:
        """Whether a token issued then, to these names, is revoked."""
        return token_id in self.tokens or issued_unix_s <= self.cutoff_unix_s(names)

    def cutoff_unix_s(self, names: Iterable[str]) -> int:
        """The last second whose tokens for one of these names are revoked."""
        return max(self.everyone_unix_s, *(self.names.get(name, 0) for name in names))


class TokenRevoked(Event, frozen=True):
    """One token ends; it would have expired by itself at ``expires_unix_s``."""

    token_id: str
    expires_unix_s: int
    at_unix_s: int
    audit: AuditRecord


class NameRevoked(Event, frozen=True):
    """Every token issued until ``at_unix_s`` to a subject or client ends; without a name, to anyone."""

    name: str
    at_unix_s: int
    audit: AuditRecord


def step_revocations(revoked: Revocations, event: Event) -> Step[Revocations]:
    """Apply one event; if it is illegal, raise and change nothing."""
    if not isinstance(event, TokenRevoked | NameRevoked):
        raise IllegalTransitionError("the list of revoked tokens", type(event).__name__)
    now = event.at_unix_s
    tokens = {each: until for each, until in revoked.tokens.items() if until > now}
    names = {each: last for each, last in revoked.names.items() if last + MAX_TTL_S >= now}
    everyone = revoked.everyone_unix_s
    match event:
        case TokenRevoked():
            tokens[event.token_id] = event.expires_unix_s
        case NameRevoked(name=""):
            everyone = max(everyone, now)
            names = {each: last for each, last in names.items() if last > everyone}
        case NameRevoked():
            names[event.name] = max(names.get(event.name, 0), now)
    if len(tokens) > MAX_REVOKED or len(names) > MAX_REVOKED:
        raise RevocationLimitError(MAX_REVOKED)
    return Step(Revocations(revoked.version + 1, tokens, names, everyone), (RecordAudit(event.audit),))

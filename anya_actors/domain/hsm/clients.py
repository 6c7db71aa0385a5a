"""Clients: programs that get access tokens by a secret of their own (RFC 6749, section 4.4).

A secret is 32 bytes that were drawn by chance, so nobody guesses it and no slow hash (Argon2id) need
protect it: there is no dictionary to go through. The door hashes what it is shown, and that hash alone
travels; kept is its HMAC under a salt, of which neither can be found.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
from typing import Final

import msgspec

from anya_actors.domain.hsm.audit import AuditRecord
from anya_actors.domain.hsm.errors import ClientExistsError, InvalidClientError, UnknownClientError
from anya_actors.domain.hsm.issuer import Grant, check_ttl
from anya_actors.domain.hsm.records import RecordAudit
from anya_actors.domain.hsm.scopes import scopes_of
from anya_actors.domain.hsm.slots import check_subject
from anya_actors.domain.hsm.views import ClientView, SecretView
from anya_actors.domain.machine import Event, IllegalTransitionError, InvalidInputError, Step

MAX_SECRETS: Final = 8
SHOWN_BYTES: Final = 32
_DOMAIN: Final = b"anya client secret\x00"


class ClientPhase(enum.Enum):
    """Whether the client exists and may ask for tokens."""

    ABSENT = "absent"  # never registered, or deleted
    ENABLED = "enabled"
    DISABLED = "disabled"


class ClientSecret(msgspec.Struct, frozen=True):
    """What is kept of one secret. ``expires_unix_ms`` is 0 for never."""

    secret_id: str
    salt: bytes
    digest: bytes
    created_unix_ms: int
    expires_unix_ms: int = 0

    def __repr__(self) -> str:
        return f"ClientSecret({self.secret_id!r})"


class Client(msgspec.Struct, frozen=True, tag=True):
    """A client as stored. Its tokens speak for ``subject``, allow no more than its scopes and roles."""

    client_id: str
    phase: ClientPhase = ClientPhase.ABSENT
    subject: str = ""
    scopes: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    ttl_s: int = 0
    secrets: tuple[ClientSecret, ...] = ()
    created_unix_ms: int = 0
    used_unix_ms: int = 0


class ClientPlan(msgspec.Struct, frozen=True):
    """What a client is to be."""

    client_id: str
    subject: str
    scopes: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    ttl_s: int = 3600


class ClientRegistered(Event, frozen=True):
    """An admin made a client."""

    plan: ClientPlan
    secret: ClientSecret
    audit: AuditRecord


class ClientSecretRotated(Event, frozen=True):
    """The client has a new secret; the others end at ``others_expire_unix_ms``, if not before."""

    secret: ClientSecret
    others_expire_unix_ms: int
    audit: AuditRecord


class ClientChanged(Event, frozen=True):
    """The client was enabled, disabled, or deleted (absent)."""

    phase: ClientPhase
    audit: AuditRecord


class ClientTokenGranted(Event, frozen=True):
    """The client showed a secret and got a token."""

    grant: Grant
    at_unix_ms: int
    audit: AuditRecord


def shown_secret(client_id: str, secret: str) -> bytes:
    """What a door makes of a secret that it is shown: all that it sends on."""
    return hashlib.sha256(_DOMAIN + client_id.encode() + b"\x00" + secret.encode()).digest()


def kept_secret(salt: bytes, shown: bytes) -> bytes:
    """What is kept of it."""
    return hmac.digest(salt, shown, "sha256")


def check_client_plan(plan: ClientPlan) -> None:
    """Raise `InvalidInputError` for what cannot be a client."""
    check_subject(plan.client_id)
    check_subject(plan.subject)
    check_ttl(plan.ttl_s)
    scopes_of(plan.scopes, plan.roles)


def verify_secret(client: Client, shown: bytes, now_unix_ms: int) -> None:
    """Return if the client may act and this is one of its secrets; raise `InvalidClientError`.

    A client that does not exist takes the same time and gets the same answer.
    """
    valid = [each for each in client.secrets if not 0 < each.expires_unix_ms <= now_unix_ms]
    kept = valid or [ClientSecret("", bytes(SHOWN_BYTES), bytes(SHOWN_BYTES), 0)]
    matches = [hmac.compare_digest(kept_secret(each.salt, shown), each.digest) for each in kept]
    if not any(matches) or client.phase is not ClientPhase.ENABLED:
        raise InvalidClientError


def client_view(client: Client) -> ClientView:
    """The client without what is kept of its secrets."""
    return ClientView(
        client_id=client.client_id,
        subject=client.subject,
        scopes=client.scopes,
        roles=client.roles,
        ttl_s=client.ttl_s,
        enabled=client.phase is ClientPhase.ENABLED,
        created_unix_ms=client.created_unix_ms,
        used_unix_ms=client.used_unix_ms,
        secrets=tuple(
            SecretView(each.secret_id, each.created_unix_ms, each.expires_unix_ms) for each in client.secrets
        ),
    )


def step_client(client: Client, event: Event) -> Step[Client]:
    """Apply one event; if it is illegal, raise and change nothing."""
    if isinstance(event, ClientRegistered):
        return _register(client, event)
    if client.phase is ClientPhase.ABSENT:
        raise UnknownClientError(client.client_id)
    change = msgspec.structs.replace
    match event:
        case ClientSecretRotated():
            return _rotate(client, event)
        case ClientChanged(phase=ClientPhase.ABSENT):
            gone = Client(client.client_id, subject=client.subject)
            return Step(gone, (RecordAudit(event.audit),))
        case ClientChanged():
            return Step(change(client, phase=event.phase), (RecordAudit(event.audit),))
        case ClientTokenGranted() if client.phase is ClientPhase.ENABLED:
            return Step(change(client, used_unix_ms=event.at_unix_ms), (RecordAudit(event.audit),))
        case ClientTokenGranted():
            raise InvalidClientError
    raise IllegalTransitionError(f"client {client.phase.value}", type(event).__name__)


def _register(client: Client, event: ClientRegistered) -> Step[Client]:
    if client.phase is not ClientPhase.ABSENT:
        raise ClientExistsError(client.client_id)
    plan = event.plan
    registered = Client(
        client_id=client.client_id,
        phase=ClientPhase.ENABLED,
        subject=plan.subject,
        scopes=plan.scopes,
        roles=plan.roles,
        ttl_s=plan.ttl_s,
        secrets=(event.secret,),
        created_unix_ms=event.secret.created_unix_ms,
    )
    return Step(registered, (RecordAudit(event.audit),))


def _rotate(client: Client, event: ClientSecretRotated) -> Step[Client]:
    now, ends = event.secret.created_unix_ms, event.others_expire_unix_ms
    kept = tuple(
        msgspec.structs.replace(each, expires_unix_ms=min(each.expires_unix_ms or ends, ends))
        for each in client.secrets
        if not 0 < each.expires_unix_ms <= now
    )
    if ends <= now:
        kept = ()
    if len(kept) >= MAX_SECRETS:
        raise InvalidInputError("overlap_s", f"{MAX_SECRETS} secrets are valid already: end them with 0")
    rotated = msgspec.structs.replace(client, secrets=(*kept, event.secret))
    return Step(rotated, (RecordAudit(event.audit),))

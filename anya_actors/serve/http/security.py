"""`/api/v1/security`: keys, sessions, signatures, the audit log and tokens, through the HSM."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query
from starlette.responses import Response

from anya_actors.domain.hsm.scopes import scopes_of
from anya_actors.domain.hsm.views import (
    AuditEntryView,
    AuditPage,
    AuditProofView,
    AuditReport,
    CheckpointView,
    ConsistencyProofView,
    KeyView,
    SessionView,
)
from anya_actors.ports.actors import HSM, UnknownActorError
from anya_actors.serve.caller import Caller, Requires
from anya_actors.serve.direct_route import DirectRoute
from anya_actors.serve.errors import NotYoursError
from anya_actors.serve.schemas.security import (
    KeyName,
    NewSession,
    NewToken,
    SessionId,
    SignRequest,
    TokenKeyRotation,
    VerifyRequest,
)
from anya_actors.serve.schemas.security_keys import KeyFacts, policy_of
from anya_actors.serve.shapes import Paging, cursor_number, page_of, shows, shows_page, shows_plain

SESSION: Final = "hsm-session"
VIEWS: Final = (
    KeyView,
    SessionView,
    AuditEntryView,
    AuditReport,
    CheckpointView,
    AuditProofView,
    ConsistencyProofView,
)

router = APIRouter(
    prefix="/api/v1/security", tags=["security"], default_response_class=Response, route_class=DirectRoute
)

Reader = Annotated[Caller, Depends(Requires("security:read"))]
User = Annotated[Caller, Depends(Requires("security:use"))]
Writer = Annotated[Caller, Depends(Requires("security"))]
Auditor = Annotated[Caller, Depends(Requires("audit:read", "security:read"))]
Admin = Annotated[Caller, Depends(Requires("admin"))]
Page = Annotated[Paging, Query()]

_SIGNATURE: dict[str, Any] = {
    "type": "object",
    "properties": {"signature_hex": {"type": "string"}},
    "required": ["signature_hex"],
}
_VALID: dict[str, Any] = {
    "type": "object",
    "properties": {"valid": {"const": True}},
    "required": ["valid"],
}
_TOKEN: dict[str, Any] = {
    "type": "object",
    "properties": {
        "access_token": {"type": "string"},
        "token_type": {"const": "Bearer"},
        "expires_in": {"type": "integer", "description": "seconds"},
        "scope": {"type": "string"},
    },
    "required": ["access_token", "token_type", "expires_in", "scope"],
}


@router.get("/keys", responses=shows_page(KeyView, "One page of keys."))
async def keys(caller: Reader, paging: Page) -> Response:
    """The caller's keys, public parts only; an admin sees everyone's."""
    found: list[KeyView] = await caller.read(HSM, "keys", None if caller.is_admin else caller.subject)
    return caller.answer(page_of(found, lambda key: key.name, paging))


@router.post("/keys", status_code=201, responses=shows(KeyView, "The key.", 201))
async def create_key(caller: Writer, body: KeyFacts) -> Response:
    """Make a key inside the HSM."""
    owner = body.owner or caller.subject
    caller.check_owner(owner, "a key of that owner")
    facts = (tuple(body.operations), policy_of(body.policy))
    key = await caller.write(HSM, "create_key", body.name, body.key_type, owner, *facts)
    return caller.answer(key, 201)


@router.get("/keys/{name}", responses=shows(KeyView, "The key."))
async def key(caller: Reader, name: KeyName) -> Response:
    """One key, public part only."""
    return caller.answer(await caller.key(name))


@router.get("/sessions", responses=shows_page(SessionView, "One page of sessions."))
async def sessions(caller: Reader, paging: Page) -> Response:
    """The caller's open sessions; an admin sees everyone's."""
    found: list[SessionView] = await caller.read(HSM, "sessions")
    own = [session for session in found if caller.is_admin or session.owner == caller.subject]
    return caller.answer(page_of(own, lambda session: session.session_id, paging))


@router.post("/sessions", status_code=201, responses=shows(SessionView, "The session.", 201))
async def open_session(caller: User, body: NewSession) -> Response:
    """Open a session: an own process that holds these keys and no other."""
    session: SessionView = await caller.write(HSM, "open_session", caller.subject, tuple(body.keys))
    caller.door.remember_owner(session.session_id, session.owner)
    return caller.answer(session, 201, Location=f"{router.prefix}/sessions/{session.session_id}")


@router.delete("/sessions/{session_id}", status_code=204)
async def close_session(caller: User, session_id: SessionId) -> Response:
    """Close a session; its process forgets its keys and ends."""
    await check_session(caller, session_id)
    await caller.write(HSM, "close_session", session_id)
    return caller.answer_nothing()


@router.post("/sessions/{session_id}/sign", responses=shows_plain("The signature.", _SIGNATURE))
async def sign(caller: User, session_id: SessionId, body: SignRequest) -> Response:
    """Sign with a key of the session. It is in the audit log before it is answered."""
    await check_session(caller, session_id)
    message = bytes.fromhex(body.message_hex)
    signature: bytes = await caller.read(f"{SESSION}/{session_id}", "sign", body.key, message, body.algorithm)
    return caller.answer({"signature_hex": signature.hex()})


@router.post("/sessions/{session_id}/verify", responses=shows_plain("The signature is valid.", _VALID))
async def verify(caller: User, session_id: SessionId, body: VerifyRequest) -> Response:
    """Verify with a key of the session. An invalid signature is a problem document, never `false`."""
    await check_session(caller, session_id)
    await caller.read(
        f"{SESSION}/{session_id}",
        "verify",
        body.key,
        bytes.fromhex(body.message_hex),
        bytes.fromhex(body.signature_hex),
        body.algorithm,
    )
    return caller.answer({"valid": True})


@router.get("/audit", responses=shows_page(AuditEntryView, "One page of the audit log."))
async def audit(caller: Auditor, paging: Page) -> Response:
    """The audit log, oldest first: what was done with which key, by whom, when.

    With `audit:read` all of it; else what it tells of the caller. A page may then hold fewer than asked for,
    also none, before the last: only `next_cursor` says which one is.
    """
    after = cursor_number(paging)
    if not caller.may("audit:read"):
        page: AuditPage = await caller.read(HSM, "audit_of", caller.subject, after, paging.limit)
        cursor = str(page.next_after) if page.next_after else None
        return caller.answer({"items": page.entries, "next_cursor": cursor})
    entries: list[AuditEntryView] = await caller.read(HSM, "audit", after, paging.limit)
    more = len(entries) == paging.limit
    return caller.answer({"items": entries, "next_cursor": str(entries[-1].sequence) if more else None})


@router.get("/audit/checkpoint", responses=shows(CheckpointView, "The HSM's signature for its log."))
async def audit_checkpoint(caller: Auditor) -> Response:
    """The HSM's signature for the audit log as it is now. Keep it: the log cannot be rewritten behind it."""
    return caller.answer(await caller.read(HSM, "audit_checkpoint"))


@router.get("/audit/consistency", responses=shows(ConsistencyProofView, "The beginning is unchanged."))
async def audit_consistency(caller: Auditor, entries: Annotated[int, Query(ge=1, le=2**53)]) -> Response:
    """Proof (RFC 6962) that the first so many entries are the same under the newest checkpoint."""
    return caller.answer(await caller.read(HSM, "audit_consistency", entries))


@router.get("/audit/{sequence}/proof", responses=shows(AuditProofView, "The entry is signed for."))
async def audit_inclusion(caller: Auditor, sequence: Annotated[int, Path(ge=1, le=2**53)]) -> Response:
    """Proof (RFC 6962) that the newest checkpoint signs for this entry."""
    proof: AuditProofView = await caller.read(HSM, "audit_inclusion", sequence)
    if not caller.may("audit:read") and proof.entry.owner != caller.subject:
        raise NotYoursError(f"audit entry {sequence}")
    return caller.answer(proof)


@router.get("/audit/verify", responses=shows(AuditReport, "The log is whole."))
async def verify_audit(caller: Auditor) -> Response:
    """Walk the whole audit log; an altered one is a problem document that names the entry."""
    return caller.answer(await caller.read(HSM, "verify_audit"))


@router.post("/tokens", status_code=201, responses=shows_plain("The token, shown once.", _TOKEN, 201))
async def issue_token(caller: Admin, body: NewToken) -> Response:
    """Make an access token."""
    scopes = scopes_of(body.scopes, body.roles)
    token: str = await caller.write(HSM, "issue_token", body.subject, scopes, body.ttl_s)
    made = {
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": body.ttl_s,
        "scope": " ".join(scopes),
    }
    return caller.answer(made, 201, **{"Cache-Control": "no-store"})


@router.post("/tokens/rotate-key", responses=shows(KeyView, "The key."))
async def rotate_token_key(caller: Admin, body: TokenKeyRotation) -> Response:
    """Sign tokens by a new key from now on; with ``revoke``, end every token issued before."""
    return caller.answer(await caller.write(HSM, "rotate_token_key", body.revoke))


async def check_session(caller: Caller, session_id: str) -> None:
    """Return if the session is the caller's; raise `NotYoursError` or `UnknownActorError`."""
    owner = caller.door.session_owners.get(session_id)
    if owner is None:
        found: list[SessionView] = await caller.read(HSM, "sessions")
        for session in found:
            caller.door.remember_owner(session.session_id, session.owner)
        owner = caller.door.session_owners.get(session_id)
    if owner is None:
        raise UnknownActorError(f"{SESSION}/{session_id}")
    caller.check_owner(owner, f"session {session_id}")

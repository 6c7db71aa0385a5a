"""`/api/v1/security`: who may come in, and who may no longer."""

from __future__ import annotations

import base64
import secrets
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Path
from starlette.responses import Response

from anya_actors.domain.hsm.clients import ClientPlan, shown_secret
from anya_actors.domain.hsm.views import ApprovalView, ClientView
from anya_actors.domain.machine import InvalidInputError
from anya_actors.ports.actors import HSM
from anya_actors.serve.caller import Caller, Requires
from anya_actors.serve.direct_route import DirectRoute
from anya_actors.serve.http.security import Page
from anya_actors.serve.schemas.security import ClientRotation, NewClient, TokenRevocation
from anya_actors.serve.shapes import page_of, shows, shows_page, shows_plain

VIEWS: Final = (ClientView, ApprovalView)

router = APIRouter(
    prefix="/api/v1/security", tags=["security"], default_response_class=Response, route_class=DirectRoute
)

Admin = Annotated[Caller, Depends(Requires("admin"))]
ClientId = Annotated[str, Path(min_length=1, max_length=128, description="Client id")]

SECRET_BYTES: Final = 32
_SECRET: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "client_id": {"type": "string"},
        "client_secret": {"type": "string", "description": "Shown once, and kept nowhere"},
        "secret_id": {"type": "string"},
    },
    "required": ["client_id", "client_secret", "secret_id"],
}


@router.post("/tokens/revoke", status_code=204)
async def revoke(caller: Admin, body: TokenRevocation) -> Response:
    """End a token, or every one of a subject or client with the subject's sessions.

    It is answered when no door takes them any more: after two seconds.
    """
    if sum(each is not None for each in (body.token, body.token_id, body.subject)) != 1:
        raise InvalidInputError("token", "send one of token, token_id, subject")
    if body.subject is not None:
        await caller.write(HSM, "revoke_subject", body.subject, caller.subject)
    elif body.token_id is not None:
        await caller.write(HSM, "revoke_token", body.token_id, 0, caller.subject, caller.subject)
    else:
        claims = await caller.door.authenticator.genuine(body.token or "")
        facts = (claims.token_id, claims.expires_unix_s, claims.subject)
        await caller.write(HSM, "revoke_token", *facts, caller.subject)
    return caller.answer_nothing()


@router.get("/clients", responses=shows_page(ClientView, "One page of clients."))
async def clients(caller: Admin, paging: Page) -> Response:
    """Every client, without its secrets."""
    found: list[ClientView] = await caller.read(HSM, "clients")
    return caller.answer(page_of(found, lambda client: client.client_id, paging))


@router.post("/clients", status_code=201, responses=shows_plain("The secret.", _SECRET, 201))
async def register(caller: Admin, body: NewClient) -> Response:
    """Register a client; it gets tokens by `POST /oauth/token` (RFC 6749, section 4.4).

    Sent again with its `Idempotency-Key` it is refused, for the secret is kept nowhere: rotate instead.
    """
    facts = (tuple(body.scopes), tuple(body.roles), body.ttl_s)
    plan = ClientPlan(body.client_id, body.subject or body.client_id, *facts)
    secret = fresh_secret()
    view: ClientView = await caller.write(HSM, "register_client", plan, shown_secret(body.client_id, secret))
    return _shown_once(caller, view, secret, 201)


@router.post("/clients/{client_id}/rotate", responses=shows_plain("The new secret.", _SECRET))
async def rotate(caller: Admin, client_id: ClientId, body: ClientRotation) -> Response:
    """Give a client another secret; the others hold for `overlap_s` longer."""
    secret = fresh_secret()
    facts = (client_id, shown_secret(client_id, secret), body.overlap_s)
    view: ClientView = await caller.write(HSM, "rotate_client", *facts)
    return _shown_once(caller, view, secret, 200)


@router.post("/clients/{client_id}/{change}", responses=shows(ClientView, "The client."))
async def change(caller: Admin, client_id: ClientId, change: Literal["enable", "disable"]) -> Response:
    """Disable a client, which ends its tokens and its subject's sessions at once; or enable it again."""
    by = () if change == "enable" else (caller.subject,)
    return caller.answer(await caller.write(HSM, f"{change}_client", client_id, *by))


@router.delete("/clients/{client_id}", status_code=204)
async def delete(caller: Admin, client_id: ClientId) -> Response:
    """Delete a client, which ends its tokens and its subject's sessions at once."""
    await caller.write(HSM, "delete_client", client_id, caller.subject)
    return caller.answer_nothing()


def fresh_secret() -> str:
    """32 bytes drawn by chance, in base64url."""
    return base64.urlsafe_b64encode(secrets.token_bytes(SECRET_BYTES)).rstrip(b"=").decode()


def _shown_once(caller: Caller, view: ClientView, secret: str, status: int) -> Response:
    made = {"client_id": view.client_id, "client_secret": secret, "secret_id": view.secrets[-1].secret_id}
    return caller.answer(made, status, **{"Cache-Control": "no-store"})

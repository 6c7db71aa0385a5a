"""`/api/v1/security`: who may come in, and who may no longer."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from anya_actors.domain.machine import InvalidInputError
from anya_actors.serve.caller import Caller, Requires
from anya_actors.serve.direct_route import DirectRoute
from anya_actors.serve.http.security import HSM
from anya_actors.serve.schemas.security import TokenRevocation

router = APIRouter(
    prefix="/api/v1/security", tags=["security"], default_response_class=Response, route_class=DirectRoute
)

Admin = Annotated[Caller, Depends(Requires("admin"))]


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

"""What the door is compared with: FastAPI doing the same work and no more.

The same token verification with the same memory of verified tokens, the same JSON. No limits, no
metrics, no problem documents. In two forms: as one writes it (a dependency, and a dictionary that
FastAPI turns to JSON) and tuned (a request handler without dependency, the JSON made beforehand).
"""

from __future__ import annotations

from typing import Any, Protocol

from fastapi import Depends, FastAPI, HTTPException, Request
from starlette.responses import Response

from anya_actors.adapters.system.clock import SystemClock
from anya_actors.domain.machine import AnyaError
from anya_actors.serve.auth import Authenticator, JwksSource, allows
from anya_actors.serve.revocation import RevocationSource
from anya_actors.serve.settings import DoorSettings
from anya_actors.serve.system_source import SystemSnapshot
from anya_actors.services.tokens import Claims


class TokenSource(JwksSource, RevocationSource, Protocol):
    """The keys of tokens, and which tokens are revoked."""


def build_plain(hsm: TokenSource, settings: DoorSettings, snapshot: SystemSnapshot) -> FastAPI:
    """The comparison, at ``/idiomatic`` and ``/tuned``."""
    authenticator = Authenticator(hsm, hsm, SystemClock(), settings)
    app = FastAPI()

    async def claims_of(request: Request) -> Claims:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer":
            raise HTTPException(401)
        try:
            claims = await authenticator.authenticate(token)
        except AnyaError:
            raise HTTPException(401) from None
        if not allows(claims, "system:read"):
            raise HTTPException(403)
        return claims

    # Annotated would be read from the module's names, where claims_of is not.
    async def idiomatic(claims: Claims = Depends(claims_of)) -> Any:  # noqa: B008 - FastAPI's own way
        return snapshot.value

    async def tuned(request: Request) -> Response:
        await claims_of(request)
        return Response(snapshot.json, media_type="application/json")

    app.get("/idiomatic")(idiomatic)
    app.get("/tuned")(tuned)
    return app

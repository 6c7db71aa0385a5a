"""Liveness, readiness and the public keys of tokens: no token needed."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from anya_actors.domain.machine import UnavailableError
from anya_actors.serve.caller import Door
from anya_actors.serve.shapes import json_of, shows_plain

router = APIRouter(tags=["health"])

_STATUS: dict[str, Any] = {"type": "object", "properties": {"status": {"type": "string"}}}


@router.get("/healthz", responses=shows_plain("The replica runs.", _STATUS), response_class=Response)
async def healthz() -> Response:
    """Whether this replica runs. It asks nothing of the rest of the platform."""
    return Response(json_of({"status": "ok"}), media_type="application/json")


@router.get("/readyz", responses=shows_plain("The platform serves.", _STATUS), response_class=Response)
async def readyz(request: Request) -> Response:
    """Whether requests should come here: the coordinator answers and nothing is shutting down."""
    door: Door = request.app.state.door
    if door.draining:
        raise UnavailableError("this replica", "it is stopping")
    await door.system.snapshot()
    return Response(json_of({"status": "ready"}), media_type="application/json")


@router.get(
    "/.well-known/jwks.json",
    responses=shows_plain("A JSON Web Key Set.", {"type": "object"}),
    response_class=Response,
)
async def jwks(request: Request) -> Response:
    """The public keys (RFC 7517) that verify this platform's tokens."""
    door: Door = request.app.state.door
    headers = {"Cache-Control": "public, max-age=60"}
    return Response(json_of(await door.authenticator.jwks()), 200, headers, "application/jwk-set+json")

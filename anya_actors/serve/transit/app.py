"""The Transit listener's application: Vault's paths, tokens and error form."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Final

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from anya_actors.domain.hsm.errors import UnknownKeyError
from anya_actors.domain.machine import AnyaError, InvalidInputError
from anya_actors.ports.actors import UnknownActorError
from anya_actors.serve.caller import Door
from anya_actors.serve.errors import BodyTooLargeError, SlowBodyError, status_of
from anya_actors.serve.transit import keys, operations, system
from anya_actors.serve.transit.caller import TransitDesk, error_text, plain

MOUNT: Final = "/v1/transit"

_log = structlog.get_logger(__name__)
_DENIED: Final = frozenset({401, 403})


def build_transit(door: Door) -> Starlette:
    """The application, over what the HTTP door shares with it; it holds no state but sessions."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield

    app = Starlette(
        routes=[
            Mount(MOUNT, routes=[*keys.ROUTES, *operations.ROUTES]),
            *system.ROUTES,
        ],
        exception_handlers={AnyaError: _refused, HTTPException: _unrouted, Exception: _failed},
        lifespan=lifespan,
    )
    app.state.desk = TransitDesk(door)
    app.add_middleware(_Gate, door=door)
    return app


class _Gate:
    """Refuses what is more than a replica answers at one time."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._limit = door.settings.max_in_flight
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._in_flight >= self._limit:
            await plain({"errors": ["too many requests are being answered"]}, 429)(scope, receive, send)
            return
        self._in_flight += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._in_flight -= 1


async def _refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, AnyaError):
        return await _failed(request, error)
    status = status_of(type(error)) or 500
    if status in _DENIED and not isinstance(error, InvalidInputError):
        denied = "permission denied" if status == 401 else error_text(error)
        return plain({"errors": [denied]}, 403)
    if isinstance(error, UnknownKeyError | UnknownActorError):
        # Vault: reading what is not there is a 404 without a text, using it is a bad request.
        if request.method in ("GET", "LIST"):
            return plain({"errors": []}, 404)
        return plain({"errors": ["encryption key not found"]}, 400)
    if status >= 500 and status != 501:
        _log.error("a Transit request failed", code=error.code)
    known = {429: 429, 413: 413, 408: 408, 501: 400}
    code = status if status >= 500 and status != 501 else known.get(status, 400)
    response = plain({"errors": [error_text(error)]}, code)
    if isinstance(error, BodyTooLargeError | SlowBodyError):
        response.headers["connection"] = "close"  # nobody will read the rest
    return response


async def _unrouted(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    if status == 405:
        return plain({"errors": ["unsupported operation"]}, 405)
    return plain({"errors": []}, status)


async def _failed(_: Request, error: Exception) -> Response:
    _log.error("a Transit request failed", kind=type(error).__name__)
    return plain({"errors": ["internal error"]}, 500)

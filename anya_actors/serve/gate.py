"""The first thing a request meets: limits, counting, and the last resort for faults.

One ASGI layer instead of several: each layer costs every request, and `GET /api/v1/system` is
measured against a bare FastAPI.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from anya_actors.domain.machine import AnyaError
from anya_actors.serve.errors import (
    BodyTooLargeError,
    BusyDoorError,
    SlowBodyError,
    UnsupportedMediaTypeError,
)
from anya_actors.serve.metrics import DoorMetrics
from anya_actors.serve.problems import problem_response, unexpected_response
from anya_actors.serve.settings import DoorSettings

API_PREFIX: Final = "/api/"
# OAuth's bodies are forms; its routes say so themselves.
FORM_PREFIX: Final = "/oauth/"
# Its answers last as long as the listener stays; `max_event_clients` bounds them instead.
STREAM_PATH: Final = "/api/v1/events"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BODILESS = frozenset({"GET", "HEAD", "OPTIONS"})


class _CallerGoneError(Exception):
    """The connection ended inside the body: half a request must not be acted upon."""


class Gate:
    """Pure ASGI middleware. Health and metrics pass it even when the door is full."""

    def __init__(self, app: ASGIApp, settings: DoorSettings, metrics: DoorMetrics) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        is_free = not path.startswith(API_PREFIX) or path == STREAM_PATH
        # A body counts wherever it is sent: it is held in memory before anyone asks for a token.
        if is_free and scope["method"] in _BODILESS:
            await self._answer(scope, receive, send)
            return
        if self._in_flight >= self._settings.max_in_flight:
            await self._refuse(BusyDoorError(self._in_flight), scope, receive, send)
            return
        self._in_flight += 1
        self._metrics.in_flight.set(self._in_flight)
        try:
            await self._answer(scope, receive, send)
        finally:
            self._in_flight -= 1
            self._metrics.in_flight.set(self._in_flight)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = perf_counter()
        status = 0

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            if scope["method"] not in _BODILESS:
                receive = _replay(await self._whole_body(scope, receive), receive)
            await self._app(scope, receive, watch)
        except _CallerGoneError:
            return
        except AnyaError as error:
            if status:
                raise
            await problem_response(error, _close_after(error))(scope, receive, watch)
        except Exception as error:
            if status:
                raise
            await unexpected_response(error, scope["path"])(scope, receive, watch)
        finally:
            self._count(scope, status, perf_counter() - began)

    async def _refuse(self, error: AnyaError, scope: Scope, receive: Receive, send: Send) -> None:
        response = problem_response(error)
        await response(scope, receive, send)
        self._count(scope, response.status_code, 0.0)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.answered(method, route, status, seconds)

    async def _whole_body(self, scope: Scope, receive: Receive) -> bytes:
        """The body, read within its limits of size and time."""
        limit = self._settings.max_body_bytes
        content_type = b""
        for name, value in scope["headers"]:
            if name == b"content-length" and (not value.isdigit() or int(value) > limit):
                raise BodyTooLargeError(limit)
            if name == b"content-type":
                content_type = value
        try:
            async with asyncio.timeout(self._settings.body_timeout_s):
                body = await _read(receive, limit)
        except TimeoutError:
            raise SlowBodyError(self._settings.body_timeout_s) from None
        if (
            body
            and not scope["path"].startswith(FORM_PREFIX)
            and content_type.split(b";")[0].strip().lower() != b"application/json"
        ):
            raise UnsupportedMediaTypeError
        return body


async def _read(receive: Receive, limit_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _CallerGoneError
        part = message.get("body", b"")
        size += len(part)
        # Counted as it comes: a chunked body (RFC 9112, section 7.1) announces no length.
        if size > limit_bytes:
            raise BodyTooLargeError(limit_bytes)
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return pending.pop() if pending else await receive()

    return replayed


def _close_after(error: AnyaError) -> dict[str, str] | None:
    # The rest of the body is still on its way and nobody will read it.
    return {"Connection": "close"} if isinstance(error, BodyTooLargeError | SlowBodyError) else None

"""WebSocket `/api/v1/events`: one JSON text frame an event.

The token comes in the Authorization header or, from a browser, as the second of two
subprotocols: ``Sec-WebSocket-Protocol: bearer, TOKEN``. It is never taken from the URL, which
ends up in logs. What is wrong before the handshake is answered as an HTTP problem document.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from anya_actors.domain.machine import AnyaError, InvalidInputError
from anya_actors.serve.auth import bearer_token
from anya_actors.serve.caller import Caller, admit
from anya_actors.serve.errors import MissingTokenError
from anya_actors.serve.event_feed import FeedItem
from anya_actors.serve.event_stream import (
    CURSOR_HEADER,
    GONE,
    PARTING_S,
    UNEXPECTED_DATA,
    Ending,
    count_ending,
    first_of,
    is_cursor,
    pump,
)
from anya_actors.serve.problems import problem_response, unexpected_response

SUBPROTOCOL: Final = "bearer"

router = APIRouter()


@router.websocket("/api/v1/events")
async def events(websocket: WebSocket) -> None:
    """Admit the listener, then send events until one side ends it."""
    try:
        token, subprotocol = _token(websocket)
        caller = await admit(websocket, token, "events:read")
        async with caller.door.feed.listen(_after(websocket)) as cursor:
            await websocket.accept(subprotocol, [(CURSOR_HEADER.lower().encode(), b"%d" % cursor)])
            await _serve(websocket, caller, cursor)
    except AnyaError as error:
        await websocket.send_denial_response(problem_response(error))
    except WebSocketDisconnect:
        return
    except Exception as error:
        if websocket.application_state.name != "CONNECTING":
            raise
        await websocket.send_denial_response(unexpected_response(error, "/api/v1/events"))


async def _serve(websocket: WebSocket, caller: Caller, cursor: int) -> None:
    async def send(items: Sequence[FeedItem]) -> None:
        for item in items:
            await websocket.send({"type": "websocket.send", "text": item.json.decode()})

    async def beat() -> None:
        """Nothing: the server's own pings keep the connection."""

    ending = await first_of(pump(caller, cursor, send, beat), _watch(websocket))
    count_ending(caller, ending)
    if ending is not GONE:
        with contextlib.suppress(TimeoutError, WebSocketDisconnect, RuntimeError):
            async with asyncio.timeout(PARTING_S):
                await websocket.close(ending.code, ending.reason)


async def _watch(websocket: WebSocket) -> Ending:
    message = await websocket.receive()
    return GONE if message["type"] == "websocket.disconnect" else UNEXPECTED_DATA


def _token(websocket: WebSocket) -> tuple[str, str | None]:
    """The token, and the subprotocol to accept with."""
    offered = websocket.scope.get("subprotocols") or []
    if offered:
        if len(offered) != 2 or offered[0] != SUBPROTOCOL:
            raise MissingTokenError
        return str(offered[1]), SUBPROTOCOL
    return bearer_token(websocket.headers.get("authorization")), None


def _after(websocket: WebSocket) -> int | None:
    after = websocket.query_params.get("after")
    if after is None:
        return None
    if not is_cursor(after):
        raise InvalidInputError("after", "it is not a cursor of this stream")
    return int(after)

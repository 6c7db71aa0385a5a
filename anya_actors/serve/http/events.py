"""`GET /api/v1/events`: every event of the platform, as server-sent events (WHATWG HTML, 9.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from anya_actors.domain.machine import InvalidInputError
from anya_actors.serve.caller import Caller, Requires
from anya_actors.serve.event_feed import FeedItem
from anya_actors.serve.event_stream import (
    CURSOR_HEADER,
    GONE,
    MAX_CURSOR_DIGITS,
    Ending,
    count_ending,
    first_of,
    is_cursor,
    pump,
)

router = APIRouter(prefix="/api/v1/events", tags=["events"])

Listener = Annotated[Caller, Depends(Requires("events:read"))]
After = Annotated[
    int | None, Query(ge=0, lt=10**MAX_CURSOR_DIGITS, description="Cursor of the last event that you have")
]
LastId = Annotated[str | None, Header(alias="Last-Event-ID", description="The same, as browsers send it")]

_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A stream without end; each event's `id` is its cursor.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
        "headers": {CURSOR_HEADER: {"description": "Where it begins", "schema": {"type": "integer"}}},
    }
}


@router.get("", responses=_STREAM, response_class=Response)
async def events(caller: Listener, after: After = None, last_event_id: LastId = None) -> Response:
    """Events as they are committed. The same path speaks WebSocket.

    Each event is `{"cursor", "source", "event": {"type", ...}}`, byte strings in hex. To miss
    none, connect again with the last cursor that you have handled; you may then get one twice.
    A stream that the door ends closes with an event of type `end` whose data says why.
    """
    if last_event_id is not None and after is None:
        if not is_cursor(last_event_id):
            raise InvalidInputError("Last-Event-ID", "it is not a cursor of this stream")
        after = int(last_event_id)
    return EventStreamResponse(caller, after)


class EventStreamResponse(Response):
    """Writes the stream itself, so that it knows when a listener stops reading."""

    media_type = "text/event-stream"

    def __init__(self, caller: Caller, after: int | None) -> None:
        super().__init__(status_code=200)
        self._caller = caller
        self._after = after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._caller.door.feed.listen(self._after) as cursor:
            await self._begin(send, cursor)

            async def write(data: bytes, more: bool = True) -> None:
                await send({"type": "http.response.body", "body": data, "more_body": more})

            async def send_items(items: Sequence[FeedItem]) -> None:
                await write(b"".join(b"id: %d\ndata: %s\n\n" % (item.cursor, item.json) for item in items))

            async def beat() -> None:
                await write(b": still here\n\n")

            # Sets the browser's last event id before the first event.
            await write(b"id: %d\n\n" % cursor)
            ending = await first_of(pump(self._caller, cursor, send_items, beat), _gone(receive))
            count_ending(self._caller, ending)
            await write(b"event: end\ndata: %s\n\n" % ending.reason.encode(), more=False)

    async def _begin(self, send: Send, cursor: int) -> None:
        headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-store"),
            (CURSOR_HEADER.lower().encode(), b"%d" % cursor),
            # The stream ends with its connection.
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})


async def _gone(receive: Receive) -> Ending:
    while (await receive())["type"] != "http.disconnect":
        pass
    return GONE

"""HTTP of the node's doors: h11 over asyncio, bounded.

Head and body leave in one write: in two, Nagle's algorithm and delayed acknowledgements cost
40 ms a reply (asyncio sets TCP_NODELAY too).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import h11

from anya_actors.serve.bitcoin_node.errors import TooLargeError
from anya_actors.serve.bitcoin_node.listener import MAX_CONNECTIONS, Listener

_READ_SIZE: Final = 1 << 16
_SEND_TIMEOUT_S: Final = 60.0
_LINGER_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """``work_queue`` requests at most are under way; a body has at most ``max_body_bytes``."""

    work_queue: int = 64
    max_body_bytes: int = 32 << 20
    idle_timeout_s: float = 30.0
    max_connections: int = MAX_CONNECTIONS


@dataclass(frozen=True, slots=True)
class Request:
    """One request. ``path`` and ``query`` are as they came, percent-encoded; header names are lower-case."""

    method: str
    path: str
    query: str
    headers: dict[bytes, bytes]
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back. ``body`` is empty with status 204."""

    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain"
    headers: tuple[tuple[str, str], ...] = ()


Answer = Callable[[Request], Awaitable[Reply]]


class HttpServer:
    """Gives each request to ``answer``, which raises nothing; refuses what is no HTTP."""

    def __init__(self, answer: Answer, limits: HttpLimits | None = None) -> None:
        self._answer = answer
        self._limits = limits or HttpLimits()
        self._listener = Listener(self._serve, max_connections=self._limits.max_connections)

    async def start(self, host: str, port: int) -> int:
        """Listen; the port that was bound. Raises `BusyPortError`; refuses hosts beyond loopback."""
        return await self._listener.start(host, port)

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        await self._listener.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(reader, writer, self._limits)
        try:
            while await self._serve_one(connection):
                pass
        except (h11.RemoteProtocolError, TooLargeError) as error:
            status = 413 if isinstance(error, TooLargeError) else error.error_status_hint
            await connection.refuse(HTTPStatus(status), str(error))

    async def _serve_one(self, connection: _Connection) -> bool:
        """Serve the connection's next request; whether another may follow."""
        request = await connection.next_request()
        if request is None:
            return False
        return await connection.send(await self._answer(request))


class _Connection:
    """One client's connection: bytes to requests, replies to bytes."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limits: HttpLimits
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._limits = limits
        self._http = h11.Connection(h11.SERVER)
        self._is_head = False

    async def next_request(self) -> Request | None:
        """The next request with its body; None when the client hangs up or is silent for too long."""
        head: h11.Request | None = None
        pieces: list[bytes] = []
        size = 0
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    go_on = h11.InformationalResponse(status_code=100, headers=[])
                    self._writer.write(self._http.send(go_on) or b"")
                try:
                    async with asyncio.timeout(self._limits.idle_timeout_s):
                        data = await self._reader.read(_READ_SIZE)
                except TimeoutError:
                    return None
                self._http.receive_data(data)
            elif isinstance(event, h11.Request):
                head = event
                self._is_head = event.method == b"HEAD"
                self._refuse_announced_size(event)
            elif isinstance(event, h11.Data):
                size += len(event.data)
                if size > self._limits.max_body_bytes:
                    raise TooLargeError("the request's body", f"over {self._limits.max_body_bytes} bytes")
                pieces.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return _request(head, b"".join(pieces))
            else:
                return None

    def _refuse_announced_size(self, head: h11.Request) -> None:
        announced = next((value for name, value in head.headers if name == b"content-length"), b"0")
        if int(announced) > self._limits.max_body_bytes:
            raise TooLargeError("the request's body", f"over {self._limits.max_body_bytes} bytes")

    async def send(self, reply: Reply) -> bool:
        """Send a reply in one write; whether the connection stays open."""
        headers = [("Content-Type", reply.content_type), *reply.headers]
        if reply.status != HTTPStatus.NO_CONTENT:
            headers.append(("Content-Length", str(len(reply.body))))
        head = h11.Response(status_code=reply.status, headers=headers, reason=reply.status.phrase)
        message = [self._http.send(head)]
        if not self._is_head:
            message.append(self._http.send(h11.Data(data=reply.body)))
        message.append(self._http.send(h11.EndOfMessage()))
        self._writer.write(b"".join(piece or b"" for piece in message))
        async with asyncio.timeout(_SEND_TIMEOUT_S):
            await self._writer.drain()
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    async def refuse(self, status: HTTPStatus, text: str) -> None:
        """Answer a broken request, as far as the protocol still allows.

        Its rest is let pass for a while: unread at the close, it would reset the connection, and the
        reset may reach the client before the answer (RFC 9112, section 9.6).
        """
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            with suppress(ConnectionError, h11.LocalProtocolError):
                await self.send(Reply(status, text.encode(), headers=(("Connection", "close"),)))
                self._writer.write_eof()
                async with asyncio.timeout(_LINGER_S):
                    while await self._reader.read(_READ_SIZE):
                        pass


def _request(head: h11.Request, body: bytes) -> Request:
    # h11 lets only printable ASCII through in a target and lower-cases header names.
    path, _, query = head.target.decode("latin-1").partition("?")
    headers = {bytes(name): bytes(value) for name, value in reversed(list(head.headers))}
    return Request(head.method.decode("latin-1"), path, query, headers, body)

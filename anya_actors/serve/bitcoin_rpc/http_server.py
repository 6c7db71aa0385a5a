"""HTTP for JSON-RPC on loopback: h11 over asyncio, basic authentication, bounded work.

Head and body leave in one write: in two, Nagle's algorithm and delayed acknowledgements cost
40 ms a reply (asyncio sets TCP_NODELAY too).
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import ipaddress
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import h11

from anya_actors.domain.machine import InvalidInputError
from anya_actors.ports.clock import Clock
from anya_actors.serve.bitcoin_rpc.errors import BusyPortError
from anya_actors.serve.bitcoin_rpc.json_rpc import Reply

_READ_SIZE: Final = 1 << 16
_WRONG_PASSWORD_DELAY_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """``work_queue`` requests at most are under way; a body has at most ``max_body_bytes``."""

    work_queue: int = 64
    max_body_bytes: int = 32 << 20
    idle_timeout_s: float = 30.0


class TooLargeError(InvalidInputError):
    """A request's body is over the limit."""

    code = "rpc-body-too-large"
    message = "{} is too large: {}"
    remedy = "Send less in one request."


class HttpServer:
    """Serves POST requests to ``answer``; every other request is refused as Core refuses it."""

    def __init__(
        self,
        answer: Callable[[bytes], Awaitable[Reply]],
        credentials: bytes,
        clock: Clock,
        limits: HttpLimits | None = None,
    ) -> None:
        self._answer = answer
        self._authorization = b"Basic " + base64.b64encode(credentials)
        self._clock = clock
        self._limits = limits or HttpLimits()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._under_way = 0

    async def start(self, host: str, port: int) -> int:
        """Listen; the port that was bound. Raises `BusyPortError`; refuses hosts beyond loopback."""
        try:
            is_loopback = ipaddress.ip_address(host).is_loopback
        except ValueError:
            is_loopback = False
        if not is_loopback:
            raise InvalidInputError("rpc_host", f"{host} is not a loopback address such as 127.0.0.1")
        try:
            self._server = await asyncio.start_server(self._serve, host, port)
        except OSError as error:
            raise BusyPortError(host, port) from error
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening, let requests under way finish, drop idle connections."""
        if self._server is None:
            return
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        connection = _Connection(reader, writer, self._limits)
        try:
            while await self._serve_one(connection):
                pass
        except (h11.RemoteProtocolError, TooLargeError) as error:
            status = 413 if isinstance(error, TooLargeError) else error.error_status_hint
            await connection.refuse(HTTPStatus(status), str(error))
        except (TimeoutError, ConnectionError, asyncio.CancelledError):
            pass  # the client is gone or silent, or the server stops
        finally:
            writer.close()
            with suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _serve_one(self, connection: _Connection) -> bool:
        """Serve the connection's next request; whether another may follow."""
        request = await connection.next_request()
        if request is None:
            return False
        head, body = request
        reply = await self._reply(head, body)
        return await connection.send(reply, _extra_headers(reply.status))

    async def _reply(self, head: h11.Request, body: bytes) -> Reply:
        if head.method != b"POST":
            return Reply(HTTPStatus.METHOD_NOT_ALLOWED, b"JSONRPC server handles only POST requests")
        if not await self._is_authorized(head):
            return Reply(HTTPStatus.UNAUTHORIZED, b"")
        if head.target.split(b"?")[0] not in (b"/", b"/wallet/"):
            return Reply(HTTPStatus.NOT_FOUND, b"")
        if self._under_way >= self._limits.work_queue:
            return Reply(HTTPStatus.SERVICE_UNAVAILABLE, b"Work queue depth exceeded")
        self._under_way += 1
        try:
            return await self._answer(body)
        finally:
            self._under_way -= 1

    async def _is_authorized(self, head: h11.Request) -> bool:
        given = next((value for name, value in head.headers if name == b"authorization"), None)
        if given is None:
            return False
        if hmac.compare_digest(given, self._authorization):
            return True
        await self._clock.sleep(_WRONG_PASSWORD_DELAY_S)  # guessing must be slow
        return False


def _extra_headers(status: HTTPStatus) -> list[tuple[str, str]]:
    match status:
        case HTTPStatus.UNAUTHORIZED:
            return [("WWW-Authenticate", 'Basic realm="jsonrpc"')]
        case HTTPStatus.METHOD_NOT_ALLOWED:
            return [("Allow", "POST")]
        case HTTPStatus.SERVICE_UNAVAILABLE:
            return [("Retry-After", "1")]
        case _:
            return []


class _Connection:
    """One client's connection: bytes to requests, replies to bytes."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limits: HttpLimits
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._limits = limits
        self._http = h11.Connection(h11.SERVER)

    async def next_request(self) -> tuple[h11.Request, bytes] | None:
        """The next request with its body; None when the client hangs up."""
        head: h11.Request | None = None
        pieces: list[bytes] = []
        size = 0
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    go_on = h11.InformationalResponse(status_code=100, headers=[])
                    self._writer.write(self._http.send(go_on) or b"")
                data = await asyncio.wait_for(self._reader.read(_READ_SIZE), self._limits.idle_timeout_s)
                self._http.receive_data(data)
            elif isinstance(event, h11.Request):
                head = event
                self._refuse_announced_size(event)
            elif isinstance(event, h11.Data):
                size += len(event.data)
                if size > self._limits.max_body_bytes:
                    raise TooLargeError("the request's body", f"over {self._limits.max_body_bytes} bytes")
                pieces.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return head, b"".join(pieces)
            else:
                return None

    def _refuse_announced_size(self, head: h11.Request) -> None:
        announced = next((value for name, value in head.headers if name == b"content-length"), b"0")
        if int(announced) > self._limits.max_body_bytes:
            raise TooLargeError("the request's body", f"over {self._limits.max_body_bytes} bytes")

    async def send(self, reply: Reply, extra: list[tuple[str, str]]) -> bool:
        """Send a reply in one write; whether the connection stays open."""
        is_json = reply.body[:1] in (b"{", b"[")
        headers = [("Content-Type", "application/json" if is_json else "text/plain"), *extra]
        if reply.status != HTTPStatus.NO_CONTENT:
            headers.append(("Content-Length", str(len(reply.body))))
        head = h11.Response(status_code=reply.status, headers=headers, reason=reply.status.phrase)
        message = [self._http.send(head), self._http.send(h11.Data(data=reply.body))]
        message.append(self._http.send(h11.EndOfMessage()))
        self._writer.write(b"".join(piece or b"" for piece in message))
        await self._writer.drain()
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    async def refuse(self, status: HTTPStatus, text: str) -> None:
        """Answer a broken request, as far as the protocol still allows."""
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            with suppress(ConnectionError, h11.LocalProtocolError):
                await self.send(Reply(status, text.encode()), [("Connection", "close")])

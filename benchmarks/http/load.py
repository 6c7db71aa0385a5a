"""A small HTTP/1.1 load generator: keep-alive connections, one request at a time on each."""

from __future__ import annotations

import asyncio
import time
from typing import cast


class _Connection(asyncio.Protocol):
    """Sends the next request as soon as an answer is whole; only status 200 counts."""

    def __init__(self, request: bytes, took_s: list[float], done: asyncio.Future[None]) -> None:
        self._request = request
        self._took_s = took_s
        self._done = done
        self._buffer = b""
        self._missing = 0
        self._began = 0.0
        self.running = True
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are asyncio's in all but ancestry.
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def _send(self) -> None:
        self._began = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._missing -= len(data)
        else:
            self._buffer += data
            head, end, body = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 200"):
                self._fail(RuntimeError(head.decode(errors="replace")))
                return
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            self._missing = int(length) - len(body)
            self._buffer = b""
        if self._missing == 0:
            self._took_s.append(time.perf_counter() - self._began)
            if self.running:
                self._send()
            else:
                self._transport.close()

    def _fail(self, error: Exception) -> None:
        self._transport.close()
        if not self._done.done():
            self._done.set_exception(error)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_result(None)


async def load(host: str, port: int, path: str, token: str, connections: int, for_s: float) -> list[float]:
    """Seconds that each answer took, of ``connections`` clients within ``for_s`` seconds."""
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n"
    return await load_request(host, port, request.encode(), connections, for_s)


async def load_request(host: str, port: int, request: bytes, connections: int, for_s: float) -> list[float]:
    """As `load`, for a request of any kind, as its bytes."""
    loop = asyncio.get_running_loop()
    took_s: list[float] = []
    clients: list[_Connection] = []
    waits: list[asyncio.Future[None]] = []
    for _ in range(connections):
        done: asyncio.Future[None] = loop.create_future()
        client = _Connection(request, took_s, done)
        await loop.create_connection(lambda client=client: client, host, port)  # type: ignore[misc]
        clients.append(client)
        waits.append(done)
    await asyncio.sleep(for_s)
    for client in clients:
        client.running = False
    await asyncio.gather(*waits)
    return took_s

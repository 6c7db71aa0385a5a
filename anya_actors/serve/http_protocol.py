"""HTTP/1.1 as uvicorn speaks it, with an end to what a peer may make it hold before anyone asks who it is.

uvicorn bounds a body by not reading on, but collects a request's head for as long as it comes, queues
as many pipelined requests as are sent, and waits for the first byte for ever. When it refuses a request
that is still coming, it closes at once: what then lies unread in the kernel turns the close into a reset,
which may reach the peer before the refusal. Here the rest is let pass for a while (RFC 9112, section 9.6).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import h11
import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES: Final = 64 * 1024
HEAD_TIMEOUT_S: Final = 20.0
# The application gives a body up earlier, with an answer; this ends bodies that nobody reads.
BODY_TIMEOUT_S: Final = 60.0
# A peer that takes none of its answer for so long.
WRITE_TIMEOUT_S: Final = 30.0
# How long the rest of a refused request is let pass.
LINGER_S: Final = 5.0
# Requests sent behind one that is being answered (RFC 9112, section 9.3.2).
MAX_PIPELINED: Final = 64

_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
)


class _Closing:
    """A transport whose close is the connection's to do."""

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.behind = transport
        self.write = transport.write
        self.close = close
        self.closing = False

    def is_closing(self) -> bool:
        return self.closing or self.behind.is_closing()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.behind, name)


class _Peer:
    """One connection: drops a peer that lets its answer lie, and lets a refused one have its answer."""

    loop: asyncio.AbstractEventLoop
    transport: Any
    flow: FlowControl
    _write_timer: asyncio.TimerHandle | None = None
    _linger_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        # Of uvicorn's protocol, which stands behind.
        super().connection_made(_Closing(transport, self._close))  # type: ignore[misc]

    def pause_writing(self) -> None:
        super().pause_writing()  # type: ignore[misc]
        self._write_timer = self.loop.call_later(WRITE_TIMEOUT_S, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop_write_timer()
        super().resume_writing()  # type: ignore[misc]

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_write_timer()
        if self._linger_timer is not None:
            self._linger_timer.cancel()
        super().connection_lost(exc)  # type: ignore[misc]

    def data_received(self, data: bytes) -> None:
        if self._linger_timer is None:
            super().data_received(data)  # type: ignore[misc]

    def handle_websocket_upgrade(self, *event: Any) -> None:
        self.transport = self.transport.behind  # from here on another protocol's
        super().handle_websocket_upgrade(*event)  # type: ignore[misc]

    def _stop_write_timer(self) -> None:
        timer, self._write_timer = self._write_timer, None
        if timer is not None:
            timer.cancel()

    def _is_mid_request(self) -> bool:
        raise NotImplementedError

    def _close(self) -> None:
        transport = self.transport.behind
        if not self._is_mid_request() or not transport.can_write_eof():
            transport.close()
        elif not self.transport.is_closing():
            self.transport.closing = True
            self._linger_timer = self.loop.call_later(LINGER_S, transport.close)
            self.flow.resume_reading()
            transport.write_eof()


class BoundedHttpProtocol(_Peer, HttpToolsProtocol):
    """One connection. Its head is bounded up to the size of one read, which the event loop bounds."""

    _in_message = False
    _in_head = True
    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._refuse, b"")

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        continues = self._in_head
        super().data_received(data)
        if not self._in_head:
            self._head_bytes = 0
            self._stop_timer()
            return
        # What began behind something else in this read is counted from the next one on.
        self._head_bytes = self._head_bytes + len(data) if continues else 0
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(_TOO_LARGE)
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._refuse, b"")

    def on_message_begin(self) -> None:
        self._in_message = self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        if len(self.pipeline) >= MAX_PIPELINED:
            raise httptools.HttpParserError("too many pipelined requests")
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_message = False
        super().on_message_complete()

    def _is_mid_request(self) -> bool:
        return self._in_message

    def _refuse(self, answer: bytes) -> None:
        self._stop_timer()
        if self.transport.is_closing():
            return
        if answer and (self.cycle is None or self.cycle.response_complete):
            self.transport.write(answer)
        self.transport.close()

    def _stop_timer(self) -> None:
        timer, self._head_timer = self._head_timer, None
        if timer is not None:
            timer.cancel()


class BoundedH11Protocol(_Peer, H11Protocol):
    """One connection that takes any method. h11 bounds a head and reads one request at a time.

    What it waits for, a head or the rest of a body, must come within its time, however it trickles.
    """

    _awaited: Any = None
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._await()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        if self.conn.their_state is not self._awaited:
            self._await()

    def _is_mid_request(self) -> bool:
        return self.conn.their_state in (h11.SEND_BODY, h11.ERROR)

    def _await(self) -> None:
        self._stop_timer()
        self._awaited = self.conn.their_state
        limit_s = {h11.IDLE: HEAD_TIMEOUT_S, h11.SEND_BODY: BODY_TIMEOUT_S}.get(self._awaited)
        if limit_s is not None and not self.transport.is_closing():
            self._timer = self.loop.call_later(limit_s, self.transport.abort)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

"""Calls between two processes of one user on one machine, over a Unix socket (ADR 31).

Both ends ask the kernel who the other is and speak only to their own user. The socket has an
abstract name drawn anew by each process that listens, so no file of it outlives that process. A
frame is the length of its content (8 bytes), the number of the call (8 bytes), whether the content
is an answer or an error (1 byte), and the content.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import secrets
import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from typing import Final, cast

import structlog

from anya_actors.domain.machine import AnyaError

_log = structlog.get_logger(__name__)

_HEAD: Final = struct.Struct(">QQ?")
_CREDENTIALS: Final = struct.Struct("3i")  # process, user, group


class LineBrokenError(ConnectionError):
    """The other process is gone, or left the line: what was asked may have been done."""


class _Frames(asyncio.Protocol):
    """Cuts what arrives into frames; a peer of another user is left."""

    def __init__(
        self, on_frame: Callable[[_Frames, int, bool, bytes], None], on_lost: Callable[[_Frames], None]
    ) -> None:
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._buffer = bytearray()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        found = cast(asyncio.Transport, transport)  # uvloop's are asyncio's in all but ancestry
        if _user_of(found.get_extra_info("socket").fileno()) == os.getuid():
            self.transport = found
        else:
            found.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self._on_lost(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        begin = 0
        while len(self._buffer) >= begin + _HEAD.size:
            length, number, failed = _HEAD.unpack_from(self._buffer, begin)
            end = begin + _HEAD.size + length
            if len(self._buffer) < end:
                break
            self._on_frame(self, number, failed, bytes(self._buffer[begin + _HEAD.size : end]))
            begin = end
        del self._buffer[:begin]

    def break_off(self) -> None:
        """Leave the peer at once."""
        if self.transport is not None:
            self.transport.abort()

    def send(self, number: int, content: bytes, *, failed: bool = False) -> None:
        """Send a frame, if anyone is there to get it."""
        if self.transport is not None:
            self.transport.write(_HEAD.pack(len(content), number, failed) + content)


class Listener:
    """The end of the process that is called: passes calls to ``invoke``, each as it arrives."""

    def __init__(self, invoke: Callable[[bytes], Awaitable[bytes]]) -> None:
        self._invoke = invoke
        self._server: asyncio.Server | None = None
        self._name = ""
        self._opening = asyncio.Lock()
        self._peers: set[_Frames] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> str:
        """Listen, once; the socket's name, or nothing where there are no abstract names."""
        async with self._opening:
            if self._server is None and sys.platform == "linux":
                name = f"anya-{secrets.token_hex(16)}"
                listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                listening.bind(f"\0{name}")
                loop = asyncio.get_running_loop()
                self._server = await loop.create_unix_server(self._peer, sock=listening)
                self._name = name
        return self._name

    def close(self) -> None:
        """Leave every caller; what was begun is finished."""
        if self._server is not None:
            self._server.close()
        for peer in self._peers:
            peer.break_off()

    def _peer(self) -> _Frames:
        peer = _Frames(self._on_call, self._peers.discard)
        self._peers.add(peer)
        return peer

    def _on_call(self, peer: _Frames, number: int, _: bool, content: bytes) -> None:
        task = asyncio.create_task(self._serve(peer, number, content))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, peer: _Frames, number: int, content: bytes) -> None:
        try:
            peer.send(number, await self._invoke(content))
        except AnyaError as error:
            error.__cause__ = error.__context__ = None
            peer.send(number, pickle.dumps(error), failed=True)
        except Exception as error:  # noqa: BLE001 - Ray's way meets the same fault, and shows it to the caller
            _log.error("a call was no call", error=type(error).__name__)
            peer.break_off()


class Line:
    """A caller's end. It belongs to the event loop that made it."""

    def __init__(self) -> None:
        self._frames = _Frames(self._on_answer, self._on_lost)
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._calls = 0
        self._retired = False
        self._loop = asyncio.get_running_loop()

    @classmethod
    async def to(cls, name: str) -> Line:
        """Connect; raise `OSError` where nobody of our own user listens under the name."""
        line = cls()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            connection.connect(f"\0{name}")
            if _user_of(connection.fileno()) != os.getuid():
                raise PermissionError("the listener is another user's")
            await line._loop.create_unix_connection(lambda: line._frames, sock=connection)
        except BaseException:
            connection.close()
            raise
        return line

    @property
    def is_open(self) -> bool:
        """Whether calls of the present loop go through."""
        transport = self._frames.transport
        return (
            transport is not None and not transport.is_closing() and self._loop is asyncio.get_running_loop()
        )

    def send(self, call: bytes) -> asyncio.Future[bytes]:
        """Send a call at once, behind those sent before; its answer, its error, or `LineBrokenError`."""
        answer: asyncio.Future[bytes] = self._loop.create_future()
        self._calls += 1
        self._waiting[self._calls] = answer
        self._frames.send(self._calls, call)
        return answer

    def retire(self) -> None:
        """Leave the other process once everything is answered."""
        self._retired = True
        if not self._waiting:
            self.close()

    def close(self) -> None:
        """Leave the other process now."""
        if not self._loop.is_closed():
            self._frames.break_off()

    def _on_answer(self, _: _Frames, number: int, failed: bool, content: bytes) -> None:
        answer = self._waiting.pop(number, None)
        if answer is not None and not answer.done():  # else its caller waits no more
            if failed:
                answer.set_exception(_error(content))
            else:
                answer.set_result(content)
        if self._retired and not self._waiting:
            self.close()

    def _on_lost(self, _: _Frames) -> None:
        waiting, self._waiting = self._waiting, {}
        for answer in waiting.values():
            if not answer.done():
                answer.set_exception(LineBrokenError())


def _error(content: bytes) -> Exception:
    error: Exception = pickle.loads(content)  # noqa: S301 - from a process of our own user, as through Ray
    return error


def _user_of(descriptor: int) -> int:
    """Whose process is at the other end, as the kernel saw it when the two were joined."""
    with socket.socket(fileno=os.dup(descriptor)) as connection:
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(credentials)[1])

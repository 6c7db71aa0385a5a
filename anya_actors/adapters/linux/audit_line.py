"""The audit line over a Unix socket between two processes of one user on one machine (ADR 28).

Both ends ask the kernel who the other is and speak only to their own user. The socket has an
abstract name drawn anew by each HSM process, so no file of it outlives that process. A frame is
its length (4 bytes), the number of the call (8 bytes), and MessagePack (a call) or the answer:
nothing, or the error as Ray would carry it.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import secrets
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Any, Final, cast

import msgspec

from anya_actors.domain.hsm.audit import OperationRecord
from anya_actors.domain.machine import AnyaError, UnavailableError
from anya_actors.ports.actors import HSM, Actors, CallTimeoutError
from anya_actors.ports.audit_line import Append
from anya_actors.ports.state_store import FencedError

METHOD: Final = "append_audit"
MAX_FRAME: Final = 1024 * 1024
RETRY_AFTER_S: Final = 30.0
FIND_TIMEOUT_S: Final = 5.0

_HEAD: Final = struct.Struct(">IQ")
_CREDENTIALS: Final = struct.Struct("3i")  # process, user, group


class Call(msgspec.Struct, array_like=True, frozen=True):
    """The arguments of ``append_audit``."""

    session_id: str
    records: tuple[OperationRecord, ...]
    seconds: float
    message_id: str


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Call)


class _Frames(asyncio.Protocol):
    """Cuts what arrives into frames; a peer of another user, or one that sends too much, is left."""

    def __init__(
        self, on_frame: Callable[[_Frames, int, bytes], None], on_lost: Callable[[], None] = lambda: None
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
        self._on_lost()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= _HEAD.size and self.transport is not None:
            length, number = _HEAD.unpack_from(self._buffer)
            if length > MAX_FRAME:
                self.break_off()
                return
            end = _HEAD.size + length
            if len(self._buffer) < end:
                return
            content = bytes(self._buffer[_HEAD.size : end])
            del self._buffer[:end]
            self._on_frame(self, number, content)

    def break_off(self) -> None:
        """Leave the peer at once."""
        if self.transport is not None:
            self.transport.abort()

    def send(self, number: int, content: bytes) -> None:
        """Send a frame, if anyone is there to get it."""
        if self.transport is not None:
            self.transport.write(_HEAD.pack(len(content), number) + content)


class UnixAuditLine:
    """The HSM's end."""

    def __init__(self) -> None:
        self._append: Append | None = None
        self._server: asyncio.Server | None = None
        self._peers: set[_Frames] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, append: Append) -> str:
        """Listen; the socket's name, or nothing where there are no abstract names."""
        if sys.platform != "linux":
            return ""
        self._append = append
        name = f"anya-hsm-{secrets.token_hex(16)}"
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(f"\0{name}")
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(self._peer, sock=listening)
        return name

    def close(self) -> None:
        """Leave every session; what is being written is written."""
        self._append = None
        if self._server is not None:
            self._server.close()
        for peer in self._peers:
            peer.break_off()
        self._peers.clear()

    def _peer(self) -> _Frames:
        peer = _Frames(self._on_call)
        self._peers = {each for each in self._peers if each.transport is not None} | {peer}
        return peer

    def _on_call(self, peer: _Frames, number: int, content: bytes) -> None:
        task = asyncio.create_task(self._serve(peer, number, content))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, peer: _Frames, number: int, content: bytes) -> None:
        """Answer, or break the line: then the session asks in the usual way, with the same id."""
        answer = b""
        try:
            if self._append is None:
                raise UnavailableError(HSM, "it is being closed")
            call = _decoder.decode(content)
            await self._append(call.session_id, call.records, call.seconds, message_id=call.message_id)
        except FencedError:
            return peer.break_off()  # whoever asks in the usual way has this process ended
        except AnyaError as error:
            error.__cause__ = error.__context__ = None
            answer = pickle.dumps(error)
        except Exception:  # noqa: BLE001 - the same fault meets the usual way, which knows how to report it
            return peer.break_off()
        peer.send(number, answer)


class DirectAudit:
    """`Actors` that bring audit entries to the HSM by its line, and all else as ever.

    Where there is no line (another machine, an HSM that has just died), they go as ever too. A call
    that the line lost is made again with its message id, and is recorded once.
    """

    def __init__(self, actors: Actors) -> None:
        self._actors = actors
        self._line: _Line | None = None
        self._connecting = asyncio.Lock()
        self._not_before_s = 0.0

    async def call(
        self, actor: str, method: str, *args: Any, message_id: str | None = None, timeout_s: float = 30.0
    ) -> Any:
        """See `Actors.call`."""
        if actor == HSM and method == METHOD and message_id is not None:
            line = self._line
            if line is None or not line.is_open:
                line = await self._connect()
            if line is not None:
                try:
                    return await line.ask(args, message_id, timeout_s)
                except ConnectionError:
                    pass
        return await self._actors.call(actor, method, *args, message_id=message_id, timeout_s=timeout_s)

    async def reach(self) -> None:
        """Look for the line now, not at the first entry."""
        await self._connect()

    async def _connect(self) -> _Line | None:
        async with self._connecting:
            if self._line is not None and self._line.is_open:
                return self._line
            if time.monotonic() < self._not_before_s:
                return None
            self._not_before_s = time.monotonic() + RETRY_AFTER_S
            self._line = None
            try:
                name = await self._actors.call(HSM, "audit_line", timeout_s=FIND_TIMEOUT_S)
                self._line = await _Line.to(name) if name else None
            except (AnyaError, OSError):
                return None
            if self._line is not None:
                self._not_before_s = 0.0
            return self._line


class _Line:
    """A session's end."""

    def __init__(self) -> None:
        self._frames = _Frames(self._on_answer, self._on_lost)
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._calls = 0

    @classmethod
    async def to(cls, name: str) -> _Line:
        """Connect; raise `OSError` where nobody of our own user listens under the name."""
        line = cls()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            connection.connect(f"\0{name}")
            if _user_of(connection.fileno()) != os.getuid():
                raise PermissionError("the listener is another user's")
            loop = asyncio.get_running_loop()
            await loop.create_unix_connection(lambda: line._frames, sock=connection)
        except BaseException:
            connection.close()
            raise
        return line

    @property
    def is_open(self) -> bool:
        return self._frames.transport is not None

    async def ask(self, args: tuple[Any, ...], message_id: str, timeout_s: float) -> None:
        """Return when it is recorded; raise the HSM's error, or `ConnectionError`."""
        if not self.is_open:
            raise ConnectionError
        self._calls += 1
        number, answer = self._calls, asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        self._frames.send(number, _encoder.encode((*args, message_id)))
        try:
            async with asyncio.timeout(timeout_s):
                content = await answer
        except TimeoutError:
            raise CallTimeoutError(HSM, METHOD, timeout_s) from None
        finally:
            self._waiting.pop(number, None)
        if content:
            raise pickle.loads(content)  # noqa: S301 - from our own user's HSM, as if through Ray

    def _on_answer(self, _: _Frames, number: int, content: bytes) -> None:
        answer = self._waiting.get(number)
        if answer is not None and not answer.done():
            answer.set_result(content)

    def _on_lost(self) -> None:
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ConnectionError())


def _user_of(descriptor: int) -> int:
    """Whose process is at the other end, as the kernel saw it when the two were joined."""
    with socket.socket(fileno=os.dup(descriptor)) as connection:
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(credentials)[1])

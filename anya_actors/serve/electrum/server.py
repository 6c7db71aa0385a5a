"""Electrum over TCP: one line a message, bounded in every direction."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from anya_actors.domain.machine import AnyaError
from anya_actors.serve.bitcoin_node.listener import Listener
from anya_actors.serve.electrum.context import ElectrumContext, Method, Session
from anya_actors.serve.electrum.methods.blocks import describe_tip
from anya_actors.serve.electrum.wire import (
    Call,
    ElectrumCode,
    ElectrumError,
    Refused,
    answer,
    notification,
    parse_line,
    refusal,
)

_log = logging.getLogger(__name__)

MAX_LINE: Final = 1 << 20
"""Bytes of a request: the hexadecimal text of the largest standard transaction fits."""
MAX_REPLY: Final = 16 << 20
_TURN: Final = 16
"""So many calls of a batch are answered before other clients are."""
_READ_SIZE: Final = 1 << 16
_SEND_TIMEOUT_S: Final = 60.0


class ElectrumServer:
    """Serves every client of one node until it is closed."""

    def __init__(
        self, context: ElectrumContext, methods: Mapping[str, Method], *, max_line: int = MAX_LINE
    ) -> None:
        self._context = context
        self._methods = methods
        self._max_line = max_line
        self._listener = Listener(self._serve)
        self._place = ("", 0)
        self._following: asyncio.Task[None] | None = None
        self._end_subscription: Callable[[], None] | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; the port that was bound. Raises `BusyPortError`; refuses hosts beyond loopback."""
        self._place = (host, await self._listener.start(host, port))
        self._end_subscription = self._context.node.subscribe(self._context.subscriptions.hear)
        self._following = asyncio.create_task(self._follow())
        return self._place[1]

    async def close(self) -> None:
        """Stop listening and drop every client."""
        if self._end_subscription is not None:
            self._end_subscription()
        if self._following is not None:
            self._following.cancel()
            with suppress(asyncio.CancelledError):
                await self._following
        await self._listener.close()

    async def _follow(self) -> None:
        while True:
            try:
                await self._context.subscriptions.follow()
            except AnyaError:
                # The engine has failed; its supervisor starts the node anew and clients connect again.
                _log.exception("Electrum clients were not told of a change")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = self._place
        session = Session(self._context, host, port)
        client = _Client(session, self._methods, writer)
        self._context.subscriptions.enter(session.listening)
        telling = asyncio.create_task(client.tell_news())
        try:
            await self._read(reader, client)
        finally:
            self._context.subscriptions.leave(session.listening)
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    async def _read(self, reader: asyncio.StreamReader, client: _Client) -> None:
        """Serve line after line. A client that sends too long a line is refused and dropped."""
        pending = b""
        while True:
            data = await reader.read(_READ_SIZE)
            if not data:
                return
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                if not await client.serve(line):
                    return
                await asyncio.sleep(0)  # others get their turn
            if len(pending) > self._max_line:
                error = ElectrumError(ElectrumCode.INVALID_REQUEST, "the request is too long")
                await client.send(refusal(None, error) + b"\n")
                return


class _Client:
    """The answers to one client. One line is answered before the next is read."""

    def __init__(self, session: Session, methods: Mapping[str, Method], writer: asyncio.StreamWriter) -> None:
        self._session = session
        self._methods = methods
        self._writer = writer
        self._sending = asyncio.Lock()

    async def send(self, data: bytes) -> None:
        """Write, and wait until the client has taken most of it; raises ``TimeoutError``."""
        async with self._sending, asyncio.timeout(_SEND_TIMEOUT_S):
            self._writer.write(data)
            await self._writer.drain()

    async def serve(self, line: bytes) -> bool:
        """Answer one line; whether the client may go on."""
        items, is_batch = parse_line(line)
        answers: list[bytes] = []
        size = 0
        for place, item in enumerate(items):
            if place % _TURN == _TURN - 1:
                await asyncio.sleep(0)  # others get their turn
            reply = await self._answer(item)
            if reply is None:
                continue
            size += len(reply)
            if size > MAX_REPLY:
                # What was already answered of a batch is kept; the rest is refused item by item.
                size -= len(reply)
                error = ElectrumError(ElectrumCode.BAD_REQUEST, "the response is too large")
                reply = refusal(item.identity, error)
            answers.append(reply)
        if answers:
            content = b"[" + b",".join(answers) + b"]" if is_batch else answers[0]
            await self.send(content + b"\n")
        return not self._session.is_over

    async def _answer(self, item: Call | Refused) -> bytes | None:
        if isinstance(item, Refused):
            return refusal(item.identity, item.error)
        try:
            reply = answer(item.identity, await self._call(item))
        except ElectrumError as error:
            reply = refusal(item.identity, error)
        except AnyaError as error:
            reply = refusal(item.identity, ElectrumError(ElectrumCode.INTERNAL_ERROR, str(error)))
        except Exception:  # noqa: BLE001 - the caller learns that it failed, the log learns why
            _log.exception("the Electrum method %s failed", item.method[:100])
            reply = refusal(item.identity, ElectrumError(ElectrumCode.INTERNAL_ERROR, "internal error"))
        return reply if item.wants_answer else None

    async def _call(self, call: Call) -> object:
        found = self._methods.get(call.method)
        if found is None or not found.exists_in(self._session.protocol):
            text = f'unknown method "{call.method[:100]}"'
            raise ElectrumError(ElectrumCode.METHOD_NOT_FOUND, text)
        return await found.call(self._session, call.method, call.params)

    async def tell_news(self) -> None:
        """Send what has changed of what the client listens to, as fast as it reads and no faster."""
        listening = self._session.listening
        try:
            while True:
                await listening.news.wait()
                listening.news.clear()
                if listening.new_header:
                    listening.new_header = False
                    tip = describe_tip(self._session)
                    await self.send(notification("blockchain.headers.subscribe", [tip]))
                await self._tell_statuses()
        except (TimeoutError, ConnectionError):
            self._writer.transport.abort()  # it reads no more; that also ends the reading of its lines

    async def _tell_statuses(self) -> None:
        listening = self._session.listening
        while listening.touched:
            name = listening.touched.pop()
            if self._session.context.subscriptions.has_changed(listening, name):
                params = [name[::-1].hex(), listening.statuses[name]]
                await self.send(notification("blockchain.scripthash.subscribe", params))
            await asyncio.sleep(0)  # others get their turn

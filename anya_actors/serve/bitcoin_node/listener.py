"""A TCP listener on loopback, with a bounded number of connections."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from anya_actors.domain.machine import InvalidInputError
from anya_actors.serve.bitcoin_node.errors import BusyPortError

MAX_CONNECTIONS: Final = 512
_READ_LIMIT: Final = 1 << 16

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Listener:
    """Gives each connection to ``serve`` and closes it when that returns.

    What ``serve`` may raise for a client that is gone or silent (``TimeoutError``), or at the end of
    the listener, ends here. A connection over the limit is closed at once.
    """

    def __init__(self, serve: Serve, *, max_connections: int = MAX_CONNECTIONS) -> None:
        self._serve = serve
        self._max_connections = max_connections
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen; the port that was bound. Raises `BusyPortError`; refuses hosts beyond loopback."""
        try:
            is_loopback = ipaddress.ip_address(host).is_loopback
        except ValueError:
            is_loopback = False
        if not is_loopback:
            raise InvalidInputError("the node's host", f"{host} is not a loopback address such as 127.0.0.1")
        try:
            self._server = await asyncio.start_server(self._accept, host, port, limit=_READ_LIMIT)
        except OSError as error:
            raise BusyPortError(host, port) from error
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening and drop every connection; the node finishes a change under way."""
        if self._server is None:
            return
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self._server = None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        try:
            if task is not None and len(self._connections) < self._max_connections:
                self._connections.add(task)
                task.add_done_callback(self._connections.discard)
                await self._serve(reader, writer)
        except (TimeoutError, asyncio.CancelledError):
            writer.transport.abort()  # what it has not read by now is not waited for
        except ConnectionError:
            pass
        finally:
            writer.close()
            with suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

"""Holding the port of the HTTP door for as long as the platform lives."""

from __future__ import annotations

import errno
import socket
from types import TracebackType
from typing import Self

from anya_actors.cli.faults import BusyPortError, UnusableAddressError


class ReservedPort:
    """A port that nobody else can take, while the door's processes can (SO_REUSEPORT).

    The door's replicas listen with SO_REUSEPORT, which would let the doors of two platforms share
    one port without a word. So the port is first taken without it, which fails if anyone listens;
    then a socket that never listens keeps it, and with port 0 keeps the free one that was found.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.port = self._bind(port, shared=False)
        self._socket = self._made(self.port, shared=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def _bind(self, port: int, *, shared: bool) -> int:
        with self._made(port, shared=shared) as bound:
            return int(bound.getsockname()[1])

    def _made(self, port: int, *, shared: bool) -> socket.socket:
        made = socket.socket(self._family, socket.SOCK_STREAM)
        # Without this, connections of an earlier platform that linger would look like a listener.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            made.bind((self._host, port))
            if not shared:
                made.listen(1)  # with SO_REUSEADDR alone only listening tells of a bound socket
        except OSError as error:
            made.close()
            if error.errno == errno.EADDRINUSE:
                raise BusyPortError(self._host, port) from None
            raise UnusableAddressError(self._host, port, error.strerror or str(error)) from None
        return made

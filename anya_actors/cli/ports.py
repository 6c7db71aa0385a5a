"""Holding the port of the HTTP door for as long as the platform lives."""

from __future__ import annotations

import errno
import socket
from types import TracebackType
from typing import Self

from anya_actors.cli.faults import UnusableAddressError
from anya_actors.serve.errors import BusyPortError


class ReservedPort:
    """A port that nobody else can take, while the door's processes can (SO_REUSEPORT).

    The door's replicas listen with SO_REUSEPORT, which would let the doors of two platforms share
    one port without a word. So the port is first taken without it, which fails if anyone listens;
    then a socket that never listens keeps it, and with port 0 keeps the free one that was found.
    The first is SO_REUSEADDR: connections that linger from an earlier platform do not count.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with self._bound(port, socket.SO_REUSEADDR) as checked:
            self.port = int(checked.getsockname()[1])
        self._socket = self._bound(self.port, socket.SO_REUSEPORT)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def _bound(self, port: int, option: int) -> socket.socket:
        made = socket.socket(self._family, socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, option, 1)
        try:
            made.bind((self._host, port))
            if option == socket.SO_REUSEADDR:
                made.listen(1)  # where others bound with it too, only this tells
        except OSError as error:
            made.close()
            if error.errno == errno.EADDRINUSE:
                raise BusyPortError(self._host, port, "another program holds it") from None
            raise UnusableAddressError(self._host, port, error.strerror or str(error)) from None
        return made

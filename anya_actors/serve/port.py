"""A port for replicas that share it, and for nobody else.

Replicas of one door listen on one port with SO_REUSEPORT, which the kernel allows to every
process of the same user: a second platform would silently take a part of the first one's
requests. The reservation prevents that. It binds the port alone, without SO_REUSEPORT, which
fails if any socket is there, and only then lets replicas join. It never listens, so no request
goes to it.
"""

from __future__ import annotations

import errno
import socket
from types import TracebackType
from typing import Self

from anya_actors.serve.errors import BusyPortError


class PortReservation:
    """Holds a port of this machine until closed. Keep it for as long as the door stands."""

    def __init__(self, held: socket.socket) -> None:
        self._held = held
        self.host: str
        self.port: int
        self.host, self.port = held.getsockname()[:2]

    def close(self) -> None:
        """Give the port back."""
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.close()


def reserve_port(host: str, port: int) -> PortReservation:
    """Reserve the port, 0 for any free one; raise `BusyPortError`."""
    held = _socket(host)
    try:
        # SO_REUSEADDR passes over connections of the last platform that are still in TIME_WAIT;
        # it must be off again before another reservation tries, or both would succeed.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((host, port))
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError as error:
        held.close()
        raise BusyPortError(host, port, _reason(error)) from error
    return PortReservation(held)


def join_port(host: str, port: int) -> socket.socket:
    """A bound socket of a replica on the shared port; raise `BusyPortError`."""
    joined = _socket(host)
    try:
        joined.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        joined.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        joined.bind((host, port))
    except OSError as error:
        joined.close()
        raise BusyPortError(host, port, _reason(error)) from error
    joined.setblocking(False)
    return joined


def _socket(host: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)


def _reason(error: OSError) -> str:
    if error.errno == errno.EACCES:
        return "ports below 1024 need a privilege"
    return (error.strerror or type(error).__name__).lower()

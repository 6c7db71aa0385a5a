"""What keeps the embedded node from opening its doors."""

from __future__ import annotations

from anya_actors.domain.machine import AnyaError, InvalidInputError


class BusyPortError(AnyaError):
    """The TCP port of one of the node's doors is taken by another program."""

    code = "busy-port"
    message = "port {1} on {0} is in use"
    remedy = "Stop the program that uses it (another platform?), or set another port for the node."

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)


class NodeDirectoryInUseError(AnyaError):
    """Another living node holds this data directory."""

    code = "node-directory-in-use"
    message = "the node's data directory {} is in use by another process"
    remedy = "Stop the other platform that uses this data directory, or choose another --data-dir."

    def __init__(self, directory: str) -> None:
        super().__init__(directory)


class TooLargeError(InvalidInputError):
    """A request's body is over the limit."""

    code = "rpc-body-too-large"
    message = "{} is too large: {}"
    remedy = "Send less in one request."

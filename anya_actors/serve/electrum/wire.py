"""Lines of the Electrum protocol: JSON-RPC requests, batches of them, answers and notifications."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from anya_actors.domain.machine import AnyaError

_decoder: Final = msgspec.json.Decoder()
_encoder: Final = msgspec.json.Encoder()


class ElectrumCode(enum.IntEnum):
    """JSON-RPC's error numbers, and the two of ElectrumX for what its methods refuse."""

    BAD_REQUEST = 1
    DAEMON_ERROR = 2
    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    INVALID_PARAMS = -32602
    INTERNAL_ERROR = -32603
    PARSE_ERROR = -32700


class ElectrumError(AnyaError):
    """The answer to a call that failed; ``text`` reaches the caller as it is."""

    code = "electrum-refusal"
    message = "Electrum error {}: {}"
    remedy = "Correct the call as the text says."

    def __init__(self, rpc_code: int, text: str) -> None:
        super().__init__(rpc_code, text)
        self.rpc_code = int(rpc_code)
        self.text = text


@dataclass(frozen=True, slots=True)
class Call:
    """One request. A call without an identity is a notification and gets no answer."""

    method: str
    params: list[Any] | dict[str, Any]
    identity: Any = None
    wants_answer: bool = True


@dataclass(frozen=True, slots=True)
class Refused:
    """An item that is no request; its identity as far as it has one."""

    error: ElectrumError
    identity: Any = None


def parse_line(line: bytes) -> tuple[list[Call | Refused], bool]:
    """What a line asks for, and whether it is a batch. Never raises: what is wrong is refused."""
    try:
        content = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        return [Refused(ElectrumError(ElectrumCode.PARSE_ERROR, "invalid JSON"))], False
    if not isinstance(content, list):
        return [_read(content)], False
    if not content:
        return [_refused("the batch is empty")], False
    return [_read(item) for item in content], True


def _read(item: Any) -> Call | Refused:
    if not isinstance(item, dict):
        return _refused("a request is an object")
    identity = item.get("id")
    if isinstance(identity, list | dict | bool):
        return _refused("the id is neither a text nor a number")
    method, params = item.get("method"), item.get("params", [])
    if not isinstance(method, str):
        return _refused("the method is not a text", identity)
    if params is None:
        params = []
    if not isinstance(params, list | dict):
        return _refused("the params are neither an array nor an object", identity)
    return Call(method, params, identity, "id" in item)


def _refused(text: str, identity: Any = None) -> Refused:
    return Refused(ElectrumError(ElectrumCode.INVALID_REQUEST, text), identity)


def answer(identity: Any, result: Any) -> bytes:
    """The answer to a request, without its end of line."""
    return _encoder.encode({"jsonrpc": "2.0", "result": result, "id": identity})


def refusal(identity: Any, error: ElectrumError) -> bytes:
    """The answer to a request that failed."""
    failure = {"code": error.rpc_code, "message": error.text}
    return _encoder.encode({"jsonrpc": "2.0", "error": failure, "id": identity})


def notification(method: str, params: Sequence[Any]) -> bytes:
    """News of something subscribed to, with its end of line."""
    return _encoder.encode({"jsonrpc": "2.0", "method": method, "params": params}) + b"\n"

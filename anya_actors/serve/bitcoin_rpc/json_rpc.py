"""JSON-RPC 1.x and 2.0 as Bitcoin Core speaks them: envelopes, batches, errors, HTTP statuses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from http import HTTPStatus
from typing import Any, Final

import msgspec

from anya_actors.domain.bitcoin.errors import RejectedBlockError, RejectedTransactionError
from anya_actors.domain.machine import AnyaError
from anya_actors.serve.bitcoin_node.http import Reply
from anya_actors.serve.bitcoin_rpc.arguments import Arguments
from anya_actors.serve.bitcoin_rpc.context import Method, RpcContext, Running
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError
from anya_actors.services.bitcoin_node.acceptance import ALREADY_CONFIRMED, MISSING_INPUTS
from anya_actors.services.bitcoin_node.service import UnknownBlockError
from anya_actors.services.bitcoin_node.submissions import FeeTooHighError
from anya_actors.services.bitcoin_node.wallets.sealing import DamagedKeysError, HardenedRangeError
from anya_actors.services.bitcoin_node.wallets.wallet import WalletLockedError

_log = logging.getLogger(__name__)

# Amounts must never pass through a float: numbers with a point stay decimals.
_decoder: Final = msgspec.json.Decoder(float_hook=Decimal)
_encoder: Final = msgspec.json.Encoder(decimal_format="number")

_TURN: Final = 16
"""So many calls of a batch are answered before others are."""

_STATUS: Final[dict[int, HTTPStatus]] = {
    RpcCode.INVALID_REQUEST: HTTPStatus.BAD_REQUEST,
    RpcCode.METHOD_NOT_FOUND: HTTPStatus.NOT_FOUND,
}


def _as_rpc_error(error: AnyaError) -> RpcError:
    match error:
        case RpcError():
            return error
        case RejectedTransactionError(reason=reason, detail=detail):
            if reason == MISSING_INPUTS:
                return RpcError(RpcCode.VERIFY_ERROR, reason)
            if reason == ALREADY_CONFIRMED:
                text = "Transaction outputs already in utxo set"
                return RpcError(RpcCode.VERIFY_ALREADY_IN_UTXO_SET, text)
            return RpcError(RpcCode.VERIFY_REJECTED, f"{reason}, {detail}" if detail else reason)
        case FeeTooHighError():
            text = "Fee exceeds maximum configured by user (e.g. -maxtxfee, maxfeerate)"
            return RpcError(RpcCode.VERIFY_ERROR, text)
        case RejectedBlockError(reason=reason):
            return RpcError(RpcCode.VERIFY_ERROR, f"TestBlockValidity failed: {reason}")
        case UnknownBlockError():
            return RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Block not found")
        case WalletLockedError():
            text = "Error: Please enter the wallet passphrase with walletpassphrase first."
            return RpcError(RpcCode.WALLET_UNLOCK_NEEDED, text)
        case HardenedRangeError() | DamagedKeysError():
            return RpcError(RpcCode.WALLET_ERROR, f"Error: {error}")
        case _:
            return RpcError(RpcCode.MISC_ERROR, str(error))


@dataclass(frozen=True, slots=True)
class _Asked:
    """One request's head. ``identity`` is absent in a notification, and in older calls without one."""

    identity: Any = None
    has_identity: bool = True
    is_second: bool = False

    @property
    def is_notification(self) -> bool:
        return self.is_second and not self.has_identity

    def envelope(self, *, result: Any = None, error: RpcError | None = None) -> dict[str, Any]:
        """The answer; JSON-RPC 2.0 has either result or error, the older versions both."""
        failure = None if error is None else {"code": error.rpc_code, "message": error.text}
        content: dict[str, Any] = {"jsonrpc": "2.0"} if self.is_second else {}
        if error is None or not self.is_second:
            content["result"] = result
        if error is not None or not self.is_second:
            content["error"] = failure
        if self.has_identity:
            content["id"] = self.identity
        return content


class JsonRpc:
    """Answers the bodies of requests."""

    def __init__(self, context: RpcContext, methods: Mapping[str, Method]) -> None:
        self._context = context
        self._methods = methods

    async def answer(self, body: bytes, wallet: str | None = None) -> Reply:
        """One request or a batch, for the wallet of this name; never raises but for a cancelled task."""
        try:
            request = _decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
            return _refusal(_Asked(), RpcError(RpcCode.PARSE_ERROR, "Parse error"))
        if isinstance(request, list):
            return await self._answer_batch(request, wallet)
        if not isinstance(request, dict):
            return _refusal(_Asked(), RpcError(RpcCode.PARSE_ERROR, "Top-level object parse error"))
        asked, content, error = await self._answer_one(request, wallet)
        if error is not None and not asked.is_second:
            return _refusal(asked, error)
        if asked.is_notification:
            return Reply(HTTPStatus.NO_CONTENT, b"")
        return _reply(content, HTTPStatus.OK)

    async def _answer_batch(self, requests: list[Any], wallet: str | None) -> Reply:
        answers = []
        for place, request in enumerate(requests):
            if place % _TURN == 0:
                await asyncio.sleep(0)  # others get their turn, and the node its health questions
            asked, content, _ = await self._answer_one(request, wallet)
            if not asked.is_notification:
                answers.append(content)
        # As in Core an empty batch gets an empty list: its caller may be of an older version.
        if requests and not answers:
            return Reply(HTTPStatus.NO_CONTENT, b"")
        return _reply(answers, HTTPStatus.OK)

    async def _answer_one(
        self, request: Any, wallet: str | None
    ) -> tuple[_Asked, dict[str, Any], RpcError | None]:
        asked = _Asked()
        try:
            if not isinstance(request, dict):
                raise RpcError(RpcCode.INVALID_REQUEST, "Invalid Request object")
            asked = _Asked(request.get("id"), "id" in request)
            asked = replace(asked, is_second=_is_second(request))
            name, params = _called(request)
            result = await self._call(name, params, wallet)
        except AnyaError as error:
            refused = _as_rpc_error(error)
            return asked, asked.envelope(error=refused), refused
        return asked, asked.envelope(result=result), None

    async def call(self, name: str, params: Sequence[Any]) -> Any:
        """One call from inside this process; raises `RpcError` with what a caller over HTTP would read."""
        try:
            return await self._call(name, list(params), None)
        except RpcError:
            raise
        except AnyaError as error:
            raise _as_rpc_error(error) from error

    async def _call(self, name: str, params: list[Any] | dict[str, Any], wallet: str | None) -> Any:
        found = self._methods.get(name)
        if found is None:
            raise RpcError(RpcCode.METHOD_NOT_FOUND, "Method not found")
        arguments = Arguments(found.signature.bind(name, params, found.help_text))
        running = Running(name, self._context.clock.monotonic_s())
        context = replace(self._context, wallet=wallet, methods=self._methods)
        context.memory.running.append(running)
        try:
            return await found.handler(context, arguments)
        except AnyaError:
            raise
        except Exception as error:
            # The caller learns that it failed, the log learns why.
            _log.exception("the JSON-RPC method %s failed", name)
            raise RpcError(RpcCode.INTERNAL_ERROR, "Internal error") from error
        finally:
            context.memory.running.remove(running)


def _is_second(request: dict[str, Any]) -> bool:
    """Whether it asks in version 2.0; "1.1" is refused as Core does: it was only ever implied."""
    version = request.get("jsonrpc")
    if version is not None and not isinstance(version, str):
        raise RpcError(RpcCode.INVALID_REQUEST, "jsonrpc field must be a string")
    if version not in (None, "1.0", "2.0"):
        raise RpcError(RpcCode.INVALID_REQUEST, "JSON-RPC version not supported")
    return version == "2.0"


def _called(request: dict[str, Any]) -> tuple[str, list[Any] | dict[str, Any]]:
    name = request.get("method")
    if name is None:
        raise RpcError(RpcCode.INVALID_REQUEST, "Missing method")
    if not isinstance(name, str):
        raise RpcError(RpcCode.INVALID_REQUEST, "Method must be a string")
    params = request.get("params")
    if params is not None and not isinstance(params, list | dict):
        raise RpcError(RpcCode.INVALID_REQUEST, "Params must be an array or object")
    return name, [] if params is None else params


def _refusal(asked: _Asked, error: RpcError) -> Reply:
    """A failed call of the older versions, which shows in the HTTP status too."""
    status = _STATUS.get(error.rpc_code, HTTPStatus.INTERNAL_SERVER_ERROR)
    return _reply(asked.envelope(error=error), status)


def _reply(content: Any, status: HTTPStatus) -> Reply:
    return Reply(status, _encoder.encode(content) + b"\n", "application/json")

"""JSON-RPC 1.x and 2.0 as Bitcoin Core speaks them: envelopes, batches, errors, HTTP statuses."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from decimal import Decimal
from http import HTTPStatus
from typing import Any, Final

import msgspec

from anya_actors.domain.bitcoin.errors import RejectedBlockError, RejectedTransactionError
from anya_actors.domain.machine import AnyaError
from anya_actors.serve.bitcoin_node.http import Reply
from anya_actors.serve.bitcoin_rpc.context import Method, RpcContext
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError
from anya_actors.services.bitcoin_node.acceptance import ALREADY_CONFIRMED, MISSING_INPUTS
from anya_actors.services.bitcoin_node.service import FeeTooHighError, UnknownBlockError
from anya_actors.services.bitcoin_node.wallet import InsufficientFundsError

_log = logging.getLogger(__name__)

# Amounts must never pass through a float: numbers with a point stay decimals.
_decoder: Final = msgspec.json.Decoder(float_hook=Decimal)
_encoder: Final = msgspec.json.Encoder(decimal_format="number")

_STATUS: Final = {
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
        case InsufficientFundsError():
            return RpcError(RpcCode.WALLET_INSUFFICIENT_FUNDS, "Insufficient funds")
        case UnknownBlockError():
            return RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Block not found")
        case _:
            return RpcError(RpcCode.MISC_ERROR, str(error))


class JsonRpc:
    """Answers the bodies of requests."""

    def __init__(self, context: RpcContext, methods: Mapping[str, Method]) -> None:
        self._context = context
        self._methods = methods

    async def answer(self, body: bytes) -> Reply:
        """One request or a batch; never raises but for a cancelled task."""
        try:
            request = _decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
            return _reply(_envelope(None, error=RpcError(RpcCode.PARSE_ERROR, "Parse error")), 500)
        if isinstance(request, list):
            return await self._answer_batch(request)
        if not isinstance(request, dict):
            error = RpcError(RpcCode.PARSE_ERROR, "Top-level object parse error")
            return _reply(_envelope(None, error=error), 500)
        return await self._answer_one(request)

    async def _answer_batch(self, requests: list[Any]) -> Reply:
        if not requests:
            error = RpcError(RpcCode.INVALID_REQUEST, "Invalid Request object")
            return _reply(_envelope(None, error=error), 200)
        answers = []
        for request in requests:
            reply = await self._answer_one(request)
            if reply.body:
                answers.append(msgspec.Raw(reply.body))
        return _reply(answers, 200) if answers else Reply(HTTPStatus.NO_CONTENT, b"")

    async def _answer_one(self, request: Any) -> Reply:
        fields: dict[str, Any] = request if isinstance(request, dict) else {}
        identity = fields.get("id")
        is_second = fields.get("jsonrpc") == "2.0"
        try:
            if not isinstance(request, dict):
                raise RpcError(RpcCode.INVALID_REQUEST, "Invalid Request object")
            result = await self._call(request)
        except AnyaError as error:
            refused = _as_rpc_error(error)
            if is_second and "id" not in fields:
                return Reply(HTTPStatus.NO_CONTENT, b"")
            status = 200 if is_second else _STATUS.get(RpcCode(refused.rpc_code), 500)
            return _reply(_envelope(identity, error=refused, is_second=is_second), status)
        if is_second and "id" not in fields:
            return Reply(HTTPStatus.NO_CONTENT, b"")
        return _reply(_envelope(identity, result=result, is_second=is_second), 200)

    async def _call(self, request: dict[str, Any]) -> Any:
        version = request.get("jsonrpc")
        if version is not None and not isinstance(version, str):
            raise RpcError(RpcCode.INVALID_REQUEST, "jsonrpc field must be a string")
        if version not in (None, "1.0", "1.1", "2.0"):
            raise RpcError(RpcCode.INVALID_REQUEST, "JSON-RPC version not supported")
        name = request.get("method")
        if name is None:
            raise RpcError(RpcCode.INVALID_REQUEST, "Missing method")
        if not isinstance(name, str):
            raise RpcError(RpcCode.INVALID_REQUEST, "Method must be a string")
        params = request.get("params")
        if params is not None and not isinstance(params, list | dict):
            raise RpcError(RpcCode.INVALID_REQUEST, "Params must be an array or object")
        found = self._methods.get(name)
        if found is None:
            raise RpcError(RpcCode.METHOD_NOT_FOUND, "Method not found")
        arguments = found.signature.bind(name, [] if params is None else params)
        try:
            return await found.handler(self._context, arguments)
        except AnyaError:
            raise
        except Exception as error:
            # The caller learns that it failed, the log learns why.
            _log.exception("the JSON-RPC method %s failed", name)
            raise RpcError(RpcCode.INTERNAL_ERROR, "Internal error") from error


def _envelope(
    identity: Any, *, result: Any = None, error: RpcError | None = None, is_second: bool = False
) -> dict[str, Any]:
    failure = None if error is None else {"code": error.rpc_code, "message": error.text}
    if not is_second:
        return {"result": result if error is None else None, "error": failure, "id": identity}
    if failure is not None:
        return {"jsonrpc": "2.0", "error": failure, "id": identity}
    return {"jsonrpc": "2.0", "result": result, "id": identity}


def _reply(content: Any, status: int) -> Reply:
    return Reply(HTTPStatus(status), _encoder.encode(content), "application/json")

"""Transactions given to the node over Esplora."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from anya_actors.serve.bitcoin_node.http import Reply, Request
from anya_actors.serve.bitcoin_rpc.errors import RpcError
from anya_actors.serve.esplora import replies
from anya_actors.serve.esplora.context import EsploraContext
from anya_actors.serve.esplora.replies import bad_request

_MAX_PACKAGE: Final = 25
_HEX_SIZES: Final = range(120, 800_000)
_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2})*", re.ASCII)
_DECIMAL: Final = re.compile(r"[0-9]{1,8}(?:\.[0-9]{1,8})?", re.ASCII)
_texts: Final = msgspec.json.Decoder(list[str])


async def one(context: EsploraContext, request: Request) -> Reply:
    """``POST /tx`` with the transaction's hexadecimal text; its txid."""
    if request.method == "POST":
        text = _text(request.body)
    else:
        given = _of_query(request, "tx")
        if given is None:
            raise bad_request("Missing tx")
        text = given
    return replies.text(await _call(context, "sendrawtransaction", [text]), 0)


async def package(context: EsploraContext, request: Request) -> Reply:
    """``POST /txs/package`` with a JSON array of such texts; what ``submitpackage`` says."""
    try:
        texts = _texts.decode(request.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise bad_request(str(error)) from None
    if len(texts) > _MAX_PACKAGE:
        raise bad_request(f"Exceeded maximum of {_MAX_PACKAGE} transactions")
    limits = [_limit(request, name) for name in ("maxfeerate", "maxburnamount")]
    for place, text in enumerate(texts):
        if len(text) not in _HEX_SIZES:
            raise bad_request(f"Invalid transaction size for item {place}")
        if _HEX.fullmatch(text) is None:
            raise bad_request(f"Invalid transaction hex for item {place}")
    while limits and limits[-1] is None:
        limits.pop()
    return replies.json(await _call(context, "submitpackage", [texts, *limits]))


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise bad_request(str(error)) from None


def _limit(request: Request, name: str) -> str | None:
    """An amount of the query, still as text: never through a float."""
    given = _of_query(request, name)
    if given is not None and _DECIMAL.fullmatch(given) is None:
        raise bad_request(f"Invalid {name}")
    return given


def _of_query(request: Request, name: str) -> str | None:
    try:
        found = parse_qs(request.query, max_num_fields=8).get(name)
    except ValueError as error:
        raise bad_request(str(error)) from None
    return found[-1] if found else None


async def _call(context: EsploraContext, method: str, params: list[Any]) -> Any:
    try:
        return await context.call(method, params)
    except RpcError as error:
        raise bad_request(f"{method} RPC error {error.rpc_code}: {error.text}") from error

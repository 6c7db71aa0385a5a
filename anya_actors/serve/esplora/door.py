"""Requests of Esplora's REST API to replies, as electrs routes them for Bitcoin."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final

from anya_actors.domain.machine import AnyaError
from anya_actors.serve.bitcoin_node.http import Reply, Request
from anya_actors.serve.esplora import blocks, scripts, submissions, transactions, waiting
from anya_actors.serve.esplora.context import EsploraContext
from anya_actors.serve.esplora.replies import EsploraError, bad_request, not_found

_log = logging.getLogger(__name__)

Route = Callable[[EsploraContext, Sequence[str]], Awaitable[Reply | None]]

ROUTES: Final[Mapping[str, Route]] = {
    "blocks": blocks.several,
    "block-height": blocks.by_height,
    "block": blocks.one,
    "tx": transactions.one,
    "address": scripts.one,
    "scripthash": scripts.one,
    "mempool": waiting.mempool,
    "fee-estimates": waiting.fee_estimates,
}
"""By the first part of the path. A route answers None to a path it does not have."""

# A package of 25 transactions of the greatest standard size would not fit electrs's 1 MB either.
MAX_BODY_BYTES: Final = 1_000_000

# Browsers of regtest explorers come from anywhere; nothing here is secret or worth anything.
_OPEN: Final = (("Access-Control-Allow-Origin", "*"),)


class EsploraDoor:
    """Answers every request; never raises but for a cancelled task."""

    def __init__(self, context: EsploraContext) -> None:
        self._context = context

    async def answer(self, request: Request) -> Reply:
        """The reply to one request."""
        try:
            reply = await self._route(request)
        except EsploraError as error:
            reply = Reply(HTTPStatus(error.status), error.text.encode())
        except AnyaError as error:
            reply = Reply(HTTPStatus.SERVICE_UNAVAILABLE, str(error).encode())
        except Exception:  # noqa: BLE001 - the caller learns that it failed, the log learns why
            _log.exception("Esplora failed at %s", request.path)
            reply = Reply(HTTPStatus.INTERNAL_SERVER_ERROR, b"Internal server error")
        return replace(reply, headers=(*reply.headers, *_OPEN))

    async def _route(self, request: Request) -> Reply:
        parts = request.path.split("/")[1:]
        reply: Any = None
        match request.method, parts:
            case ("POST", ["tx"]) | ("GET", ["broadcast"]):
                reply = await submissions.one(self._context, request)
            case "POST", ["txs", "package"]:
                reply = await submissions.package(self._context, request)
            case "GET", ["address-prefix", _]:
                raise bad_request("address search disabled")
            case "GET", ["block-template"]:
                raise EsploraError(HTTPStatus.FORBIDDEN, "mining REST endpoints are disabled")
            case "GET", [first, *_] if first in ROUTES:
                reply = await ROUTES[first](self._context, parts)
        if not isinstance(reply, Reply):
            raise not_found(f'endpoint does not exist "{request.path}"')
        return reply

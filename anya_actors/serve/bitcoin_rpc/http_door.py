"""HTTP of JSON-RPC as Core has it: POST only, basic authentication, a bounded work queue."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote

from anya_actors.ports.clock import Clock
from anya_actors.serve.bitcoin_node.http import Reply, Request

_WRONG_PASSWORD_DELAY_S: Final = 0.25
_WALLET_PATH: Final = "/wallet/"


class JsonRpcDoor:
    """Gives the bodies of authorised POST requests to ``answer``; refuses all others as Core does."""

    def __init__(
        self,
        answer: Callable[[bytes, str | None], Awaitable[Reply]],
        credentials: bytes,
        clock: Clock,
        work_queue: int,
    ) -> None:
        self._answer = answer
        self._authorization = b"Basic " + base64.b64encode(credentials)
        self._clock = clock
        self._work_queue = work_queue
        self._under_way = 0

    async def answer(self, request: Request) -> Reply:
        """The reply to one request."""
        if request.method != "POST":
            text = b"JSONRPC server handles only POST requests"
            return Reply(HTTPStatus.METHOD_NOT_ALLOWED, text, headers=(("Allow", "POST"),))
        if not await self._is_authorized(request):
            challenge = ("WWW-Authenticate", 'Basic realm="jsonrpc"')
            return Reply(HTTPStatus.UNAUTHORIZED, b"", headers=(challenge,))
        if request.path != "/" and not request.path.startswith(_WALLET_PATH):
            return Reply(HTTPStatus.NOT_FOUND, b"")
        if self._under_way >= self._work_queue:
            text = b"Work queue depth exceeded"
            return Reply(HTTPStatus.SERVICE_UNAVAILABLE, text, headers=(("Retry-After", "1"),))
        self._under_way += 1
        try:
            return await self._answer(request.body, _wallet_of(request.path))
        finally:
            self._under_way -= 1

    async def _is_authorized(self, request: Request) -> bool:
        given = request.headers.get(b"authorization")
        if given is None:
            return False
        if hmac.compare_digest(given, self._authorization):
            return True
        await self._clock.sleep(_WRONG_PASSWORD_DELAY_S)  # guessing must be slow
        return False


def _wallet_of(path: str) -> str | None:
    """The name of the wallet that a path asks for, None if it names none; ``/wallet/`` is the unnamed one."""
    return unquote(path.removeprefix(_WALLET_PATH)) if path.startswith(_WALLET_PATH) else None

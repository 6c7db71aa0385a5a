"""One request of a Transit client: who sends it, with which keys, and its answer in Vault's form."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections import OrderedDict
from typing import Any, Final

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from anya_actors.domain.hsm.errors import UnknownKeyError
from anya_actors.domain.hsm.views import KeyView
from anya_actors.domain.keys.operations import MAX_BATCH, Answer, Refusal
from anya_actors.domain.keys.operations import Request as Operation
from anya_actors.domain.machine import AnyaError, InvalidInputError, NotSupportedError
from anya_actors.ports.actors import HSM
from anya_actors.serve.auth import bearer_token, check_scope
from anya_actors.serve.caller import Door
from anya_actors.serve.errors import BodyTooLargeError, MalformedJsonError, SlowBodyError
from anya_actors.serve.transit.words import Fields
from anya_actors.services.hsm_client import SessionClient
from anya_actors.services.tokens import Claims

MAX_CLIENTS: Final = 256

_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder()


class TransitDesk:
    """What the requests of one listener share: the door, and a session for each caller."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self._clients: OrderedDict[str, SessionClient] = OrderedDict()

    def client(self, owner: str) -> SessionClient:
        """The caller's session, opened when it is first asked; the longest unused one idles out."""
        client = self._clients.pop(owner, None)
        if client is None:
            client = SessionClient(self.door.actors, owner, _fresh_id)
        self._clients[owner] = client
        if len(self._clients) > MAX_CLIENTS:
            self._clients.popitem(last=False)
        return client


class TransitCaller:
    """The sender of one request."""

    def __init__(self, desk: TransitDesk, claims: Claims) -> None:
        self._desk = desk
        self.claims = claims

    @property
    def subject(self) -> str:
        """Whose token it is, and who owns what is made."""
        return self.claims.subject

    async def read(self, method: str, *arguments: Any) -> Any:
        """The answer of a method of the HSM that changes nothing."""
        return await self._desk.door.actors.call(HSM, method, *arguments)

    async def write(self, method: str, *arguments: Any, timeout_s: float = 60.0) -> Any:
        """The answer of a method of the HSM that changes something; RSA keys take their time."""
        return await self._desk.door.actors.call(
            HSM, method, *arguments, message_id=_fresh_id(), timeout_s=timeout_s
        )

    async def key(self, name: str) -> KeyView:
        """The caller's key; one of another is answered like one that does not exist."""
        view: KeyView = await self.read("key", name, self.subject)
        if view.state not in ("enabled", "disabled"):
            raise UnknownKeyError(name)
        return view

    async def one(self, operation: Operation) -> Answer:
        """One operation in the caller's session."""
        answer: Answer = (await self._ask("perform", (operation,)))[0]
        return answer

    async def each(self, operations: list[Operation]) -> list[Answer | Refusal]:
        """Operations in the caller's session, each refused on its own."""
        found: list[Answer | Refusal] = []
        for start in range(0, len(operations), MAX_BATCH):
            found += await self._ask("perform_each", tuple(operations[start : start + MAX_BATCH]))
        return found

    async def public_key(self, name: str, version: int, context: bytes) -> bytes:
        """The public half of what a derived key's version is in a context."""
        client = self._desk.client(self.subject)
        found: bytes = await client.ask([name], "public_key", name, (), version, context)
        return found

    async def _ask(self, method: str, operations: tuple[Operation, ...]) -> Any:
        names = list(dict.fromkeys(operation.key for operation in operations if operation.key))
        return await self._desk.client(self.subject).ask(names, method, operations)


async def caller_of(request: Request, scope: str) -> TransitCaller:
    """Who the ``X-Vault-Token`` (or the bearer token) proves, if it allows ``scope``."""
    desk: TransitDesk = request.app.state.desk
    # Whoever asks for these must not get an answer without them.
    if request.headers.get("x-vault-namespace", "root").strip("/") not in ("", "root"):
        raise NotSupportedError("namespaces", "keys are apart by whose token it is")
    if request.headers.get("x-vault-wrap-ttl", "0") not in ("", "0", "0s"):
        raise NotSupportedError("response wrapping", "ask without a wrap TTL")
    token = request.headers.get("x-vault-token")
    if token is None:
        token = bearer_token(request.headers.get("authorization"))
    claims = await desk.door.authenticator.authenticate(token)
    check_scope(claims, scope)
    if desk.door.limiter is not None:
        desk.door.limiter.take(claims.subject)
    return TransitCaller(desk, claims)


async def fields_of(request: Request) -> Fields:
    """The body's fields, empty without one; raise for what is too long, too slow or no JSON object."""
    body = await _body_of(request)
    if not body:
        return {}
    try:
        fields = _decoder.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise MalformedJsonError("it cannot be parsed") from None
    if fields is None:
        return {}
    if not isinstance(fields, dict):
        raise InvalidInputError("body", "it is not a JSON object")
    return fields


async def _body_of(request: Request) -> bytes:
    desk: TransitDesk = request.app.state.desk
    settings = desk.door.settings
    announced = request.headers.get("content-length", "0")
    if not announced.isdigit() or int(announced) > settings.max_body_bytes:
        raise BodyTooLargeError(settings.max_body_bytes)
    body = bytearray()
    try:
        async with asyncio.timeout(settings.body_timeout_s):
            async for part in request.stream():
                body += part
                if len(body) > settings.max_body_bytes:  # a chunked one announces no length
                    raise BodyTooLargeError(settings.max_body_bytes)
    except TimeoutError:
        raise SlowBodyError(settings.body_timeout_s) from None
    except ClientDisconnect:
        raise InvalidInputError("body", "it broke off") from None
    return bytes(body)


def answer(data: Any, status: int = 200) -> Response:
    """``data`` in the envelope of every Vault answer."""
    return plain(envelope(data), status)


def envelope(data: Any) -> dict[str, Any]:
    """What every answer of Vault's says around its data."""
    return {
        "request_id": str(uuid.uuid4()),
        "lease_id": "",
        "renewable": False,
        "lease_duration": 0,
        "data": data,
        "wrap_info": None,
        "warnings": None,
        "auth": None,
    }


def plain(body: Any, status: int = 200) -> Response:
    """JSON; hvac reads errors only where the content type is exactly this."""
    return Response(_encoder.encode(body), status, None, "application/json")


def nothing() -> Response:
    """204."""
    return Response(None, 204)


def error_text(error: AnyaError) -> str:
    """What is wrong, in the error's own words."""
    return error.message.format(*error.args)


def _fresh_id() -> str:
    return f"transit/{secrets.token_hex(16)}"

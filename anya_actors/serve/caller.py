"""One authenticated request: what its token allows, and its calls to actors."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.requests import HTTPConnection
from starlette.responses import Response

from anya_actors.domain.hsm.views import KeyView
from anya_actors.domain.machine import InvalidInputError
from anya_actors.ports.actors import HSM, Actors
from anya_actors.ports.clock import Clock
from anya_actors.serve.auth import Authenticator, RateLimiter, allows, bearer_token, check_scope
from anya_actors.serve.errors import NotYoursError
from anya_actors.serve.event_feed import EventFeed
from anya_actors.serve.hsm_metrics import HsmSums
from anya_actors.serve.metrics import DoorMetrics
from anya_actors.serve.problems import SCOPE_HEADERS
from anya_actors.serve.settings import DoorSettings
from anya_actors.serve.shapes import json_of
from anya_actors.serve.system_source import SystemSource
from anya_actors.services.tokens import Claims

IDEMPOTENCY_HEADER: Final = "Idempotency-Key"
CACHED_OWNERS: Final = 4096
_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
# Bare, or quoted as the IETF draft has it (a structured field string).
_KEY = re.compile(r'"([\x21\x23-\x5B\x5D-\x7E]{1,128})"|([\x21\x23-\x5B\x5D-\x7E]{1,128})')


@dataclass(slots=True)
class Door:
    """What the routes of one replica share. ``draining`` tells load balancers to go elsewhere."""

    actors: Actors
    system: SystemSource
    authenticator: Authenticator
    limiter: RateLimiter | None
    feed: EventFeed
    metrics: DoorMetrics
    hsm_sums: HsmSums
    clock: Clock
    settings: DoorSettings
    draining: bool = False
    session_owners: OrderedDict[str, str] = field(default_factory=OrderedDict)

    async def drain(self) -> None:
        """Stop being ready and end every event stream; requests in flight go on."""
        self.draining = True
        await self.feed.close()
        await self.authenticator.close()
        await self.system.close()

    def remember_owner(self, session_id: str, owner: str) -> None:
        """Keep whose a session is; that never changes."""
        self.session_owners[session_id] = owner
        if len(self.session_owners) > CACHED_OWNERS:
            self.session_owners.popitem(last=False)


class Caller:
    """The sender of one request."""

    __slots__ = ("_connection", "claims", "door")

    def __init__(self, connection: HTTPConnection, door: Door, claims: Claims) -> None:
        self._connection = connection
        self.door = door
        self.claims = claims

    @property
    def subject(self) -> str:
        """Whose token it is."""
        return self.claims.subject

    def may(self, scope: str) -> bool:
        """Whether the token allows the scope."""
        return allows(self.claims, scope)

    @property
    def is_admin(self) -> bool:
        """Whether the token reaches what belongs to others."""
        return self.may("admin")

    def check_owner(self, owner: str, what: str) -> None:
        """Return if ``owner`` is the caller or the caller is an admin; raise `NotYoursError`."""
        if owner != self.subject and not self.is_admin:
            raise NotYoursError(what)

    async def key(self, name: str) -> KeyView:
        """A key that the caller may see; raise `UnknownKeyError`, as for one that does not exist.

        The HSM itself refuses, so that it takes no longer or shorter than for one that does not exist.
        """
        view: KeyView = await self.read(HSM, "key", name, "" if self.is_admin else self.subject)
        return view

    async def read(self, actor: str, method: str, *args: Any) -> Any:
        """The answer of a method that changes nothing."""
        return await self.door.actors.call(actor, method, *args, timeout_s=self.door.settings.call_timeout_s)

    async def write(self, actor: str, method: str, *args: Any) -> Any:
        """The answer of a method that changes something, under the request's idempotency key."""
        key = idempotency_key(self._connection)
        return await self.door.actors.call(
            actor,
            method,
            *args,
            message_id=message_id(self.subject, key),
            timeout_s=self.door.settings.call_timeout_s,
        )

    def answer(self, value: Any, status: int = 200, **headers: str) -> Response:
        """A JSON answer that carries the idempotency key, if the request had or was given one."""
        found = {**self._connection.scope.get(SCOPE_HEADERS, {}), **headers}
        return Response(json_of(value), status, found, "application/json")

    def answer_nothing(self) -> Response:
        """204, with the idempotency key."""
        return Response(None, 204, self._connection.scope.get(SCOPE_HEADERS))


class Requires:
    """A dependency of a route: a token with one of these scopes. Gives the `Caller`."""

    def __init__(self, *scopes: str) -> None:
        self.scopes = scopes

    async def __call__(self, connection: HTTPConnection) -> Caller:
        token = bearer_token(connection.headers.get("authorization"))
        return await admit(connection, token, *self.scopes)


async def admit(connection: HTTPConnection, token: str, *scopes: str) -> Caller:
    """The caller that the token proves, if it allows one of the scopes and its subject has share left."""
    door: Door = connection.app.state.door
    if connection.scope.get("method") in _CHANGING:
        # Before anything can fail: an error, too, names the key to try again with.
        idempotency_key(connection)
    claims = await door.authenticator.authenticate(token)
    check_scope(claims, *scopes)
    if door.limiter is not None:
        door.limiter.take(claims.subject)
    return Caller(connection, door, claims)


def idempotency_key(connection: HTTPConnection) -> str:
    """The request's key, or a fresh one; either way its answer, error or not, will name it."""
    headers: dict[str, str] = connection.scope.setdefault(SCOPE_HEADERS, {})
    known = headers.get(IDEMPOTENCY_HEADER)
    if known is not None:
        return known
    sent = connection.headers.get(IDEMPOTENCY_HEADER)
    if sent is None:
        key = secrets.token_hex(16)
    else:
        match = _KEY.fullmatch(sent)
        if match is None:
            raise InvalidInputError(
                IDEMPOTENCY_HEADER, "it has 1 to 128 visible ASCII characters, without quote and backslash"
            )
        key = match[1] or match[2]
    headers[IDEMPOTENCY_HEADER] = key
    return key


def message_id(subject: str, key: str) -> str:
    """The message id of a subject's key. One subject cannot meet another's answers."""
    # The length keeps ("a", "bc") and ("ab", "c") apart.
    digest = hashlib.sha256(f"{len(subject)}:{subject}{key}".encode())
    return f"http/{digest.hexdigest()}"

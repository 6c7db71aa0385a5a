"""Clients: registration, secrets, and tokens for who shows one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from anya_actors.domain.hsm.audit import AuditRecord
from anya_actors.domain.hsm.clients import (
    SHOWN_BYTES,
    Client,
    ClientChanged,
    ClientPhase,
    ClientPlan,
    ClientRegistered,
    ClientSecret,
    ClientSecretRotated,
    ClientTokenGranted,
    check_client_plan,
    client_view,
    kept_secret,
    verify_secret,
)
from anya_actors.domain.hsm.errors import (
    ClientThrottledError,
    InvalidClientError,
    InvalidScopeError,
)
from anya_actors.domain.hsm.issuer import MAX_TTL_S, Grant
from anya_actors.domain.hsm.machine import CLIENT_PREFIX, client_of
from anya_actors.domain.hsm.scopes import SCOPES, allows, scopes_of
from anya_actors.domain.hsm.slots import check_subject
from anya_actors.domain.hsm.views import ClientView
from anya_actors.domain.machine import Event, InvalidInputError
from anya_actors.services.hsm.access import Access
from anya_actors.services.hsm.records import AuditedRecords

WINDOW_S: Final = 60
FAILURES_OF_ONE: Final = 10
FAILURES_OF_ALL: Final = 300
CACHED_CLIENTS: Final = 4096


class ClientDesk:
    """Every client. A wrong secret is audited, and after ten in a minute refused without more ado."""

    def __init__(self, records: AuditedRecords, access: Access) -> None:
        self._records = records
        self._access = access
        self._window_s = -float(WINDOW_S)
        self._failed: OrderedDict[str, int] = OrderedDict()
        self._failures = 0

    async def register(self, plan: ClientPlan, shown: bytes, message_id: str) -> ClientView:
        """A new client with its first secret, once per message id."""
        async with self._records.refusals("register-client", plan.client_id):
            check_client_plan(plan)
            event = ClientRegistered(
                plan, self._secret(shown), self._entry("register-client", plan.client_id)
            )
            return await self._changed(plan.client_id, event, message_id, ("register", plan, shown))

    async def views(self) -> list[ClientView]:
        """Every client."""
        found = [
            await self._records.load(key, Client) for key in await self._records.engine.keys(CLIENT_PREFIX)
        ]
        return [client_view(each) for each in found if each.phase is not ClientPhase.ABSENT]

    async def rotate(self, client_id: str, shown: bytes, overlap_s: int, message_id: str) -> ClientView:
        """A further secret; the others hold for ``overlap_s`` longer."""
        async with self._records.refusals("rotate-client", client_id):
            check_subject(client_id)
            if not 0 <= overlap_s <= MAX_TTL_S:
                raise InvalidInputError("overlap_s", f"choose 0 to {MAX_TTL_S} seconds")
            ends = self._records.clock.now_unix_ms() + overlap_s * 1000
            audit = self._entry("rotate-client", client_id)
            event = ClientSecretRotated(self._secret(shown), ends, audit)
            return await self._changed(client_id, event, message_id, ("rotate", shown, overlap_s))

    async def change(self, client_id: str, phase: ClientPhase, operation: str, message_id: str) -> ClientView:
        """Enable, disable or delete a client."""
        async with self._records.refusals(operation, client_id):
            check_subject(client_id)
            event = ClientChanged(phase, self._entry(operation, client_id))
            return await self._changed(client_id, event, message_id, (operation,))

    async def verify(self, client_id: str, shown: bytes) -> Client:
        """The client that shows one of its secrets; raise `InvalidClientError`, `ClientThrottledError`."""
        try:
            check_subject(client_id)
            if len(shown) != SHOWN_BYTES:
                raise InvalidClientError
            client = await self._records.load(client_of(client_id), Client)
            verify_secret(client, shown, self._records.clock.now_unix_ms())
        except (InvalidClientError, InvalidInputError):
            await self._fail(client_id)
            raise InvalidClientError from None
        return client

    async def grant(self, client: Client, scopes: Sequence[str], key_version: int) -> Grant:
        """What the client's token may say: all that the client may have, or these scopes of it."""
        records = self._records
        client_id, subject = client.client_id, client.subject
        async with records.refusals("client-token", client_id):
            most = scopes_of(client.scopes, client.roles)
            for scope in scopes:
                if scope not in SCOPES or not allows(most, scope):
                    raise InvalidScopeError(scope)
        now_s = await self._access.issuing_unix_s(subject, client_id)
        token_id = records.randomness.token_bytes(16).hex()
        allowed = tuple(dict.fromkeys(scopes)) or most
        grant = Grant(token_id, subject, allowed, now_s, now_s + client.ttl_s, key_version, client_id)
        audit = records.entry("client-token", owner=client_id, detail=f"{token_id} for {subject}")
        await records.change(
            client_of(client_id), ClientTokenGranted(grant, records.clock.now_unix_ms(), audit)
        )
        return grant

    async def _changed(
        self, client_id: str, event: Event, message_id: str, request: tuple[object, ...]
    ) -> ClientView:
        key = client_of(client_id)
        view = await self._records.answered(key, message_id, request)
        if view is None:
            view = await self._records.change(key, event, message_id=message_id, request=request)
        if not isinstance(view, ClientView):
            raise TypeError(f"a client's change was answered with {type(view).__name__}")
        return view

    async def _fail(self, client_id: str) -> None:
        """Audit a wrong secret; raise `ClientThrottledError` for one too many in this minute.

        Also of a client that does not exist: no answer tells whether it does.
        """
        now_s = self._records.clock.monotonic_s()
        if now_s - self._window_s >= WINDOW_S:
            self._window_s, self._failures = now_s, 0
            self._failed.clear()
        name = client_id[:128]
        failed = self._failed.pop(name, 0) + 1
        self._failed[name] = failed
        if len(self._failed) > CACHED_CLIENTS:
            self._failed.popitem(last=False)
        self._failures += 1
        throttled = failed > FAILURES_OF_ONE or self._failures > FAILURES_OF_ALL
        # The first that is throttled stands for the rest: nobody fills the log with wrong secrets.
        if self._failures <= FAILURES_OF_ALL and failed <= FAILURES_OF_ONE + 1:
            code = ClientThrottledError.code if throttled else InvalidClientError.code
            audit = self._records.entry("client-token", owner=name, outcome=f"refused: {code}")
            await self._records.note(audit)
        if throttled:
            raise ClientThrottledError(max(1, round(self._window_s + WINDOW_S - now_s)))

    def _secret(self, shown: bytes) -> ClientSecret:
        if len(shown) != SHOWN_BYTES:
            raise InvalidInputError("secret", f"its hash has {SHOWN_BYTES} bytes")
        draw = self._records.randomness.token_bytes
        salt = draw(32)
        kept = kept_secret(salt, shown)
        return ClientSecret(draw(8).hex(), salt, kept, self._records.clock.now_unix_ms())

    def _entry(self, operation: str, client_id: str) -> AuditRecord:
        return self._records.entry(operation, owner=client_id)

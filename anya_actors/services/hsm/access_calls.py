"""The HSM's use cases for those who come in: clients, whose tokens hold, what the audit log tells whom."""

from __future__ import annotations

from typing import Final

from anya_actors.domain.hsm.audit import view_of
from anya_actors.domain.hsm.clients import ClientPhase, ClientPlan
from anya_actors.domain.hsm.issuer import Grant
from anya_actors.domain.hsm.revocations import Revocations
from anya_actors.domain.hsm.slots import check_subject
from anya_actors.domain.hsm.views import AuditEntryView, AuditPage, ClientView, IssuedToken
from anya_actors.domain.machine import InvalidInputError
from anya_actors.services.hsm.access import Access
from anya_actors.services.hsm.audit import CHUNK, AuditTrail
from anya_actors.services.hsm.clients import ClientDesk
from anya_actors.services.hsm.sessions import SessionDesk

MAX_TOKEN_ID: Final = 128
AUDIT_CHUNKS: Final = 16


class AccessCalls:
    """Clients and revocation. What is revoked holds at every door when the call returns, after two seconds.

    A client's secret is known to its door alone; what is ``shown`` here is `clients.shown_secret` of it.
    """

    _access: Access
    _clients: ClientDesk
    _trail: AuditTrail

    @property
    def _desk(self) -> SessionDesk:
        raise NotImplementedError

    async def _token_of(self, grant: Grant) -> str:
        raise NotImplementedError

    async def _token_key_version(self) -> int:
        raise NotImplementedError

    async def revocations(self, known: int = -1) -> Revocations | None:
        """For doors: the list of revoked tokens, None if it is the version that is known."""
        found = await self._access.revocations()
        return None if found.version == known else found

    async def revoke_token(
        self, token_id: str, expires_unix_s: int, owner: str, by: str, *, message_id: str
    ) -> None:
        """End one token of ``owner`` by its id; 0 where nobody knows when it would expire.

        Raises `InvalidInputError`, `RevocationLimitError`.
        """
        if not 1 <= len(token_id) <= MAX_TOKEN_ID:
            raise InvalidInputError("token_id", f"it has 1 to {MAX_TOKEN_ID} characters")
        await self._access.revoke_token(token_id, expires_unix_s, owner, by, message_id)

    async def revoke_subject(self, name: str, by: str, *, message_id: str) -> None:
        """End every token issued until now to a subject or client, and the subject's sessions.

        Raises `InvalidInputError`, `RevocationLimitError`.
        """
        check_subject(name)
        await self._access.revoke_name(name, by, message_id)
        # After that, for until then a door might have opened one.
        await self._desk.close_of(name, "its owner's tokens were revoked")

    async def register_client(self, plan: ClientPlan, shown: bytes, *, message_id: str) -> ClientView:
        """A new client with one secret. Raises `InvalidInputError`, `ClientExistsError`."""
        return await self._clients.register(plan, shown, message_id)

    async def clients(self) -> list[ClientView]:
        """Every client."""
        return await self._clients.views()

    async def rotate_client(
        self, client_id: str, shown: bytes, overlap_s: int, *, message_id: str
    ) -> ClientView:
        """A further secret; the others hold for ``overlap_s`` longer. Raises `UnknownClientError`."""
        return await self._clients.rotate(client_id, shown, overlap_s, message_id)

    async def enable_client(self, client_id: str, *, message_id: str) -> ClientView:
        """Let a disabled client ask for tokens again."""
        return await self._clients.change(client_id, ClientPhase.ENABLED, "enable-client", message_id)

    async def disable_client(self, client_id: str, by: str, *, message_id: str) -> ClientView:
        """Give the client no token, and end those that it has with its subject's sessions."""
        view = await self._clients.change(client_id, ClientPhase.DISABLED, "disable-client", message_id)
        return await self._ended(view, by, message_id)

    async def delete_client(self, client_id: str, by: str, *, message_id: str) -> ClientView:
        """As `disable_client`, for good: the id is free again."""
        view = await self._clients.change(client_id, ClientPhase.ABSENT, "delete-client", message_id)
        return await self._ended(view, by, message_id)

    async def client_token(self, client_id: str, shown: bytes, scopes: tuple[str, ...] = ()) -> IssuedToken:
        """A token for who shows a client's secret, with these scopes of the client's, or all.

        Raises `InvalidClientError`, `ClientThrottledError`, `InvalidScopeError`. Each call makes another.
        """
        client = await self._clients.verify(client_id, shown)
        grant = await self._clients.grant(client, scopes, await self._token_key_version())
        return IssuedToken(await self._token_of(grant), grant.scopes, client.ttl_s)

    async def verify_client(self, client_id: str, shown: bytes) -> None:
        """Return if it is one of the client's secrets; raise `InvalidClientError`, `ClientThrottledError`."""
        await self._clients.verify(client_id, shown)

    async def audit_of(self, owner: str, after: int = 0, limit: int = 100) -> AuditPage:
        """Up to ``limit`` (at most 1000) of an owner's entries after a sequence, out of the next 16384."""
        if after < 0 or not 1 <= limit <= CHUNK:
            raise InvalidInputError("limit", f"choose 1 to {CHUNK}, after a sequence of at least 0")
        found: list[AuditEntryView] = []
        for _ in range(AUDIT_CHUNKS):
            entries = await self._trail.entries(after, CHUNK)
            for entry in entries:
                after = entry.sequence
                if entry.record.owner == owner:
                    found.append(view_of(entry))
                if len(found) == limit:
                    return AuditPage(tuple(found), after)
            if len(entries) < CHUNK:
                return AuditPage(tuple(found), 0)
        return AuditPage(tuple(found), after)

    async def _ended(self, view: ClientView, by: str, message_id: str) -> ClientView:
        await self._access.revoke_name(view.client_id, by, f"{message_id}/tokens")
        await self._desk.close_of(view.subject, f"client {view.client_id} was ended")
        return view

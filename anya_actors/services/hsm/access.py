"""Who may come in: the revocation of access tokens."""

from __future__ import annotations

from anya_actors.domain.hsm.issuer import MAX_TTL_S
from anya_actors.domain.hsm.machine import REVOCATIONS
from anya_actors.domain.hsm.revocations import SETTLED_S, NameRevoked, Revocations, TokenRevoked
from anya_actors.services.hsm.records import AuditedRecords


class Access:
    """Keeps the list of revoked tokens. What is revoked holds at every door when the call returns."""

    def __init__(self, records: AuditedRecords) -> None:
        self._records = records

    async def revocations(self) -> Revocations:
        """The list as it is now."""
        return await self._records.load(REVOCATIONS, Revocations)

    async def issuing_unix_s(self, *names: str) -> int:
        """The second in which a token for these names may be issued: none that is revoked already."""
        clock = self._records.clock
        while True:
            now_ms = clock.now_unix_ms()
            if now_ms // 1000 > (await self.revocations()).cutoff_unix_s(names):
                return now_ms // 1000
            await clock.sleep(1 - now_ms % 1000 / 1000)

    async def revoke_token(
        self, token_id: str, expires_unix_s: int, owner: str, by: str, message_id: str
    ) -> None:
        """End one token, once per message id."""
        request = ("revoke-token", token_id, expires_unix_s)
        async with self._records.refusals("revoke-token", owner):
            if await self._records.answered(REVOCATIONS, message_id, request) is None:
                audit = self._records.entry("revoke-token", owner=owner, detail=f"{token_id} by {by}")
                now = self._now_unix_s()
                event = TokenRevoked(token_id, expires_unix_s or now + MAX_TTL_S, now, audit)
                await self._records.change(REVOCATIONS, event, message_id=message_id, request=request)
        await self._settled()

    async def revoke_name(self, name: str, by: str, message_id: str) -> None:
        """End every token issued until now to a subject or client, or to anyone; once per message id."""
        request = ("revoke-name", name)
        async with self._records.refusals("revoke-subject", name):
            if await self._records.answered(REVOCATIONS, message_id, request) is None:
                audit = self._records.entry("revoke-subject", owner=name or "hsm", detail=f"by {by}")
                event = NameRevoked(name, self._now_unix_s(), audit)
                await self._records.change(REVOCATIONS, event, message_id=message_id, request=request)
        await self._settled()

    async def _settled(self) -> None:
        """No door believes an older list any more. A repeated call waits too: the first may have died."""
        await self._records.clock.sleep(SETTLED_S)

    def _now_unix_s(self) -> int:
        return self._records.clock.now_unix_ms() // 1000

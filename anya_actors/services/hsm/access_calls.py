"""The HSM's use cases for those who come in: whose tokens hold."""

from __future__ import annotations

from typing import Final

from anya_actors.domain.hsm.revocations import Revocations
from anya_actors.domain.hsm.slots import check_subject
from anya_actors.domain.machine import InvalidInputError
from anya_actors.services.hsm.access import Access
from anya_actors.services.hsm.sessions import SessionDesk

MAX_TOKEN_ID: Final = 128


class AccessCalls:
    """Revocation of tokens. What is revoked holds at every door when the call returns, after two seconds."""

    _access: Access

    @property
    def _desk(self) -> SessionDesk:
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

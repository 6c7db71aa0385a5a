"""``anya token``: access tokens, made and ended by the running platform's HSM."""

from __future__ import annotations

from typing import Any

from anya_actors.cli.api_client import admin_client
from anya_actors.cli.faults import NotAnsweringError
from anya_actors.config import Settings

TOKENS = "/api/v1/security/tokens"


def create_token(
    settings: Settings, scopes: tuple[str, ...], roles: tuple[str, ...], *, ttl_s: int, subject: str
) -> str:
    """A signed token. Raises `NotRunningError`, or `RefusedError` for scopes or roles that do not exist."""
    body = {"subject": subject, "scopes": list(scopes), "roles": list(roles), "ttl_s": ttl_s}
    with admin_client(settings) as client:
        answer = client.post(TOKENS, body)
        token = answer.get("access_token") if isinstance(answer, dict) else None
        if not isinstance(token, str):
            raise NotAnsweringError(client.url, "its answer holds no token")
        return token


def revoke_tokens(settings: Settings, what: dict[str, str]) -> None:
    """Return when no door takes the ``token``, ``token_id`` or the tokens of the ``subject`` any more."""
    with admin_client(settings) as client:
        client.post(f"{TOKENS}/revoke", what)


def rotate_token_key(settings: Settings, *, revoke: bool) -> dict[str, Any]:
    """The key that signs tokens from now on; with ``revoke`` no token from before is taken any more."""
    with admin_client(settings) as client:
        made: dict[str, Any] = client.post(f"{TOKENS}/rotate-key", {"revoke": revoke})
        return made

"""``anya token``: access tokens, made by the running platform's HSM."""

from __future__ import annotations

from anya_actors.cli.api_client import admin_client
from anya_actors.cli.faults import NotAnsweringError
from anya_actors.config import Settings


def create_token(settings: Settings, scopes: tuple[str, ...], *, ttl_s: int, subject: str) -> str:
    """A signed token. Raises `NotRunningError`, or `RefusedError` for scopes that do not exist."""
    with admin_client(settings) as client:
        answer = client.post(
            "/api/v1/security/tokens", {"subject": subject, "scopes": list(scopes), "ttl_s": ttl_s}
        )
        token = answer.get("access_token") if isinstance(answer, dict) else None
        if not isinstance(token, str):
            raise NotAnsweringError(client.url, "its answer holds no token")
        return token

"""An OAuth client of others, Authlib's, gets tokens at a door that listens, uses them and ends them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import uvicorn
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session

from anya_actors.domain.hsm.clients import ClientPlan, shown_secret
from anya_actors.serve.app import build_app
from anya_actors.serve.server import uvicorn_config
from anya_actors.serve.settings import DoorSettings, Listen
from anya_actors.testing.clock import ManualClock
from anya_actors.testing.local_hsm import LocalHsm

CLOCK = ManualClock()


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """A door over an HSM that knows the client ``shop``, whose secret is ``open``."""
    hsm = LocalHsm(clock=CLOCK)
    service = await hsm.start()
    plan = ClientPlan("shop", "alice", ("security:use", "system:read"))
    await service.register_client(plan, shown_secret("shop", "open"), message_id="c")
    names = hsm.settings
    app = build_app(hsm.actors, CLOCK, DoorSettings(audience=names.audience, issuer=names.issuer))
    held = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn_config(app, Listen("127.0.0.1", 0)))
    serving = asyncio.create_task(server.serve(sockets=[held]))
    yield f"http://127.0.0.1:{held.getsockname()[1]}"
    server.should_exit = True
    await serving
    held.close()
    await hsm.close()


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
async def test_a_client_of_others_gets_a_token_uses_it_and_ends_it(url: str, method: str) -> None:
    def talk() -> None:
        how = {"token_endpoint_auth_method": method, "scope": "security:read"}
        with OAuth2Session("shop", "open", **how) as session:
            token = session.fetch_token(f"{url}/oauth/token", grant_type="client_credentials")
            assert (token["token_type"], token["scope"]) == ("Bearer", "security:read")
            assert session.get(f"{url}/api/v1/security/keys").status_code == 200
            told = session.introspect_token(f"{url}/oauth/introspect", token["access_token"]).json()
            assert (told["active"], told["sub"], told["client_id"]) == (True, "alice", "shop")
            session.revoke_token(f"{url}/oauth/revoke", token["access_token"]).raise_for_status()
            assert session.get(f"{url}/api/v1/security/keys").status_code == 401

    await CLOCK.pass_until(asyncio.to_thread(talk))


async def test_a_client_of_others_hears_why_it_gets_no_token(url: str) -> None:
    def talk(secret: str, scope: str) -> str:
        with OAuth2Session("shop", secret, scope=scope) as session, pytest.raises(OAuthError) as refused:
            session.fetch_token(f"{url}/oauth/token", grant_type="client_credentials")
        return str(refused.value.error)

    assert await CLOCK.pass_until(asyncio.to_thread(talk, "wrong", "")) == "invalid_client"
    assert await CLOCK.pass_until(asyncio.to_thread(talk, "open", "admin")) == "invalid_scope"

"""The command line over the HTTP API of a whole HSM in this process."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from anya_actors.cli import api_client, token
from anya_actors.cli.api_client import ApiClient
from anya_actors.cli.main import app
from anya_actors.serve.app import build_app
from anya_actors.serve.settings import DoorSettings
from anya_actors.testing.clock import ManualClock
from anya_actors.testing.local_hsm import LocalHsm

ENDINGS = ("/tokens/revoke", "/disable")
Asked = list[tuple[str, str, bytes]]


class Through(httpx.BaseTransport):
    """A caller that waits, before an application in the loop of ``runner``."""

    def __init__(self, runner: asyncio.Runner, app: Any, asked: Asked, clock: ManualClock) -> None:
        self._runner = runner
        self._clock = clock
        self._application = httpx.ASGITransport(app)
        self._asked = asked

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self._asked.append((request.method, request.url.path, request.read()))
        answer = self._ask(request)
        if request.url.path.endswith(ENDINGS) or request.method == "DELETE":
            answer = self._clock.pass_until(answer)  # they wait until no door takes the tokens any more
        return self._runner.run(answer)

    async def _ask(self, request: httpx.Request) -> httpx.Response:
        answer = await self._application.handle_async_request(request)
        return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())


@pytest.fixture
def asked() -> Asked:
    """Every request that a command sent: its method, path and body."""
    return []


@pytest.fixture
def anya(monkeypatch: pytest.MonkeyPatch, asked: Asked) -> Iterator[Callable[..., Result]]:
    """Run a command of `anya` against an HSM, as its administrator or with the token of a file."""
    clock = ManualClock()
    hsm = LocalHsm(clock=clock)
    names = hsm.settings
    door = build_app(hsm.actors, hsm.clock, DoorSettings(audience=names.audience, issuer=names.issuer))
    with asyncio.Runner() as runner:
        service = runner.run(hsm.start())
        administrators = runner.run(
            service.issue_token("admin", ("admin",), 30 * 24 * 3600, message_id="token")
        )
        through = Through(runner, door, asked, clock)

        @functools.cache
        def client_of(token: str) -> ApiClient:
            client = ApiClient("http://anya.test", token)
            authorization = {"Authorization": f"Bearer {token}"}
            client._http = httpx.Client(base_url=client.url, transport=through, headers=authorization)
            return client

        @contextlib.contextmanager
        def admin_client(_: object) -> Iterator[ApiClient]:
            yield client_of(administrators)

        @contextlib.contextmanager
        def own_client(_: object, token_file: Path, __: object) -> Iterator[ApiClient]:
            yield client_of(token_file.read_text().strip())

        monkeypatch.setattr(api_client, "admin_client", admin_client)
        monkeypatch.setattr(token, "admin_client", admin_client)
        monkeypatch.setattr(api_client, "own_client", own_client)
        yield lambda *arguments, stdin=None: CliRunner().invoke(app, list(arguments), input=stdin)
        runner.run(door.state.door.drain())
        runner.run(hsm.close())


@pytest.fixture
def invoke(anya: Callable[..., Result]) -> Callable[..., Result]:
    """Run a command of `anya hsm`."""
    return lambda *arguments, stdin=None: anya("hsm", *arguments, stdin=stdin)

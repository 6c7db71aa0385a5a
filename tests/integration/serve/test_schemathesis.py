"""Schemathesis, a fuzzer we did not write, over the whole API: whatever it sends, nothing answers 5xx.

The door listens on a real socket; behind it are the real services over a node in memory and an HSM in
this process.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from anya_actors.adapters.system.clock import SystemClock
from anya_actors.serve.app import build_app
from anya_actors.serve.server import DoorServer
from anya_actors.serve.settings import DoorSettings, Listen
from anya_actors.serve.system_source import SystemSnapshot
from anya_actors.testing.local_bitcoin import LocalBitcoin
from anya_actors.testing.local_hsm import LocalHsm

EXAMPLES = int(os.environ.get("ANYA_TEST_SCHEMATHESIS", "12"))
# What streams for ever is tested in test_event_channel.py.
STREAMS = {"/api/v1/events"}
# A thing that is not built says so; it does not fail.
HONEST = {501}


class Standing:
    """A platform that never changes."""

    async def snapshot(self) -> SystemSnapshot:
        return SystemSnapshot.of({"actors": []})

    async def close(self) -> None:
        pass


class Platform:
    """The door and what stands behind it, all on the door's own loop."""

    def __init__(self) -> None:
        self.hsm = LocalHsm(clock=SystemClock())
        self.bitcoin = LocalBitcoin()
        self.server = DoorServer(self._app, Listen("127.0.0.1", 0, drain_s=2))
        self.server.start()
        host, port = self.server.address
        self.url = f"http://{host}:{port}"

    def _app(self) -> Any:
        names = self.hsm.settings
        door = DoorSettings(
            audience=names.audience, issuer=names.issuer, allow_generate=True, call_timeout_s=20.0
        )
        return build_app(self.hsm.actors, SystemClock(), door, system=Standing())

    async def open(self) -> None:
        """Bring the services to life."""
        await self.hsm.start()
        bitcoin = await self.bitcoin.start(
            self.hsm.actors, SystemClock(), signer=self.hsm.signer("bitcoin/main"), hsm=self.hsm.actors
        )
        view = await bitcoin.create_wallet("main", message_id="wallet")
        await bitcoin.generate(view.address, 101, message_id="blocks")

    def fresh_token(self) -> str:
        """An administrator's token; for other threads than the door's."""
        assert self.server._loop is not None
        return asyncio.run_coroutine_threadsafe(self._issue(), self.server._loop).result(30)

    async def _issue(self) -> str:
        call, message_id = self.hsm.actors.call, f"token/{os.urandom(8).hex()}"
        await call("hsm/main", "unseal", "tester", message_id=f"{message_id}/unseal")  # the fuzzer seals, too
        token: str = await call("hsm/main", "issue_token", "tester", ("admin",), 3600, message_id=message_id)
        return token

    async def close(self) -> None:
        """Stop what was brought to life."""
        await self.bitcoin.close()
        await self.hsm.close()

    async def there(self, work: Any) -> Any:
        """Run a coroutine on the door's loop."""
        assert self.server._loop is not None
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.server._loop))


@pytest.fixture
async def platform() -> AsyncIterator[Platform]:
    platform = Platform()
    await platform.there(platform.open())
    yield platform
    await platform.there(platform.close())
    await platform.server.drain()


def fuzz(operation: Any, token: str, mode: GenerationMode, failures: list[str]) -> None:
    """Send what the fuzzer makes up for one operation."""
    headers = {"Authorization": f"Bearer {token}"}

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def send(data: Any) -> None:
        case: Any = data.draw(operation.as_strategy(generation_mode=mode))
        answer = case.call(headers=headers, timeout=30)
        if answer.status_code >= 500 and answer.status_code not in HONEST:
            failures.append(f"{case.as_curl_command()}\n  {answer.status_code} {answer.text[:300]}")

    send()


def fuzz_all(url: str, fresh_token: Callable[[], str]) -> tuple[int, list[str]]:
    """How many operations were fuzzed, and every answer that no client should get.

    Each operation has a token of its own, for some of them end tokens.
    """
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    failures: list[str] = []
    found: list[Any] = list(schema.get_all_operations())
    operations = [one.ok() for one in found]
    operations = [one for one in operations if one.path not in STREAMS]
    for operation in operations:
        for mode in GenerationMode:
            try:
                fuzz(operation, fresh_token(), mode, failures)
            except (Unsatisfiable, schemathesis.errors.SchemathesisError) as error:
                # Nothing about an operation without parameters can be made wrong.
                if mode is not GenerationMode.NEGATIVE:
                    failures.append(f"{operation.label}: {error}")
    return len(operations), failures


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_no_request_that_a_fuzzer_makes_up_is_answered_with_a_fault(
    platform: Platform,
) -> None:
    async with httpx.AsyncClient(base_url=platform.url, timeout=60.0) as client:
        assert (await client.get("/healthz")).status_code == 200
    operations, failures = await asyncio.to_thread(fuzz_all, platform.url, platform.fresh_token)
    assert operations > 25
    assert not failures, "\n".join(failures)

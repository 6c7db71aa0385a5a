"""What the HSM counts, over HTTP: names only for those who may see them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from anya_actors.serve.app import build_app
from anya_actors.serve.settings import DoorSettings
from anya_actors.services.hsm import HsmService
from anya_actors.testing.clock import ManualClock
from anya_actors.testing.local_hsm import LocalHsm

METRICS = "/api/v1/security/metrics"


class Door:
    """The door over an HSM with a key of alice and one of bob."""

    def __init__(self, hsm: LocalHsm, service: HsmService) -> None:
        names = hsm.settings
        self.hsm = hsm
        self.service = service
        self.app = build_app(
            hsm.actors, hsm.clock, DoorSettings(audience=names.audience, issuer=names.issuer)
        )

    async def get(self, path: str, subject: str = "", *scopes: str) -> httpx.Response:
        headers = {}
        if subject:
            token = await self.service.issue_token(subject, scopes, 600, message_id=f"{subject}-{scopes}")
            headers = {"Authorization": f"Bearer {token}"}
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://anya.test") as client:
            return await client.get(path, headers=headers)


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    hsm = LocalHsm()
    service = await hsm.start()
    for owner in ("alice", "bob"):
        await service.create_key(f"key-of-{owner}", "ed25519", owner, message_id=owner)
    session = await service.open_session("alice", ("key-of-alice",), message_id="open")
    await hsm.actors.call(session.actor, "sign_batch", "key-of-alice", (b"a", b"b"), "ed25519")
    door = Door(hsm, service)
    yield door
    await door.app.state.door.drain()
    await hsm.close()


async def test_a_caller_sees_the_counts_of_the_callers_own_keys(door: Door) -> None:
    answer = (await door.get(METRICS, "alice", "security:read")).json()
    counted = {(each["key"], each["operation"]): each["outcomes"] for each in answer["operations"]}
    assert counted[("key-of-alice", "sign")] == {"ok": 2}
    assert "key-of-bob" not in str(answer)
    assert (answer["sealed"], answer["open_sessions"]) == (False, 1)


async def test_an_admin_sees_everyones(door: Door) -> None:
    answer = (await door.get(METRICS, "root", "admin")).json()
    assert {"key-of-alice", "key-of-bob"} <= {each["key"] for each in answer["operations"]}


async def test_a_token_without_the_scope_and_no_token_are_refused(door: Door) -> None:
    assert (await door.get(METRICS)).status_code == 401
    assert (await door.get(METRICS, "alice", "bitcoin:read")).status_code == 403
    sums = (await door.get("/metrics", "alice", "bitcoin:read")).text
    assert "anya_hsm_up" in sums
    assert "alice" not in sums


async def test_whoever_scrapes_without_a_token_gets_sums_without_names(door: Door) -> None:
    text = (await door.get("/metrics")).text
    assert 'anya_hsm_operations_total{algorithm="ed25519",operation="sign",outcome="ok"} 2.0' in text
    assert 'anya_hsm_operation_seconds_bucket{algorithm="ed25519",le="5e-05",operation="sign"} 2.0' in text
    assert 'anya_hsm_operation_seconds_count{algorithm="ed25519",operation="sign"} 2.0' in text
    assert "anya_hsm_open_sessions 1.0" in text
    assert "anya_http_in_flight" in text
    assert "alice" not in text


async def test_a_scrape_with_a_token_names_the_keys_that_it_may_see(door: Door) -> None:
    text = (await door.get("/metrics", "alice", "security:read")).text
    assert 'key="key-of-alice",operation="sign",outcome="ok",owner="alice"} 2.0' in text
    assert "key-of-bob" not in text
    assert 'key="key-of-bob"' in (await door.get("/metrics", "root", "admin")).text


async def test_the_door_is_scraped_also_while_the_hsm_is_down(door: Door) -> None:
    door.hsm.kill("hsm/main")
    text = (await door.get("/metrics")).text
    assert "anya_hsm_up 0.0" in text
    assert "anya_http_in_flight" in text


async def test_the_hsm_is_asked_for_its_sums_once_a_second(door: Door) -> None:
    clock = door.hsm.clock
    assert isinstance(clock, ManualClock)
    assert "anya_hsm_up 1.0" in (await door.get("/metrics")).text
    door.hsm.kill("hsm/main")
    assert "anya_hsm_up 1.0" in (await door.get("/metrics")).text
    await clock.advance(1.0)
    assert "anya_hsm_up 0.0" in (await door.get("/metrics")).text

"""Once a revocation is answered no door takes the token, whichever process dies in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.requests import HTTPConnection

from anya_actors.domain.hsm.errors import SessionClosedError
from anya_actors.domain.hsm.revocations import LEASE_S, SETTLED_S, Revocations
from anya_actors.domain.machine import InvalidInputError, UnavailableError
from anya_actors.ports.actors import CallTimeoutError
from anya_actors.serve.app import build_app
from anya_actors.serve.auth import JWKS_MIN_AGE_S
from anya_actors.serve.caller import Caller
from anya_actors.serve.event_stream import REVOKED, pump
from anya_actors.serve.revocation import RevokedTokens
from anya_actors.serve.settings import DoorSettings
from anya_actors.serve.transit.app import build_transit
from anya_actors.services.hsm import HsmService
from anya_actors.services.tokens import Claims
from anya_actors.testing.clock import ManualClock
from anya_actors.testing.local_hsm import LocalHsm

SECURITY = "/api/v1/security"


class Doors:
    """Two replicas over one HSM, both of which have seen the caller's token."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.hsm = LocalHsm(clock=self.clock)
        self.service: HsmService
        names = self.hsm.settings
        settings = DoorSettings(audience=names.audience, issuer=names.issuer)
        self.apps = [build_app(self.hsm.actors, self.clock, settings) for _ in range(2)]
        self.clients = [self.client(app) for app in self.apps]

    def client(self, app: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://anya.test")

    async def token(self, *scopes: str, subject: str = "alice") -> str:
        message_id = f"token/{self.hsm.randomness.token_bytes(8).hex()}"
        return await self.service.issue_token(subject, scopes, 3600, message_id=message_id)

    async def statuses(self, token: str) -> list[int]:
        """What each door says to the token."""
        headers = {"Authorization": f"Bearer {token}"}
        return [
            (await client.get(f"{SECURITY}/keys", headers=headers)).status_code for client in self.clients
        ]

    async def revoke(self, **what: str) -> httpx.Response:
        """An admin revokes at the first door; time passes until it is answered."""
        headers = {"Authorization": f"Bearer {await self.token('admin', subject='root')}"}
        call = self.clients[0].post(f"{SECURITY}/tokens/revoke", json=what, headers=headers)
        return await self.clock.pass_until(call)


@pytest.fixture
async def doors() -> AsyncIterator[Doors]:
    doors = Doors()
    doors.service = await doors.hsm.start()
    yield doors
    for app, client in zip(doors.apps, doors.clients, strict=True):
        await client.aclose()
        await app.state.door.drain()
    await doors.hsm.close()


async def test_a_revoked_token_is_refused_at_every_door_and_others_are_not(doors: Doors) -> None:
    token, other = await doors.token("security"), await doors.token("security")
    assert await doors.statuses(token) == [200, 200]
    assert (await doors.revoke(token=token)).status_code == 204
    assert await doors.statuses(token) == [401, 401]
    assert await doors.statuses(other) == [200, 200]


async def test_the_answer_names_what_happened(doors: Doors) -> None:
    token = await doors.token("security")
    await doors.revoke(token=token)
    refused = await doors.clients[1].get(f"{SECURITY}/keys", headers={"Authorization": f"Bearer {token}"})
    assert refused.json()["code"] == "revoked-token"
    assert "invalid_token" in refused.headers["www-authenticate"]


async def test_a_subject_loses_every_token_and_session_and_gets_new_ones(doors: Doors) -> None:
    token = await doors.token("security")
    await doors.service.create_key("k", "ed25519", "alice", message_id="k")
    session = await doors.service.open_session("alice", ("k",), message_id="s")
    await doors.hsm.actors.call(session.actor, "sign", "k", b"m", "ed25519")
    assert (await doors.revoke(subject="alice")).status_code == 204
    assert await doors.statuses(token) == [401, 401]
    with pytest.raises(SessionClosedError):
        await doors.hsm.actors.call(session.actor, "sign", "k", b"m", "ed25519")
    assert await doors.statuses(await doors.token("security")) == [200, 200]


async def test_a_token_issued_while_its_subject_is_revoked_waits_until_it_cannot_be_meant(
    doors: Doors,
) -> None:
    revoking = asyncio.create_task(doors.service.revoke_subject("alice", "root", message_id="r"))
    await doors.clock.advance(0)
    token = await doors.clock.pass_until(doors.token("security"))
    await doors.clock.pass_until(revoking)
    assert await doors.statuses(token) == [200, 200]


async def test_a_door_that_lost_the_hsm_refuses_before_the_revocation_can_be_answered(doors: Doors) -> None:
    token = await doors.token("security")
    assert await doors.statuses(token) == [200, 200]
    revoking = asyncio.create_task(doors.service.revoke_token("any", 0, "alice", "root", message_id="r"))
    doors.hsm.kill("hsm/main")
    await doors.clock.advance(LEASE_S + 0.01)
    assert not revoking.done()
    assert await doors.statuses(token) == [503, 503]
    await doors.clock.pass_until(revoking)


async def test_a_revocation_outlives_the_hsm_and_its_repetition_waits_again(doors: Doors) -> None:
    token = await doors.token("security")
    claims = await doors.apps[0].state.door.authenticator.genuine(token)
    facts = (claims.token_id, claims.expires_unix_s, "alice", "root")
    dying = asyncio.create_task(doors.service.revoke_token(*facts, message_id="r"))
    await doors.clock.advance(0)  # committed; its answer is on its way when the HSM dies
    dying.cancel()
    doors.hsm.kill("hsm/main")
    successor = await doors.hsm.start()
    began_s = doors.clock.monotonic_s()
    await doors.clock.pass_until(successor.revoke_token(*facts, message_id="r"))
    assert doors.clock.monotonic_s() - began_s > LEASE_S
    assert await doors.statuses(token) == [401, 401]
    revoked = [entry for entry in await successor.audit() if entry.operation == "revoke-token"]
    assert [(entry.owner, entry.detail) for entry in revoked] == [("alice", f"{claims.token_id} by root")]


async def test_a_door_that_starts_afterwards_knows(doors: Doors) -> None:
    token = await doors.token("security")
    await doors.revoke(token=token)
    await doors.hsm.start()
    settings = doors.apps[0].state.door.settings
    app = build_app(doors.hsm.actors, doors.clock, settings)
    async with doors.client(app) as client:
        answer = await client.get(f"{SECURITY}/keys", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    await app.state.door.drain()


async def test_rotating_the_token_key_with_revoke_ends_every_older_token_at_once(doors: Doors) -> None:
    token = await doors.token("security")
    assert await doors.statuses(token) == [200, 200]
    await doors.clock.pass_until(doors.service.rotate_token_key(True, message_id="r"))
    assert await doors.statuses(token) == [401, 401]
    await doors.clock.advance(JWKS_MIN_AGE_S)
    assert await doors.statuses(await doors.token("security")) == [200, 200]


async def test_the_transit_listener_refuses_a_revoked_token(doors: Doors) -> None:
    token = await doors.token("security")
    async with doors.client(build_transit(doors.apps[1].state.door)) as client:
        headers = {"X-Vault-Token": token}
        assert (await client.get("/v1/auth/token/lookup-self", headers=headers)).status_code == 200
        await doors.revoke(token=token)
        assert (await client.get("/v1/auth/token/lookup-self", headers=headers)).status_code == 403


async def test_a_stream_ends_before_it_tells_a_revoked_listener_more(platform: Any) -> None:
    door = platform.app().state.door
    claims = await door.authenticator.authenticate(platform.token("events:read"))
    sent: list[Any] = []

    async def send(items: Any) -> None:
        sent.extend(items)

    async def beat() -> None:
        raise AssertionError("there was an event to send")

    async with door.feed.listen(None) as cursor:
        platform.hsm.revoked = Revocations(1, {claims.token_id: claims.expires_unix_s})
        await platform.clock.advance(SETTLED_S)
        await platform.coordinator.publish()
        caller = Caller(HTTPConnection({"type": "http"}), door, claims)
        assert await pump(caller, cursor, send, beat) is REVOKED
    assert not sent


@pytest.mark.parametrize("what", [{}, {"token_id": "a", "subject": "b"}, {"subject": "bitcoin/main"}])
async def test_what_names_nothing_to_revoke_is_refused(doors: Doors, what: dict[str, str]) -> None:
    assert (await doors.revoke(**what)).status_code == 422


async def test_only_an_admin_revokes_by_the_api(doors: Doors) -> None:
    headers = {"Authorization": f"Bearer {await doors.token('security')}"}
    answer = await doors.clients[0].post(
        f"{SECURITY}/tokens/revoke", json={"subject": "bob"}, headers=headers
    )
    assert answer.json()["code"] == "missing-scope"


async def test_a_token_without_an_id_is_no_token_to_revoke(doors: Doors) -> None:
    with pytest.raises(InvalidInputError):
        await doors.service.revoke_token("", 0, "alice", "root", message_id="r")


class SlowSource:
    """A source whose answer takes its time, or none at all."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.takes_s = 0.0
        self.asked = 0
        self.down = False

    async def revocations(self, known: int) -> Revocations | None:
        self.asked += 1
        if self.down:
            raise CallTimeoutError("hsm/main", "revocations", LEASE_S)
        await self.clock.sleep(self.takes_s)
        return Revocations() if known < 0 else None


CLAIMS = Claims("alice", frozenset({"admin"}), 1, 2, "t", "alice")


async def test_the_lease_counts_from_the_question_not_from_the_answer() -> None:
    clock = ManualClock()
    source = SlowSource(clock)
    revoked = RevokedTokens(source, clock)
    source.takes_s = LEASE_S + 0.1
    with pytest.raises(UnavailableError):
        await clock.pass_until(revoked.check(CLAIMS))
    source.takes_s = LEASE_S / 2
    await clock.pass_until(revoked.check(CLAIMS), 0.1)


async def test_callers_share_one_question_and_do_not_wait_while_the_lease_lasts() -> None:
    clock = ManualClock()
    source = SlowSource(clock)
    revoked = RevokedTokens(source, clock)
    await asyncio.gather(*(revoked.check(CLAIMS) for _ in range(50)))
    assert source.asked == 1
    await clock.advance(LEASE_S * 0.6)
    source.down = True
    for _ in range(20):
        await revoked.check(CLAIMS)  # an HSM that is down holds nobody up yet
    await clock.advance(LEASE_S)
    asked = source.asked
    failed = await asyncio.gather(*(revoked.check(CLAIMS) for _ in range(50)), return_exceptions=True)
    assert all(isinstance(each, UnavailableError) for each in failed)
    assert source.asked - asked <= 3
    await revoked.close()

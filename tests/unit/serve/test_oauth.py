"""Clients get tokens by their secret, as RFC 6749 (4.4), RFC 7009 and RFC 7662 have it."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest

from anya_actors.serve.app import build_app
from anya_actors.serve.settings import DoorSettings
from anya_actors.serve.transit.app import build_transit
from anya_actors.services.hsm import HsmService, clients
from anya_actors.testing.clock import ManualClock
from anya_actors.testing.local_hsm import LocalHsm

SECURITY = "/api/v1/security"
GRANT = {"grant_type": "client_credentials"}


class Place:
    """An HSM behind a door, and a client `shop` with its secret."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.hsm = LocalHsm(clock=self.clock)
        self.service: HsmService
        names = self.hsm.settings
        settings = DoorSettings(audience=names.audience, issuer=names.issuer)
        self.app = build_app(self.hsm.actors, self.clock, settings)
        self.transport = httpx.ASGITransport(self.app)
        self.http = httpx.AsyncClient(transport=self.transport, base_url="http://anya.test")
        self.root: dict[str, str] = {}
        self.secret = ""

    async def open(self) -> None:
        self.service = await self.hsm.start()
        token = await self.service.issue_token("root", ("admin",), 3600, message_id="root")
        self.root = {"Authorization": f"Bearer {token}"}
        self.secret = (await self.register("shop", ["security:use", "system:read"])).json()["client_secret"]

    async def register(self, client_id: str, scopes: list[str], **facts: Any) -> httpx.Response:
        body = {"client_id": client_id, "scopes": scopes, **facts}
        return await self.http.post(f"{SECURITY}/clients", json=body, headers=self.root)

    async def admin(self, path: str, **body: Any) -> httpx.Response:
        call = self.http.post(f"{SECURITY}{path}", json=body, headers=self.root)
        return await self.clock.pass_until(call)

    async def token(self, secret: str | None = None, **fields: str) -> httpx.Response:
        credentials = ("shop", self.secret if secret is None else secret)
        return await self.http.post("/oauth/token", data={**GRANT, **fields}, auth=credentials)

    async def access(self, **fields: str) -> str:
        token: str = (await self.token(**fields)).json()["access_token"]
        return token

    async def get(self, path: str, token: str) -> int:
        answer = await self.http.get(f"{SECURITY}{path}", headers={"Authorization": f"Bearer {token}"})
        return answer.status_code

    async def audited(self, operation: str) -> list[tuple[str, str]]:
        entries = await self.service.audit(0, 1000)
        return [(each.owner, each.outcome) for each in entries if each.operation == operation]


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    place = Place()
    await place.open()
    yield place
    await place.http.aclose()
    await place.app.state.door.drain()
    await place.hsm.close()


async def test_a_token_holds_the_clients_scopes_or_those_that_it_asks_for(place: Place) -> None:
    answer = await place.token()
    assert answer.json()["scope"] == "security:use system:read"
    assert answer.json()["expires_in"] == 3600
    assert answer.headers["cache-control"] == "no-store"
    narrow = await place.access(scope="system:read")
    assert await place.get("/keys", narrow) == 403
    narrower = await place.token(scope="security:read")  # included in what the client has
    assert narrower.json()["scope"] == "security:read"
    for more in ("admin", "security", "flying"):
        assert (await place.token(scope=more)).json() == {"error": "invalid_scope"}


async def test_a_role_is_as_good_as_its_scopes(place: Place) -> None:
    secret = (await place.register("eye", [], roles=["auditor"])).json()["client_secret"]
    answer = await place.http.post("/oauth/token", data=GRANT, auth=("eye", secret))
    assert answer.json()["scope"] == "audit:read system:read"
    assert (await place.get("/audit", answer.json()["access_token"])) == 200
    assert (await place.get("/keys", answer.json()["access_token"])) == 403
    body = {"subject": "bob", "roles": ["signer"]}
    issued = await place.http.post(f"{SECURITY}/tokens", json=body, headers=place.root)
    assert issued.json()["scope"] == "security:use"


async def test_wrong_secret_unknown_client_and_disabled_client_get_the_same_answer(place: Place) -> None:
    wrong = await place.token("wrong")
    unknown = await place.http.post("/oauth/token", data=GRANT, auth=("nobody", place.secret))
    await place.admin("/clients/shop/disable")
    disabled = await place.token()
    for answer in (wrong, unknown, disabled):
        assert answer.status_code == 401
        assert answer.json() == {"error": "invalid_client"}
        assert answer.headers["www-authenticate"].startswith("Basic")
    assert await place.audited("client-token") == [
        ("shop", "refused: invalid-client"),
        ("nobody", "refused: invalid-client"),
        ("shop", "refused: invalid-client"),
    ]


async def test_wrong_secrets_are_throttled_alike_for_who_exists_and_who_does_not(place: Place) -> None:
    for name in ("shop", "nobody"):
        statuses = []
        for _ in range(clients.FAILURES_OF_ONE + 3):
            answer = await place.http.post("/oauth/token", data=GRANT, auth=(name, "wrong"))
            statuses.append(answer.status_code)
        assert statuses == [401] * clients.FAILURES_OF_ONE + [429] * 3
        assert int(answer.headers["retry-after"]) >= 1
        told = [outcome for owner, outcome in await place.audited("client-token") if owner == name]
        assert told == ["refused: invalid-client"] * clients.FAILURES_OF_ONE + ["refused: client-throttled"]
    assert (await place.token()).status_code == 200  # nobody locks a client out by guessing
    await place.clock.advance(clients.WINDOW_S)
    assert (await place.token("wrong")).status_code == 401


async def test_many_names_do_not_fill_the_audit_log(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "FAILURES_OF_ALL", 5)
    monkeypatch.setattr(clients, "CACHED_CLIENTS", 3)
    for number in range(20):
        await place.http.post("/oauth/token", data=GRANT, auth=(f"n{number}", "wrong"))
    assert len(await place.audited("client-token")) == 5


async def test_a_rotated_secret_overlaps_and_then_ends(place: Place) -> None:
    new = (await place.admin("/clients/shop/rotate", overlap_s=60)).json()["client_secret"]
    assert [(await place.token(each)).status_code for each in (place.secret, new)] == [200, 200]
    await place.clock.advance(60)
    assert [(await place.token(each)).status_code for each in (place.secret, new)] == [401, 200]
    last = (await place.admin("/clients/shop/rotate")).json()["client_secret"]
    assert [(await place.token(each)).status_code for each in (new, last)] == [401, 200]


@pytest.mark.parametrize("end", ["disable", "delete"])
async def test_a_client_that_is_ended_loses_its_tokens_at_once(place: Place, end: str) -> None:
    token = await place.access()
    assert await place.get("/keys", token) == 200
    if end == "disable":
        await place.admin("/clients/shop/disable")
    else:
        call = place.http.delete(f"{SECURITY}/clients/shop", headers=place.root)
        assert (await place.clock.pass_until(call)).status_code == 204
    assert await place.get("/keys", token) == 401
    await place.admin("/clients/shop/enable")
    assert (await place.token()).status_code == (200 if end == "disable" else 401)
    assert await place.get("/keys", token) == 401


async def test_clients_outlive_the_hsm_and_are_listed_without_secrets(place: Place) -> None:
    await place.clock.advance(5)
    await place.token()
    await place.hsm.start()
    assert (await place.token()).status_code == 200
    listed = (await place.http.get(f"{SECURITY}/clients", headers=place.root)).json()["items"]
    assert [(each["client_id"], each["enabled"]) for each in listed] == [("shop", True)]
    assert listed[0]["used_unix_ms"] == place.clock.now_unix_ms()
    assert set(listed[0]["secrets"][0]) == {"secret_id", "created_unix_ms", "expires_unix_ms"}


async def test_no_secret_reaches_the_store_the_log_or_another_actor(place: Place) -> None:
    sent: list[Any] = []
    call = place.hsm.actors.call

    async def watched(*arguments: Any, **options: Any) -> Any:
        sent.append(arguments)
        answer = await call(*arguments, **options)
        sent.append(answer)
        return answer

    place.hsm.actors.call = watched  # type: ignore[method-assign]
    secret = (await place.register("bank", ["system:read"])).json()["client_secret"]
    assert len(base64.urlsafe_b64decode(secret + "=")) == 32
    assert (await place.http.post("/oauth/token", data=GRANT, auth=("bank", secret))).status_code == 200
    assert secret not in repr(sent)
    assert secret not in repr(await place.service.audit(0, 1000))


async def test_a_registration_sent_again_is_refused_for_its_secret_is_gone(place: Place) -> None:
    headers = {**place.root, "Idempotency-Key": "once"}
    body = {"client_id": "bank", "scopes": ["system:read"]}
    first = await place.http.post(f"{SECURITY}/clients", json=body, headers=headers)
    again = await place.http.post(f"{SECURITY}/clients", json=body, headers=headers)
    assert (first.status_code, again.json()["code"]) == (201, "idempotency-conflict")


BASIC = base64.b64encode(b"shop:secret").decode()
SHOP = {"client_id": "shop", "client_secret": "wrong"}


@pytest.mark.parametrize(
    ("headers", "body", "error"),
    [
        ({}, "", "invalid_client"),
        ({}, "grant_type=client_credentials", "invalid_client"),
        ({"Authorization": "Basic !"}, "grant_type=client_credentials", "invalid_client"),
        ({"Authorization": "Basic " + base64.b64encode(b"shop").decode()}, "a=b", "invalid_client"),
        ({"Authorization": f"Basic {BASIC}"}, "client_secret=x&grant_type=y", "invalid_request"),
        ({"Authorization": f"Basic {BASIC}"}, "client_id=bank", "invalid_client"),
        ({"Authorization": f"Basic {BASIC}"}, "", "invalid_request"),
        ({"Authorization": f"Basic {BASIC}"}, "grant_type=password", "unsupported_grant_type"),
        ({"Authorization": f"Basic {BASIC}"}, "scope=a&scope=b", "invalid_request"),
        ({"Authorization": f"Basic {BASIC}"}, "&".join(f"f{n}=1" for n in range(99)), "invalid_request"),
        ({"Authorization": f"Basic {BASIC}"}, "a=%ff", "invalid_request"),
        ({"Content-Type": "application/json"}, "{}", "invalid_request"),
    ],
)
async def test_a_request_that_is_none_is_refused_in_oauths_words(
    place: Place, headers: Mapping[str, str], body: str, error: str
) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await place.http.post("/oauth/token", content=body, headers={**form, **headers})
    assert answer.json() == {"error": error}
    assert answer.status_code == (401 if error == "invalid_client" else 400)


async def test_credentials_are_decoded_as_a_form_before_they_are_compared(place: Place) -> None:
    secret = (await place.register("shop:two", ["system:read"])).json()["client_secret"]
    basic = base64.b64encode(f"shop%3Atwo:{secret}".encode()).decode()
    answer = await place.http.post("/oauth/token", data=GRANT, headers={"Authorization": f"Basic {basic}"})
    assert answer.status_code == 200


async def test_who_holds_a_token_may_end_it_and_an_admin_any(place: Place) -> None:
    for headers in (None, place.root):
        token = await place.access()
        bearer = headers or {"Authorization": f"Bearer {token}"}
        call = place.http.post("/oauth/revoke", data={"token": token}, headers=bearer)
        assert (await place.clock.pass_until(call)).status_code == 200
        assert await place.get("/keys", token) == 401


async def test_nobody_ends_the_token_of_another(place: Place) -> None:
    mine = await place.access()
    secret = (await place.register("bank", ["system:read"])).json()["client_secret"]
    other = (await place.http.post("/oauth/token", data=GRANT, auth=("bank", secret))).json()["access_token"]
    for how in ({"auth": ("bank", secret)}, {"headers": {"Authorization": f"Bearer {other}"}}):
        refused = await place.http.post("/oauth/revoke", data={"token": mine}, **how)
        assert refused.json() == {"error": "unauthorized_client"}
    assert await place.get("/keys", mine) == 200


async def test_a_dead_token_is_revoked_without_more_and_introspected_as_inactive(place: Place) -> None:
    shop = ("shop", place.secret)
    for path, told in (("revoke", b""), ("introspect", b'{"active":false}')):
        answer = await place.http.post(f"/oauth/{path}", data={"token": "a.b.c"}, auth=shop)
        assert (answer.status_code, answer.content) == (200, told)
        missing = await place.http.post(f"/oauth/{path}", data={"token": ""}, auth=shop)
        assert missing.json() == {"error": "invalid_request"}
        stranger = await place.http.post(f"/oauth/{path}", data={"token": "a.b.c"}, auth=("shop", "x"))
        assert stranger.status_code == 401
        dead = {"Authorization": "Bearer a.b.c"}
        refused = await place.http.post(f"/oauth/{path}", data={"token": "a.b.c"}, headers=dead)
        assert (refused.status_code, refused.json()) == (401, {"error": "invalid_token"})


async def test_only_an_admin_registers_clients(place: Place) -> None:
    headers = {"Authorization": f"Bearer {await place.access()}"}
    body = {"client_id": "bank", "scopes": ["admin"]}
    answer = await place.http.post(f"{SECURITY}/clients", json=body, headers=headers)
    assert answer.json()["code"] == "missing-scope"
    assert (await place.admin("/clients/nobody/enable")).json()["code"] == "unknown-client"


async def test_the_audit_log_shows_a_caller_its_own_entries_and_an_auditor_all(place: Place) -> None:
    await place.service.create_key("mine", "ed25519", "shop", message_id="m")
    await place.service.create_key("other", "ed25519", "bob", message_id="o")
    own = await place.access()
    eye = await place.service.issue_token("eye", ("audit:read",), 60, message_id="e")

    async def entries(token: str, **query: Any) -> Any:
        headers = {"Authorization": f"Bearer {token}"}
        return (await place.http.get(f"{SECURITY}/audit", params=query, headers=headers)).json()

    mine = (await entries(own))["items"]
    assert {each["owner"] for each in mine} == {"shop"}
    assert {"shop", "bob", "root", "eye"} <= {each["owner"] for each in (await entries(eye))["items"]}
    first = await entries(own, limit=1)
    second = await entries(own, limit=1, after=first["next_cursor"])
    assert [first["items"][0], second["items"][0]] == mine[:2]
    foreign = next(each["sequence"] for each in (await entries(eye))["items"] if each["owner"] == "bob")
    for sequence, token, status in (
        (foreign, own, 403),
        (mine[0]["sequence"], own, 200),
        (foreign, eye, 200),
    ):
        assert await place.get(f"/audit/{sequence}/proof", token) == status
    assert await place.get("/audit/verify", eye) == 200


async def test_who_may_only_use_keys_makes_none_also_through_transit(place: Place) -> None:
    token = await place.access()
    made = await place.http.post(
        f"{SECURITY}/keys",
        json={"name": "k", "key_type": "ed25519"},
        headers={"Authorization": f"Bearer {token}"},
    )
    assert made.json()["code"] == "missing-scope"
    transport = httpx.ASGITransport(build_transit(place.app.state.door))
    vault = {"X-Vault-Token": token}
    async with httpx.AsyncClient(transport=transport, base_url="http://anya.test", headers=vault) as client:
        text = {"plaintext": base64.b64encode(b"a text").decode()}
        assert (await client.post("/v1/transit/encrypt/k", json=text)).status_code == 403
        await place.service.create_key("k", "aes256-gcm", "shop", ("encrypt", "decrypt"), message_id="k")
        assert (await client.post("/v1/transit/encrypt/k", json=text)).status_code == 200
        assert (await client.post("/v1/transit/keys/k/rotate", json={})).status_code == 403

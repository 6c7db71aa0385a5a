"""Every bad input has its own clear answer: an RFC 9457 document that says what to do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anya_actors.domain.machine import AnyaError, OverloadedError, UnavailableError
from anya_actors.ports.actors import CallTimeoutError
from anya_actors.ports.state_store import StoreFullError

WALLETS = "/api/v1/bitcoin/wallets"
PAYMENTS = "/api/v1/bitcoin/wallets/spending/payments"
TIP = "/api/v1/bitcoin/tip"


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert (response.status_code, document["status"], document["code"]) == (status, status, code)
    assert document["type"] == f"urn:anya:problem:{code}"
    assert document["title"]
    assert document["detail"]
    assert document["remedy"].endswith(".")
    return document


async def test_malformed_json_is_400_and_says_where(platform: Any) -> None:
    client = platform.client("bitcoin:write")
    response = await client.post(WALLETS, content=b'{"name": ', headers={"Content-Type": "application/json"})
    assert "character 9" in problem(response, 400, "malformed-json")["detail"]


@pytest.mark.parametrize(
    "body", [b"\xff\xfe", b"[" * 100_000, b'{"name": ' + b"9" * 5000 + b"}"], ids=["utf8", "deep", "long"]
)
async def test_json_that_no_reader_takes_is_400(platform: Any, body: bytes) -> None:
    response = await platform.client("bitcoin:write").post(
        WALLETS, content=body, headers={"Content-Type": "application/json"}
    )
    problem(response, 400, "malformed-json")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"address": "a", "amount_sat": "1"}, "body.amount_sat"),
        ({"address": "a", "amount_sat": 1.0}, "body.amount_sat"),
        ({"address": "a", "amount_sat": True}, "body.amount_sat"),
        ({"address": 1, "amount_sat": 1}, "body.address"),
        ({"address": "a", "amount_sat": 0}, "body.amount_sat"),
        ({"address": "a", "amount_sat": 21_000_000 * 10**8 + 1}, "body.amount_sat"),
        ({"address": "a"}, "body.amount_sat"),
        ([], "body"),
    ],
)
async def test_wrong_types_are_422_and_name_the_field(platform: Any, body: Any, field: str) -> None:
    response = await platform.client("bitcoin:write").post(PAYMENTS, json=body)
    errors = problem(response, 422, "invalid-fields")["errors"]
    assert [error["field"] for error in errors] == [field]
    assert platform.bitcoin.sent == []


async def test_thousands_of_unknown_fields_are_one_error(platform: Any) -> None:
    body = {f"unknown{number}": 1 for number in range(5000)}
    response = await platform.client("security").post("/api/v1/security/keys", json=body)
    errors = problem(response, 422, "invalid-fields")["errors"]
    assert errors == [{"field": "body", "message": "an object has too many fields"}]


@pytest.mark.parametrize("cursor", ["9" * 19, "9" * 5000, "-1", "\u0661", "x"])
async def test_what_no_store_could_number_is_no_cursor(platform: Any, cursor: str) -> None:
    client = platform.client("events:read")
    headers = {"Last-Event-ID": cursor.encode()}
    for request in (
        client.get("/api/v1/events", headers=headers),
        client.get(f"/api/v1/events?after={cursor}"),
    ):
        assert (await request).status_code == 422


async def test_unknown_fields_are_422_and_named(platform: Any) -> None:
    body = {"address": "a", "amount_sat": 1, "fee": 5, "memo": "x"}
    response = await platform.client("bitcoin:write").post(PAYMENTS, json=body)
    errors = problem(response, 422, "invalid-fields")["errors"]
    assert [error["field"] for error in errors] == ["body.fee", "body.memo"]


async def test_what_was_sent_is_not_repeated_in_the_answer(platform: Any) -> None:
    body = {"address": "a", "amount_sat": "correct horse battery staple"}
    response = await platform.client("bitcoin:write").post(PAYMENTS, json=body)
    assert "horse" not in response.text


async def test_an_unknown_query_parameter_is_422(platform: Any) -> None:
    response = await platform.client("bitcoin:read").get(WALLETS, params={"limt": 3})
    problem(response, 422, "invalid-fields")


async def test_a_body_that_is_not_json_is_415(platform: Any) -> None:
    response = await platform.client("bitcoin:write").post(WALLETS, data={"name": "x"})
    problem(response, 415, "unsupported-media-type")


async def test_an_oversized_body_is_413_before_it_is_read(platform: Any) -> None:
    client = platform.client("bitcoin:write", max_body_bytes=100)
    response = await client.post(WALLETS, json={"name": "x" * 100})
    assert "100 bytes" in problem(response, 413, "body-too-large")["detail"]


async def test_an_oversized_body_without_a_length_is_413_where_it_passes_the_limit(platform: Any) -> None:
    given = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal given
        for _ in range(1000):
            given += 1
            yield b" " * 10

    client = platform.client("bitcoin:write", max_body_bytes=100)
    response = await client.post(WALLETS, content=chunks(), headers={"Content-Type": "application/json"})
    problem(response, 413, "body-too-large")
    assert given <= 12


async def test_half_a_body_is_not_acted_upon(platform: Any) -> None:
    app = platform.app()
    messages = [
        {"type": "http.request", "body": b'{"name": "half"}', "more_body": True},
        {"type": "http.disconnect"},
    ]
    headers = [
        (b"authorization", f"Bearer {platform.token('bitcoin:write')}".encode()),
        (b"content-type", b"application/json"),
    ]
    scope = {
        "type": "http",
        "method": "POST",
        "path": WALLETS,
        "headers": headers,
        "query_string": b"",
        "root_path": "",
    }
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    assert sent == []
    assert platform.bitcoin.wallet_names == []


async def test_an_unknown_route_is_404(platform: Any) -> None:
    problem(await platform.client("admin").get("/api/v1/nothing"), 404, "unknown-route")


async def test_a_wrong_method_is_405_and_names_the_right_ones(platform: Any) -> None:
    response = await platform.client("admin").delete(TIP)
    problem(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "GET"


async def test_an_unknown_actor_is_404(platform: Any) -> None:
    client = platform.client("admin")
    response = await client.get("/api/v1/system/actors/lightning/alice")
    assert "lightning/alice" in problem(response, 404, "unknown-actor")["detail"]
    body = {"key": "k", "algorithm": "ed25519", "message_hex": "00"}
    problem(await client.post("/api/v1/security/sessions/none/sign", json=body), 404, "unknown-actor")


async def test_a_missing_token_is_401(platform: Any) -> None:
    response = await platform.client().get(TIP)
    problem(response, 401, "missing-token")
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "Bearer ", "Token x", ""])
async def test_what_is_no_bearer_token_is_401(platform: Any, header: str) -> None:
    response = await platform.client().get(TIP, headers={"Authorization": header})
    problem(response, 401, "missing-token")


async def test_an_expired_token_is_401(platform: Any) -> None:
    client = platform.client("bitcoin:read")
    assert (await client.get(TIP)).status_code == 200
    await platform.clock.advance(3600)
    response = await client.get(TIP)
    problem(response, 401, "expired-token")
    assert response.headers["www-authenticate"].startswith('Bearer error="invalid_token"')


async def test_a_forged_token_is_401(platform: Any) -> None:
    token = platform.token("bitcoin:read")
    genuine = platform.client("bitcoin:read")
    assert (await genuine.get(TIP)).status_code == 200
    header, payload, signature = token.split(".")
    forged = f"{header}.{payload}.{'A' * len(signature)}"
    response = await genuine.get(TIP, headers={"Authorization": f"Bearer {forged}"})
    assert token not in response.text
    problem(response, 401, "invalid-token")


async def test_a_token_for_another_audience_is_401(platform: Any) -> None:
    token = platform.hsm.sign("alice", ("admin",), 60, audience="somebody else")
    response = await platform.client().get(TIP, headers={"Authorization": f"Bearer {token}"})
    problem(response, 401, "invalid-token")


async def test_a_missing_scope_is_403_and_named(platform: Any) -> None:
    response = await platform.client("system:read", "bitcoin:read").post(WALLETS, json={"name": "x"})
    assert "bitcoin:write" in problem(response, 403, "missing-scope")["detail"]
    assert response.headers["www-authenticate"] == (
        'Bearer error="insufficient_scope", scope="bitcoin:write"'
    )


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (OverloadedError("bitcoin/main", 1000, 3), 429, "overloaded"),
        (UnavailableError("the Bitcoin node", "connection refused"), 503, "unavailable"),
        (CallTimeoutError("bitcoin/main", "tip", 30.0), 504, "call-timeout"),
        (StoreFullError("bitcoin/main", "no space left on device"), 507, "store-full"),
    ],
)
async def test_what_may_be_tried_again_says_when(
    platform: Any, error: AnyaError, status: int, code: str
) -> None:
    class Failing:
        async def create_wallet(self, name: str, *, message_id: str) -> None:
            raise error

    platform.actors.place("bitcoin/main", Failing())
    response = await platform.client("bitcoin:write").post(WALLETS, json={"name": "x"})
    problem(response, status, code)
    assert int(response.headers["retry-after"]) >= 1
    assert response.headers["idempotency-key"], "the key to try again with"


async def test_too_many_requests_at_once_are_429_and_health_still_answers(platform: Any) -> None:
    release, entered = asyncio.Event(), asyncio.Semaphore(0)

    class Slow:
        async def tip(self) -> dict[str, int]:
            entered.release()
            await release.wait()
            return {"height": 1}

    platform.actors.place("bitcoin/main", Slow())
    client = platform.client("bitcoin:read", max_in_flight=2)
    first = [asyncio.ensure_future(client.get(TIP)) for _ in range(2)]
    for _ in first:
        await entered.acquire()
    response = await client.get(TIP)
    problem(response, 429, "too-many-requests")
    assert response.headers["retry-after"] == "1"
    assert (await client.get("/healthz")).status_code == 200
    release.set()
    assert [answer.status_code for answer in await asyncio.gather(*first)] == [200, 200]
    assert (await client.get(TIP)).status_code == 200


async def test_one_subject_cannot_take_the_share_of_another(platform: Any) -> None:
    app = platform.app(requests_per_s=1.0, request_burst=2)
    alice = platform.client("bitcoin:read", app=app)
    bob = platform.client("bitcoin:read", subject="bob", app=app)
    assert [(await alice.get(TIP)).status_code for _ in range(2)] == [200, 200]
    response = await alice.get(TIP)
    problem(response, 429, "rate-limited")
    assert response.headers["retry-after"] == "1"
    assert (await bob.get(TIP)).status_code == 200
    await platform.clock.advance(1.0)
    assert (await alice.get(TIP)).status_code == 200


async def test_a_fault_of_ours_is_500_with_an_id_and_nothing_of_its_inside(platform: Any) -> None:
    class Broken:
        async def tip(self) -> None:
            raise RuntimeError("password is hunter2")

    platform.actors.place("bitcoin/main", Broken())
    response = await platform.client("bitcoin:read").get(TIP)
    document = problem(response, 500, "internal-error")
    assert "hunter2" not in response.text
    assert "Traceback" not in response.text
    assert "error " in document["detail"]


async def test_an_error_of_ours_that_no_table_knows_stays_inside(platform: Any) -> None:
    class Broken:
        async def tip(self) -> None:
            raise UnregisteredError("hunter2")

    platform.actors.place("bitcoin/main", Broken())
    response = await platform.client("bitcoin:read").get(TIP)
    problem(response, 500, "internal-error")
    assert "hunter2" not in response.text


class UnregisteredError(AnyaError):
    """An error whose code has no status."""

    code = "unregistered"
    message = "the secret is {}"

    def __init__(self, secret: str) -> None:
        super().__init__(secret)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.one_of(st.binary(max_size=200), JSON.map(lambda value: json.dumps(value).encode())))
async def test_no_body_whatever_makes_the_door_fail(platform: Any, body: bytes) -> None:
    client = platform.client("admin")
    for path in (WALLETS, PAYMENTS, "/api/v1/security/keys", "/api/v1/security/tokens"):
        response = await client.post(path, content=body, headers={"Content-Type": "application/json"})
        assert response.status_code in (400, 422)
        problem(response, response.status_code, response.json()["code"])

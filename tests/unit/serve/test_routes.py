"""What each route asks of its actor, and what it makes of the answer."""

from __future__ import annotations

from typing import Any

import pytest

WALLETS = "/api/v1/bitcoin/wallets"
PAYMENTS = "/api/v1/bitcoin/wallets/spending/payments"
PAYMENT = {"address": "bcrt1qexample", "amount_sat": 1000}
SESSIONS = "/api/v1/security/sessions"
KEYS = "/api/v1/security/keys"


# -- health ------------------------------------------------------------------------------------


async def test_health_needs_no_token_and_no_actor(platform: Any) -> None:
    platform.actors.remove("coordinator")
    assert (await platform.client().get("/healthz")).json() == {"status": "ok"}


async def test_readiness_follows_the_coordinator(platform: Any) -> None:
    client = platform.client()
    assert (await client.get("/readyz")).json() == {"status": "ready"}
    platform.actors.remove("coordinator")
    assert (await platform.client().get("/readyz")).status_code == 503


async def test_a_draining_replica_is_not_ready_and_still_serves(platform: Any) -> None:
    client = platform.client("bitcoin:read")
    await client._transport.app.state.door.drain()
    response = await client.get("/readyz")
    assert response.status_code == 503
    assert response.headers["retry-after"]
    assert (await client.get("/api/v1/bitcoin/tip")).status_code == 200


async def test_the_public_keys_of_tokens_are_public(platform: Any) -> None:
    response = await platform.client().get("/.well-known/jwks.json")
    assert response.headers["content-type"] == "application/jwk-set+json"
    (key,) = response.json()["keys"]
    assert key["crv"] == "Ed25519"
    assert "d" not in key


async def test_metrics_count_by_route_and_never_by_what_users_send(platform: Any) -> None:
    client = platform.client("bitcoin:read")
    await client.get(f"/api/v1/bitcoin/transactions/{'ab' * 32}")
    await client.get("/api/v1/no/such/thing")
    text = (await client.get("/metrics")).text
    assert 'route="/api/v1/bitcoin/transactions/{txid}"' in text
    assert 'route="unmatched",status="404"' in text
    assert "abab" not in text


# -- system ------------------------------------------------------------------------------------


async def test_the_system_is_shown_whole(platform: Any) -> None:
    shown = (await platform.client("system:read").get("/api/v1/system")).json()
    assert shown["tree"]["children"] == ["hsm/main", "bitcoin/main"]
    assert shown["settings"] == {"network": "regtest"}
    assert [actor["name"] for actor in shown["actors"]] == ["hsm/main", "bitcoin/main"]


async def test_actors_are_listed_by_name_page_by_page(platform: Any) -> None:
    client = platform.client("system:read")
    first = (await client.get("/api/v1/system/actors", params={"limit": 1})).json()
    assert [actor["name"] for actor in first["items"]] == ["bitcoin/main"]
    after = {"limit": 1, "after": first["next_cursor"]}
    second = (await client.get("/api/v1/system/actors", params=after)).json()
    assert [actor["name"] for actor in second["items"]] == ["hsm/main"]
    assert second["next_cursor"] is None


async def test_one_actor_is_found_by_its_name(platform: Any) -> None:
    response = await platform.client("system:read").get("/api/v1/system/actors/hsm/main")
    assert response.json()["pid"] == 7


async def test_a_thousand_requests_ask_the_coordinator_once(platform: Any) -> None:
    client = platform.client("system:read")
    for _ in range(20):
        assert (await client.get("/api/v1/system")).status_code == 200
    assert platform.coordinator.asked <= 2, "the first question, and the one that waits for a change"


async def test_a_picture_that_nobody_confirms_is_not_shown(platform: Any) -> None:
    client = platform.client("system:read")
    assert (await client.get("/api/v1/system")).status_code == 200
    platform.actors.remove("coordinator")
    await platform.coordinator.publish()  # lets the question under way end
    await platform.clock.advance(11.0)
    response = await client.get("/api/v1/system")
    assert response.status_code == 503


# -- bitcoin -----------------------------------------------------------------------------------


async def test_the_tip_is_the_actors_answer(platform: Any) -> None:
    tip = (await platform.client("bitcoin:read").get("/api/v1/bitcoin/tip")).json()
    assert (tip["chain"], tip["height"]) == ("regtest", 101)


@pytest.mark.parametrize(("name", "asked"), [("0", 0), ("840000", 840_000), ("0" * 64, "0" * 64)])
async def test_a_block_is_named_by_height_or_hash(platform: Any, name: str, asked: int | str) -> None:
    response = await platform.client("bitcoin:read").get(f"/api/v1/bitcoin/blocks/{name}")
    assert response.json() == {"asked": asked}


@pytest.mark.parametrize("name", ["-1", "01", "AB" * 32, "0" * 63, "x", "9" * 20])
async def test_what_names_no_block_is_refused(platform: Any, name: str) -> None:
    assert (await platform.client("bitcoin:read").get(f"/api/v1/bitcoin/blocks/{name}")).status_code == 422


async def test_a_wallet_is_made_and_listed_without_the_stores_tag(platform: Any) -> None:
    client = platform.client("bitcoin:write")
    made = await client.post(WALLETS, json={"name": "spending"})
    assert made.status_code == 201
    assert "type" not in made.json()
    listed = (await client.get(WALLETS)).json()
    assert listed == {"items": [made.json()], "next_cursor": None}


async def test_addresses_and_balances_are_of_the_wallet_in_the_path(platform: Any) -> None:
    client = platform.client("bitcoin:write")
    address = await client.post(f"{WALLETS}/spending/addresses")
    assert address.json()["wallet"] == "spending"
    assert (await client.get(f"{WALLETS}/spending/balance")).json()["confirmed_sat"] == 5


async def test_a_payment_answers_where_it_is_found(platform: Any) -> None:
    client = platform.client("bitcoin:write")
    sent = await client.post(PAYMENTS, json={**PAYMENT, "feerate_sat_per_vb": 7})
    assert sent.status_code == 201
    assert sent.json()["feerate_sat_per_vb"] == 7
    assert (await client.get(sent.headers["location"])).json() == sent.json()
    assert (await client.get(PAYMENTS)).json()["items"] == [sent.json()]


async def test_blocks_are_made_on_regtest_alone(platform: Any) -> None:
    body = {"address": "bcrt1qexample", "blocks": 2}
    refused = await platform.client("bitcoin:write").post("/api/v1/bitcoin/blocks", json=body)
    assert refused.status_code == 501
    regtest = platform.client("bitcoin:write", allow_generate=True)
    made = await regtest.post("/api/v1/bitcoin/blocks", json=body)
    assert len(made.json()["block_hashes"]) == 2


# -- idempotency -------------------------------------------------------------------------------


async def test_the_same_key_pays_once(platform: Any) -> None:
    client = platform.client("bitcoin:write")
    answers = [await client.post(PAYMENTS, json=PAYMENT, headers={"Idempotency-Key": "k1"}) for _ in range(3)]
    assert len(platform.bitcoin.sent) == 1
    assert len({answer.text for answer in answers}) == 1
    assert {answer.headers["idempotency-key"] for answer in answers} == {"k1"}


async def test_the_quoted_and_the_bare_form_are_one_key(platform: Any) -> None:
    client = platform.client("bitcoin:write")
    for form in ("k1", '"k1"'):
        await client.post(PAYMENTS, json=PAYMENT, headers={"Idempotency-Key": form})
    assert len(platform.bitcoin.sent) == 1


async def test_the_same_key_with_another_body_is_422(platform: Any) -> None:
    client = platform.client("bitcoin:write")
    headers = {"Idempotency-Key": "k1"}
    await client.post(PAYMENTS, json=PAYMENT, headers=headers)
    response = await client.post(PAYMENTS, json={**PAYMENT, "amount_sat": 2000}, headers=headers)
    assert (response.status_code, response.json()["code"]) == (422, "idempotency-conflict")
    assert len(platform.bitcoin.sent) == 1


async def test_two_subjects_may_use_the_same_key(platform: Any) -> None:
    for subject in ("alice", "bob"):
        client = platform.client("bitcoin:write", subject=subject)
        await client.post(PAYMENTS, json=PAYMENT, headers={"Idempotency-Key": "k1"})
    assert len(platform.bitcoin.sent) == 2
    assert len(set(platform.bitcoin.once.message_ids)) == 2


async def test_without_a_key_one_is_made_and_told(platform: Any) -> None:
    client = platform.client("bitcoin:write")
    first = await client.post(PAYMENTS, json=PAYMENT)
    key = first.headers["idempotency-key"]
    again = await client.post(PAYMENTS, json=PAYMENT, headers={"Idempotency-Key": key})
    assert again.json() == first.json()
    assert len(platform.bitcoin.sent) == 1


@pytest.mark.parametrize("key", ["", " ", "a b", '"', "a" * 129, 'a"b', "\\"])
async def test_a_key_that_is_none_is_refused(platform: Any, key: str) -> None:
    client = platform.client("bitcoin:write")
    response = await client.post(PAYMENTS, json=PAYMENT, headers={"Idempotency-Key": key})
    assert response.status_code == 422
    assert platform.bitcoin.sent == []


# -- security ----------------------------------------------------------------------------------


async def test_a_key_is_the_callers_own(platform: Any) -> None:
    client = platform.client("security")
    made = await client.post(KEYS, json={"name": "k", "key_type": "ed25519"})
    assert (made.status_code, made.json()["owner"]) == (201, "alice")
    bob = platform.client("security", subject="bob")
    assert (await bob.get(KEYS)).json()["items"] == []
    assert (await bob.get(f"{KEYS}/k")).json()["code"] == "unknown-key"
    theirs = {"name": "k2", "key_type": "ed25519", "owner": "alice"}
    assert (await bob.post(KEYS, json=theirs)).status_code == 403
    admin = platform.client("admin", subject="root")
    assert [key["name"] for key in (await admin.get(KEYS)).json()["items"]] == ["k"]


async def test_a_session_signs_and_verifies(platform: Any) -> None:
    client = platform.client("security")
    opened = await client.post(SESSIONS, json={"keys": ["k"]})
    session = opened.headers["location"]
    body = {"key": "k", "algorithm": "ed25519", "message_hex": "c0ffee"}
    signature = (await client.post(f"{session}/sign", json=body)).json()["signature_hex"]
    verified = await client.post(f"{session}/verify", json={**body, "signature_hex": signature})
    assert (verified.status_code, verified.json()) == (200, {"valid": True})
    other = await client.post(
        f"{session}/verify", json={**body, "message_hex": "c0ffef", "signature_hex": signature}
    )
    assert (other.status_code, other.json()["code"]) == (422, "invalid-signature")


async def test_nobody_uses_the_session_of_another(platform: Any) -> None:
    opened = await platform.client("security").post(SESSIONS, json={"keys": ["k"]})
    body = {"key": "k", "algorithm": "ed25519", "message_hex": "00"}
    bob = platform.client("security", subject="bob")
    response = await bob.post(f"{opened.headers['location']}/sign", json=body)
    assert (response.status_code, response.json()["code"]) == (403, "not-yours")
    assert (await bob.delete(opened.headers["location"])).status_code == 403
    assert (await bob.get(SESSIONS)).json()["items"] == []
    assert platform.hsm.open


async def test_a_closed_session_signs_no_more(platform: Any) -> None:
    client = platform.client("security")
    session = (await client.post(SESSIONS, json={"keys": ["k"]})).headers["location"]
    assert len((await client.get(SESSIONS)).json()["items"]) == 1
    closed = await client.delete(session)
    assert (closed.status_code, closed.content) == (204, b"")
    body = {"key": "k", "algorithm": "ed25519", "message_hex": "00"}
    response = await client.post(f"{session}/sign", json=body)
    assert (response.status_code, response.json()["code"]) == (409, "session-closed")


@pytest.mark.parametrize("message", ["0", "zz", "0x00", "00 "])
async def test_what_is_not_hex_is_refused(platform: Any, message: str) -> None:
    body = {"key": "k", "algorithm": "ed25519", "message_hex": message}
    response = await platform.client("security").post(f"{SESSIONS}/s0/sign", json=body)
    assert response.json()["errors"][0]["field"] == "body.message_hex"


async def test_the_audit_log_is_read_page_by_page(platform: Any) -> None:
    client = platform.client("audit:read")
    seen, cursor = [], None
    while True:
        params = {"limit": 3} | ({"after": cursor} if cursor else {})
        page = (await client.get("/api/v1/security/audit", params=params)).json()
        seen += [entry["sequence"] for entry in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [1, 2, 3, 4, 5, 6, 7]
    assert (await client.get("/api/v1/security/audit/verify")).json()["entries"] == 7


async def test_an_admin_makes_tokens_that_work(platform: Any) -> None:
    admin = platform.client("admin")
    body = {"subject": "carol", "scopes": ["bitcoin:read"], "ttl_s": 60}
    made = await admin.post("/api/v1/security/tokens", json=body)
    assert made.headers["cache-control"] == "no-store"
    bearer = {"Authorization": f"Bearer {made.json()['access_token']}"}
    assert (await platform.client().get("/api/v1/bitcoin/tip", headers=bearer)).status_code == 200
    assert (await platform.client("security").post("/api/v1/security/tokens", json=body)).status_code == 403
    unknown = {**body, "scopes": ["everything"]}
    assert (await admin.post("/api/v1/security/tokens", json=unknown)).status_code == 422


@pytest.mark.parametrize("cursor", ["!", "====", "é", "_w"])
async def test_a_foreign_cursor_is_refused(platform: Any, cursor: str) -> None:
    client = platform.client("admin")
    for path in (WALLETS, "/api/v1/security/audit"):
        response = await client.get(path, params={"after": cursor})
        assert (response.status_code, response.json()["code"]) == (422, "invalid-input")

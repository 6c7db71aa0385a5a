"""The seal over HTTP: sealed and unsealed by an admin, whose token outlives the seal."""

from __future__ import annotations

import pytest

from tests.unit.serve.test_security_on_the_hsm import KEYS, SESSIONS, Door, door

BASE = "/api/v1/security"
__all__ = ["door"]  # the fixture


async def test_an_admin_seals_and_unseals_and_meanwhile_callers_are_told_what_to_do(door: Door) -> None:
    async with await door.client("admin") as admin, await door.client("security") as alice:
        await alice.post(KEYS, json={"name": "k", "key_type": "ed25519"})
        session = (await alice.post(SESSIONS, json={"keys": ["k"]})).headers["location"]
        sealed = (await admin.post(f"{BASE}/seal")).json()
        assert (sealed["sealed"], sealed["reason"]) == (True, "by alice")
        body = {"key": "k", "algorithm": "ed25519", "message_hex": "00"}
        for refused in (
            await alice.get(KEYS),
            await alice.post(SESSIONS, json={"keys": ["k"]}),
            await alice.post(f"{session}/sign", json=body),
            await admin.post(f"{BASE}/tokens", json={"subject": "bob", "scopes": ["admin"], "ttl_s": 60}),
        ):
            assert refused.status_code in (409, 503)
            assert refused.json()["code"] in ("sealed", "session-closed")
        problem = (await alice.get(KEYS)).json()
        assert "anya hsm unseal" in problem["remedy"]
        assert (await alice.get(f"{BASE}/seal-status")).json() == sealed
        assert (await alice.get(f"{BASE}/audit/verify")).status_code == 200
        assert (await alice.get("/.well-known/jwks.json")).status_code == 200
        assert (await admin.post(f"{BASE}/unseal")).json()["sealed"] is False
        assert [key["name"] for key in (await alice.get(KEYS)).json()["items"]] == ["k"]
        assert (await alice.post(f"{session}/sign", json=body)).json()["code"] == "session-closed"


async def test_a_door_that_starts_while_the_hsm_is_sealed_knows_its_tokens(door: Door) -> None:
    # Doors restart; the public keys of tokens must be had from a sealed HSM, or nobody could unseal it.
    async with await door.client("admin") as admin:
        await door.service.seal("root", message_id="s")
        assert (await admin.post(f"{BASE}/unseal")).status_code == 200


async def test_a_reader_is_told_that_memory_could_not_be_locked(door: Door) -> None:
    async with await door.client("security:read") as alice:
        assert (await alice.get(f"{BASE}/seal-status")).json()["hardening_refused"] == []
        door.hsm.guard.refuses = True
        await door.service.rekey("root", message_id="r")
        assert "swapped" in (await alice.get(f"{BASE}/seal-status")).json()["hardening_refused"][0]


@pytest.mark.parametrize("call", ["seal", "unseal", "rekey", "change-passphrase"])
async def test_only_an_admin_touches_the_seal(door: Door, call: str) -> None:
    async with await door.client("security") as alice:
        refused = await alice.post(f"{BASE}/{call}", json={})
        assert (refused.status_code, refused.json()["code"]) == (403, "missing-scope")
    assert not (await door.service.seal_status()).sealed


async def test_the_hsm_is_rekeyed_and_given_another_passphrase_over_http(door: Door) -> None:
    async with await door.client("admin") as admin:
        rekeyed = await admin.post(f"{BASE}/rekey", json={"new_master_key": True})
        assert (rekeyed.status_code, rekeyed.json()["kek_version"]) == (200, 2)
        missing = await admin.post(f"{BASE}/change-passphrase")
        assert (missing.status_code, missing.json()["code"]) == (409, "passphrase-source")
        door.hsm.source.next_passphrase = b"another"
        assert (await admin.post(f"{BASE}/change-passphrase")).status_code == 200
        assert door.hsm.source.passphrase == b"another"

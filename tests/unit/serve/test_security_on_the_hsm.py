"""`/api/v1/security` over the HSM itself: real keys, sessions, audit log and tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import coincurve
import httpx
import pytest

from anya_actors.serve.app import build_app
from anya_actors.serve.settings import DoorSettings
from anya_actors.services.hsm import HsmService
from anya_actors.testing.local_hsm import LocalHsm

KEYS = "/api/v1/security/keys"
SESSIONS = "/api/v1/security/sessions"
DIGEST = "5a" * 32


@dataclass
class Door:
    """The application over a whole HSM."""

    hsm: LocalHsm
    service: HsmService
    app: Any

    async def client(self, *scopes: str, subject: str = "alice") -> httpx.AsyncClient:
        token = await self.service.issue_token(subject, scopes, 600, message_id=f"t-{subject}-{scopes}")
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app),
            base_url="http://anya.test",
            headers={"Authorization": f"Bearer {token}"},
        )


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    hsm = LocalHsm()
    service = await hsm.start()
    names = hsm.settings
    app = build_app(hsm.actors, hsm.clock, DoorSettings(audience=names.audience, issuer=names.issuer))
    yield Door(hsm, service, app)
    await app.state.door.drain()
    await hsm.close()


async def test_a_key_made_over_http_signs_in_its_session_and_the_audit_log_tells(door: Door) -> None:
    async with await door.client("security") as client:
        key = (await client.post(KEYS, json={"name": "k", "key_type": "secp256k1"})).json()
        session = (await client.post(SESSIONS, json={"keys": ["k"]})).headers["location"]
        body = {"key": "k", "algorithm": "ecdsa-secp256k1", "message_hex": DIGEST}
        signed = await client.post(f"{session}/sign", json=body)
        assert signed.status_code == 200
        signature = bytes.fromhex(signed.json()["signature_hex"])
        public = coincurve.PublicKey(bytes.fromhex(key["public_key"]))
        assert public.verify(signature, bytes.fromhex(DIGEST), hasher=None)

        verified = await client.post(f"{session}/verify", json={**body, "signature_hex": signature.hex()})
        assert verified.json() == {"valid": True}
        other = {**body, "message_hex": "5b" * 32, "signature_hex": signature.hex()}
        assert (await client.post(f"{session}/verify", json=other)).json()["code"] == "invalid-signature"

        entries = (await client.get("/api/v1/security/audit")).json()["items"]
        assert {"sign", "verify"} <= {entry["operation"] for entry in entries}
        report = (await client.get("/api/v1/security/audit/verify")).json()
        assert report["entries"] == len(entries)


async def test_a_key_is_made_once_however_often_it_is_asked_for(door: Door) -> None:
    async with await door.client("security") as client:
        headers, body = {"Idempotency-Key": "one"}, {"name": "k", "key_type": "ed25519"}
        first, second = [await client.post(KEYS, json=body, headers=headers) for _ in range(2)]
        assert first.json() == second.json()
        other = await client.post(KEYS, json={**body, "name": "k2"}, headers=headers)
        assert (other.status_code, other.json()["code"]) == (422, "idempotency-conflict")
        taken = await client.post(KEYS, json=body)
        assert (taken.status_code, taken.json()["code"]) == (409, "key-exists")


async def test_a_digest_of_the_wrong_length_is_refused(door: Door) -> None:
    async with await door.client("security") as client:
        await client.post(KEYS, json={"name": "k", "key_type": "secp256k1"})
        session = (await client.post(SESSIONS, json={"keys": ["k"]})).headers["location"]
        body = {"key": "k", "algorithm": "ecdsa-secp256k1", "message_hex": "00"}
        refused = await client.post(f"{session}/sign", json=body)
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid-input")


async def test_nobody_opens_a_session_on_the_key_of_another(door: Door) -> None:
    async with await door.client("security") as alice:
        await alice.post(KEYS, json={"name": "k", "key_type": "ed25519"})
    async with await door.client("security", subject="bob") as bob:
        refused = await bob.post(SESSIONS, json={"keys": ["k"]})
        assert refused.status_code in (403, 404)


async def test_a_closed_session_is_over(door: Door) -> None:
    async with await door.client("security") as client:
        await client.post(KEYS, json={"name": "k", "key_type": "ed25519"})
        session = (await client.post(SESSIONS, json={"keys": ["k"]})).headers["location"]
        assert (await client.delete(session)).status_code == 204
        body = {"key": "k", "algorithm": "ed25519", "message_hex": "00"}
        over = await client.post(f"{session}/sign", json=body)
        assert over.json()["code"] in ("session-closed", "unknown-actor")


async def test_a_token_made_over_http_opens_what_its_scopes_say(door: Door) -> None:
    async with await door.client("admin") as admin:
        body = {"subject": "carol", "scopes": ["security:read"], "ttl_s": 60}
        made = (await admin.post("/api/v1/security/tokens", json=body)).json()["access_token"]
        bearer = {"Authorization": f"Bearer {made}"}
        assert (await admin.get(KEYS, headers=bearer)).status_code == 200
        assert (await admin.post(SESSIONS, json={"keys": ["k"]}, headers=bearer)).status_code == 403

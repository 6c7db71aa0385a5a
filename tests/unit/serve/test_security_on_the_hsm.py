"""`/api/v1/security` over the HSM itself: real keys, sessions, audit log and tokens."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import coincurve
import httpx
import pytest

from anya_actors.adapters.sealing.sealed_box import NaclSealedBoxes
from anya_actors.domain.hsm.material import KeyMaterial, pack_material
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
        assert report["entries"] == entries[-1]["sequence"]
        assert {entry["owner"] for entry in entries} == {"alice"}


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


# -- a key's life, and operations of every kind ---------------------------------------------------


async def opened(client: httpx.AsyncClient, key_type: str, *operations: str, **policy: Any) -> str:
    body = {"name": "k", "key_type": key_type, "operations": list(operations), "policy": policy}
    assert (await client.post(KEYS, json=body)).status_code == 201
    return str((await client.post(SESSIONS, json={"keys": ["k"]})).headers["location"])


async def test_operations_of_every_kind_are_done_in_one_request(door: Door) -> None:
    async with await door.client("security") as client:
        session = await opened(client, "aes256-gcm", "encrypt", "decrypt")
        ed = {"name": "e", "key_type": "ed25519"}
        await client.post(KEYS, json=ed)
        assert (await client.post(f"{session}/keys", json={"keys": ["e"]})).json()["keys"] == ["k", "e"]
        asked = [
            {"operation": "encrypt", "key": "k", "algorithm": "aes256-gcm", "data_hex": "00ff"},
            {"operation": "sign", "key": "e", "algorithm": "ed25519", "data_hex": "00"},
            {"operation": "random", "length": 16},
        ]
        sealed, signed, drawn = (
            await client.post(f"{session}/operations", json={"operations": asked})
        ).json()["results"]
        assert len(drawn["data_hex"]) == 32
        asked = [
            {"operation": "decrypt", "key": "k", "algorithm": "aes256-gcm", "data_hex": sealed["data_hex"]},
            {
                "operation": "verify",
                "key": "e",
                "algorithm": "ed25519",
                "data_hex": "00",
                "signature_hex": signed["data_hex"],
            },
            {"operation": "sign", "key": "k", "algorithm": "ed25519"},
        ]
        body = {"operations": asked, "each": True}
        text, valid, refused = (await client.post(f"{session}/operations", json=body)).json()["results"]
        assert (text["data_hex"], valid["data_hex"]) == ("00ff", "")
        assert refused["code"] == "operation-refused"
        whole = await client.post(f"{session}/operations", json={"operations": asked})
        assert (whole.status_code, whole.json()["code"]) == (403, "operation-refused")


async def test_a_key_is_rotated_configured_trimmed_deleted_and_restored_over_http(door: Door) -> None:
    async with await door.client("security") as client, await door.client("security", subject="bob") as bob:
        await opened(client, "aes256-gcm", "encrypt", "decrypt")
        assert (await client.post(f"{KEYS}/k/rotate")).json()["version"] == 2
        assert (await bob.post(f"{KEYS}/k/rotate")).status_code == 404
        configured = await client.post(f"{KEYS}/k/configure", json={"minimum_version": 2})
        assert configured.json()["minimum_version"] == 2
        assert len((await client.post(f"{KEYS}/k/trim", json={"first": 2})).json()["versions"]) == 1
        assert (await client.post(f"{KEYS}/k/delete")).json()["state"] == "deleted"
        assert (await client.post(f"{KEYS}/k/destroy")).json()["code"] == "waiting-period"
        assert (await client.post(f"{KEYS}/k/restore")).json()["state"] == "disabled"
        assert (await client.post(f"{KEYS}/k/enable")).json()["state"] == "enabled"
        assert (await client.post(f"{KEYS}/k/nonsense")).status_code == 422


async def test_wallet_keys_show_their_extended_public_key_below_their_path_alone(door: Door) -> None:
    async with await door.client("security") as client:
        session = await opened(client, "bip32", "sign", "verify", paths=["m/84h/0h/0h"])
        route = f"{session}/keys/k/extended-public-key"
        shown = await client.get(route, params={"path": "m/84h/0h/0h"})
        assert shown.json()["extended_public_key"].startswith("xpub")
        assert (await client.get(route, params={"path": "m/86h"})).status_code == 403
        signing = {"operation": "sign", "key": "k", "algorithm": "schnorr-bip340", "data_hex": DIGEST}
        signing |= {"path": "m/84h/0h/0h/0/1", "taproot_merkle_root_hex": ""}
        answer = await client.post(f"{session}/operations", json={"operations": [signing]})
        assert len(answer.json()["results"][0]["data_hex"]) == 128


async def test_keys_travel_wrapped_and_sealed_over_http(door: Door) -> None:
    async with await door.client("security") as client:
        await opened(client, "ed25519", "sign", "verify", exportable=True)
        pem = (await client.get("/api/v1/security/wrapping-key")).json()["public_key_pem"]
        left = await client.post(f"{KEYS}/k/export/wrapped", json={"recipient_pem": pem})
        body = {"name": "back", "key_type": "ed25519", "form": "pkcs8"}
        body |= {"wrapped_hex": left.json()["wrapped_hex"]}
        assert (await client.post(f"{KEYS}/import", json=body)).status_code == 201
        shown = [
            (await client.get(f"{KEYS}/{name}/public", params={"form": "jwk"})).json()["public_key"]
            for name in ("k", "back")
        ]
        assert shown[0] == shown[1]
        transport = bytes.fromhex(
            (await client.get("/api/v1/security/transport-key")).json()["public_key_hex"]
        )
        with pack_material(KeyMaterial("mnemonic", b"abandon " * 11 + b"about")) as packed:
            box = NaclSealedBoxes().seal(packed, transport)
        body = {"name": "w", "key_type": "bip32", "box_hex": box.hex()}
        assert (await client.post(f"{KEYS}/import", json=body)).status_code == 201
        assert (await client.post(f"{KEYS}/import", json={**body, "wrapped_hex": ""})).status_code == 422


async def test_a_version_of_a_key_travels_wrapped_and_sealed_over_http(door: Door) -> None:
    async with await door.client("security") as client, await door.client("security", subject="bob") as bob:
        await opened(client, "ed25519", "sign", "verify", exportable=True)
        pem = (await client.get("/api/v1/security/wrapping-key")).json()["public_key_pem"]
        left = await client.post(f"{KEYS}/k/export/wrapped", json={"recipient_pem": pem})
        body = {"form": "pkcs8", "wrapped_hex": left.json()["wrapped_hex"]}
        place = f"{KEYS}/k/versions/import"
        view = (await client.post(place, json=body)).json()
        assert [each["version"] for each in view["versions"]] == [1, 2]
        assert len({each["public_key"] for each in view["versions"]}) == 1
        transport = (await client.get("/api/v1/security/transport-key")).json()["public_key_hex"]
        with pack_material(KeyMaterial("raw", b"\x07" * 32)) as packed:
            box = {"box_hex": NaclSealedBoxes().seal(packed, bytes.fromhex(transport)).hex()}
        assert (await client.post(place, json=box)).json()["version"] == 3
        assert (await client.post(place, json={**body, **box})).status_code == 422
        assert (await client.post(place, json={})).status_code == 422
        assert (await bob.post(place, json=box)).status_code == 404


async def test_approvers_approve_over_http(door: Door) -> None:
    async with await door.client("security") as client, await door.client("security", subject="bob") as bob:
        guard = {"guarded": ["rotate"], "approvers": ["bob"], "approvals_needed": 1}
        await opened(client, "ed25519", "sign", **guard)
        assert (await client.post(f"{KEYS}/k/rotate")).json()["code"] == "approval-needed"
        given = f"{KEYS}/k/approvals/given"
        assert (await client.post(given, json={"operation": "rotate"})).status_code == 404
        assert (await bob.post(given, json={"operation": "rotate"})).status_code == 200
        assert (await client.post(f"{KEYS}/k/rotate")).json()["version"] == 2


async def test_a_guarded_signature_takes_an_approver_of_that_message(door: Door) -> None:
    async with (
        await door.client("security") as client,
        await door.client("security:approve", subject="bob") as bob,
    ):
        guard = {"guarded": ["sign", "configure"], "approvers": ["bob"], "approvals_needed": 1}
        session = await opened(client, "ed25519", "sign", **guard)
        body = {"key": "k", "algorithm": "ed25519", "message_hex": "01"}
        assert (await client.post(f"{session}/sign", json=body)).json()["code"] == "approval-needed"
        digest = hashlib.sha256(b"\x01").hexdigest()
        approval = {"operation": "sign", "digest_hex": digest}
        assert (await bob.post(f"{KEYS}/k/approvals/given", json=approval)).status_code == 200
        for caller in (client, bob):
            (pending,) = (await caller.get(f"{KEYS}/k/approvals")).json()["items"]
            assert (pending["approver"], pending["digest"], pending["uses"]) == ("bob", digest, 1)
        other = {**body, "message_hex": "02"}
        assert (await client.post(f"{session}/sign", json=other)).status_code == 403
        assert (await client.post(f"{session}/sign", json=body)).status_code == 200
        assert (await client.post(f"{session}/sign", json=body)).status_code == 403
        assert (await client.get(f"{KEYS}/k/approvals")).json()["items"] == []
        assert (await bob.post(f"{session}/sign", json=body)).json()["code"] == "missing-scope"
    async with await door.client("security", subject="mallory") as mallory:
        assert (await mallory.get(f"{KEYS}/k/approvals")).json()["code"] == "unknown-key"


async def test_batches_of_one_kind_by_one_key_undo_each_other(door: Door) -> None:
    messages = [f"{number:064x}" for number in range(100)]
    async with await door.client("security") as client:
        for name in ("ed25519", "aes256-gcm", "hmac-sha256"):
            body = {"name": name, "key_type": name, "operations": ["sign", "verify", "encrypt", "decrypt"]}
            assert (await client.post(KEYS, json=body)).status_code == 201
        opened = await client.post(SESSIONS, json={"keys": ["ed25519", "aes256-gcm", "hmac-sha256"]})
        session = opened.headers["location"]

        async def ask(what: str, key: str, **fields: Any) -> Any:
            body = {"key": key, "algorithm": key, **fields}
            return (await client.post(f"{session}/{what}/batch", json=body)).json()

        signed = (await ask("sign", "ed25519", messages_hex=messages))["signatures_hex"]
        assert len(set(signed)) == 100
        pairs = {"messages_hex": messages, "signatures_hex": signed}
        assert await ask("verify", "ed25519", **pairs) == {"valid": True}
        pairs["signatures_hex"] = signed[::-1]
        assert (await ask("verify", "ed25519", **pairs))["code"] == "invalid-signature"

        data = {"associated_data_hex": "aabb"}
        made = await ask("encrypt", "aes256-gcm", plaintexts_hex=messages, **data)
        assert made["version"] == 1
        sealed = made["ciphertexts_hex"]
        opened_again = await ask("decrypt", "aes256-gcm", ciphertexts_hex=sealed, **data)
        assert opened_again == {"plaintexts_hex": messages}
        assert (await ask("decrypt", "aes256-gcm", ciphertexts_hex=sealed))["code"] == "invalid-ciphertext"

        codes = (await ask("mac", "hmac-sha256", messages_hex=messages))["macs_hex"]
        assert len(set(codes)) == 100
        entries = (await client.get("/api/v1/security/audit")).json()["items"]
        told = [(each["operation"], each["count"]) for each in entries[-2:]]
        assert told == [("decrypt", 100), ("mac", 100)]


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"messages_hex": ["00", "0"]}, "body.messages_hex[1]"),
        ({"messages_hex": ["0 0 "]}, "body.messages_hex[0]"),
        ({"messages_hex": ["00", 7]}, "body.messages_hex[1]"),
        ({"messages_hex": []}, "body.messages_hex"),
        ({"messages_hex": ["00"] * 1025}, "body.messages_hex"),
        ({"version": "1"}, "body.version"),
        ({"key": ""}, "body.key"),
        ({"surprise": 1}, "body"),
    ],
)
async def test_a_batch_that_is_none_names_the_field(door: Door, changed: dict[str, Any], field: str) -> None:
    body = {"key": "k", "algorithm": "ed25519", "messages_hex": ["00"], **changed}
    async with await door.client("security") as client:
        answer = await client.post(f"{SESSIONS}/any/sign/batch", json=body)
        assert answer.status_code == 422
        assert answer.json()["code"] == "invalid-fields"
        assert [error["field"] for error in answer.json()["errors"]] == [field]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"key": "\xff"}'])
async def test_a_batch_that_is_no_json_is_400(door: Door, body: bytes) -> None:
    async with await door.client("security") as client:
        headers = {"Content-Type": "application/json"}
        answer = await client.post(f"{SESSIONS}/any/sign/batch", content=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed-json")


async def test_a_batch_in_the_session_of_another_is_refused(door: Door) -> None:
    async with await door.client("security", subject="bob") as bob:
        await bob.post(KEYS, json={"name": "k", "key_type": "ed25519"})
        session = (await bob.post(SESSIONS, json={"keys": ["k"]})).headers["location"]
    body = {"key": "k", "algorithm": "ed25519", "messages_hex": ["00"]}
    async with await door.client("security") as client:
        refused = await client.post(f"{session}/sign/batch", json=body)
        assert (refused.status_code, refused.json()["code"]) == (403, "not-yours")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("GET", "/public", None),
        ("GET", "/approvals", None),
        ("POST", "/rotate", None),
        ("POST", "/configure", {"minimum_version": 1}),
        ("POST", "/trim", {"first": 1}),
        ("POST", "/backups/new", None),
        ("POST", "/delete", None),
        ("POST", "/restore", None),
        ("POST", "/destroy", None),
        ("POST", "/disable", None),
        ("POST", "/enable", None),
        ("POST", "/export/wrapped", {"recipient_pem": "x"}),
        ("POST", "/approvals/given", {"operation": "sign"}),
    ],
)
async def test_the_key_of_another_is_answered_as_one_that_does_not_exist(
    door: Door, method: str, path: str, body: dict[str, Any] | None
) -> None:
    async with await door.client("security", subject="bob") as bob:
        await bob.post(KEYS, json={"name": "hers", "key_type": "ed25519"})
    async with await door.client("security") as alice:
        found = [await alice.request(method, f"{KEYS}/{name}{path}", json=body) for name in ("hers", "none")]
    theirs, none = [{**each.json(), "instance": "", "request_id": ""} for each in found]
    assert [each.status_code for each in found] == [404, 404]
    assert none["code"] == "unknown-key"
    assert str(theirs).replace("hers", "none") == str(none)

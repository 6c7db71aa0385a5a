"""`/api/v1/bitcoin` over the real service: chain, mempool, broadcasts, proofs and subscriptions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from anya_actors.adapters.memory.bitcoin_rpc import MemoryBitcoinNode
from anya_actors.testing.local_bitcoin import LocalBitcoin

BASE = "/api/v1/bitcoin"
SCRIPT = b"\x00\x14" + b"\x07" * 20
ADDRESS = "bcrt1qqurswpc8qurswpc8qurswpc8qurswpc8dxm0gk"
RAW = (
    "02000000"
    + "01"
    + "11" * 32
    + "00000000"
    + "00"
    + "ffffffff"
    + "01"
    + "e803000000000000"
    + "0151"
    + "00" * 4
)


@pytest.fixture
async def node(platform: Any) -> AsyncIterator[MemoryBitcoinNode]:
    """The chain under the platform's ``bitcoin/main``."""
    bitcoin = LocalBitcoin()
    await bitcoin.start(platform.actors, platform.clock)
    yield bitcoin.node
    await bitcoin.close()


@pytest.fixture
def client(platform: Any) -> httpx.AsyncClient:
    found: httpx.AsyncClient = platform.client("bitcoin:read", "bitcoin:write")
    return found


async def test_a_mined_coin_is_proved_and_found(node: MemoryBitcoinNode, client: httpx.AsyncClient) -> None:
    (block_hash,) = node.mine(1, SCRIPT)
    txid = (await client.get(f"{BASE}/blocks/{block_hash}")).json()["txids"][0]
    proof = (await client.get(f"{BASE}/transactions/{txid}/proof")).json()
    assert (proof["height"], proof["index"], proof["branch"]) == (1, 0, [])
    verified = await client.post(f"{BASE}/proofs/verify", json={"proof": proof["proof"]})
    assert (verified.status_code, verified.json()) == (200, proof)
    forged = await client.post(f"{BASE}/proofs/verify", json={"proof": proof["proof"][:-2] + "ff"})
    assert forged.status_code == 422
    coins = (await client.get(f"{BASE}/addresses/{ADDRESS}/unspent")).json()
    assert [(coin["txid"], coin["height"]) for coin in coins["items"]] == [(txid, 1)]
    assert (await client.get(f"{BASE}/outputs/{txid}/0")).json() == coins["items"][0]
    assert (await client.get(f"{BASE}/outputs/{txid}/1")).status_code == 404


async def test_the_mempool_and_the_feerates_are_shown(
    node: MemoryBitcoinNode, client: httpx.AsyncClient
) -> None:
    assert (await client.get(f"{BASE}/mempool")).json()["count"] == 0
    assert (await client.get(f"{BASE}/mempool/{'00' * 32}")).status_code == 404
    estimates = (await client.get(f"{BASE}/feerates")).json()["estimates"]
    assert estimates[0] == {"blocks": 1, "feerate_sat_per_vb": None}


async def test_a_bad_transaction_is_told_why(node: MemoryBitcoinNode, client: httpx.AsyncClient) -> None:
    refused = await client.post(f"{BASE}/transactions", json={"hex": RAW})
    assert refused.status_code == 422
    assert "bad-txns-inputs-missingorspent" in refused.json()["detail"]
    for text in ("zz", "00", "02000000000000000000"):
        assert (await client.post(f"{BASE}/transactions", json={"hex": text})).status_code == 422


async def test_a_subscription_is_made_once_seen_and_ended(
    node: MemoryBitcoinNode, client: httpx.AsyncClient
) -> None:
    body = {"subject": "address", "value": ADDRESS, "confirmations": 2}
    headers = {"Idempotency-Key": "k"}
    made = await client.post(f"{BASE}/subscriptions", json=body, headers=headers)
    assert made.status_code == 201
    assert (await client.post(f"{BASE}/subscriptions", json=body, headers=headers)).json() == made.json()
    assert (await client.get(f"{BASE}/subscriptions")).json()["items"] == [made.json()]
    location = made.headers["location"]
    assert (await client.get(location)).json()["value"] == SCRIPT.hex()
    assert (await client.delete(location)).status_code == 204
    assert (await client.get(location)).status_code == 404
    bad = await client.post(f"{BASE}/subscriptions", json=body | {"value": "bcrt1"})
    assert bad.status_code == 422


async def test_reading_alone_neither_broadcasts_nor_subscribes(platform: Any) -> None:
    reader = platform.client("bitcoin:read")
    body = {"subject": "script", "value": "51"}
    assert (await reader.post(f"{BASE}/subscriptions", json=body)).status_code == 403
    assert (await reader.post(f"{BASE}/transactions", json={"hex": RAW})).status_code == 403


async def test_a_payment_request_is_read(node: MemoryBitcoinNode, client: httpx.AsyncClient) -> None:
    read = await client.post(f"{BASE}/payment-requests/read", json={"uri": f"bitcoin:{ADDRESS}?amount=0.5"})
    assert read.status_code == 200
    assert (read.json()["addresses"], read.json()["amount_sat"]) == ([ADDRESS], 50_000_000)
    refused = await client.post(f"{BASE}/payment-requests/read", json={"uri": f"bitcoin:{ADDRESS}?req-x=1"})
    assert (refused.status_code, refused.json()["type"]) == (422, "urn:anya:problem:invalid-payment-uri")


async def test_a_payee_without_a_proof_that_holds_is_refused(
    node: MemoryBitcoinNode, client: httpx.AsyncClient
) -> None:
    for name, kind in (("alice@pay.com", "invalid-dnssec-proof"), ("alice", "invalid-human-name")):
        refused = await client.post(f"{BASE}/payees/verify", json={"name": name, "proof": "00"})
        assert (refused.status_code, refused.json()["type"]) == (422, f"urn:anya:problem:{kind}")

"""`/api/v1/wallet` over the real service: made, paid, bumped, labelled, signed; and refused with reasons."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from anya_actors.adapters.memory.bitcoin_rpc import MemoryBitcoinNode
from anya_actors.domain.bitcoin.address import parse_address
from anya_actors.domain.bitcoin.network import Network
from anya_actors.services.bitcoin import BitcoinService
from anya_actors.testing.local_bitcoin import LocalBitcoin

BASE = "/api/v1/wallet"
PAYEE = "bcrt1qqurswpc8qurswpc8qurswpc8qurswpc8dxm0gk"


@dataclass
class Chain:
    """The node, the service, and a wallet ``main`` with one mature coin."""

    node: MemoryBitcoinNode
    service: BitcoinService
    client: httpx.AsyncClient

    async def post(self, path: str, body: dict[str, Any], status: int) -> Any:
        answer = await self.client.post(f"{BASE}{path}", json=body)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def get(self, path: str) -> Any:
        answer = await self.client.get(f"{BASE}{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def mine(self, count: int = 1, address: str = PAYEE) -> None:
        self.node.mine(count, parse_address(address, Network.REGTEST))
        await self.service.follow()


@pytest.fixture
async def chain(platform: Any) -> AsyncIterator[Chain]:
    bitcoin = LocalBitcoin()
    await bitcoin.start(platform.actors, platform.clock)
    chain = Chain(bitcoin.node, bitcoin.service, platform.client("wallet:write"))
    view = await chain.post("/wallets", {"name": "main", "kind": "tr"}, 201)
    await chain.mine(1, view["address"])
    await chain.mine(100)
    yield chain
    await bitcoin.close()


async def test_a_wallet_pays_is_bumped_and_shows_its_coins(chain: Chain) -> None:
    wallet = await chain.get("/wallets/main")
    assert wallet["address"].startswith("bcrt1p")
    assert wallet["account"]["receive"].startswith("tr([")
    body = {"recipients": [{"address": PAYEE, "amount_sat": 1_000_000}], "feerate_sat_per_vb": 2}
    paid = await chain.post("/wallets/main/payments", body, 201)
    await chain.service.settled("main")
    bumped = await chain.post(f"/payments/{paid['payment_id']}/bump", {"feerate_sat_per_vb": 7}, 200)
    assert bumped["txid"] != paid["txid"]
    await chain.service.settled("main")
    await chain.mine()
    found = await chain.get(f"/payments/{paid['payment_id']}")
    assert (found["phase"], found["txid"], len(found["txids"])) == ("confirmed", bumped["txid"], 2)
    assert [one["payment_id"] for one in (await chain.get("/wallets/main/payments"))["items"]] == [
        paid["payment_id"]
    ]
    (coin,) = (await chain.get("/wallets/main/coins"))["items"]
    assert (coin["change"], coin["amount_sat"]) == (True, bumped["change_sat"])
    again = await chain.post(f"/payments/{paid['payment_id']}/cancel", {}, 409)
    assert again["code"] == "not-replaceable"


async def test_the_silent_payment_address_is_the_same_every_time_and_is_paid(chain: Chain) -> None:
    made = await chain.post("/wallets/main/silent-address", {}, 201)
    assert made["address"].startswith("sprt1q")
    assert (made["path"], made["key"]) == ("m/352h/1h/0h/0h/0", "wallet.main")
    assert await chain.post("/wallets/main/silent-address", {}, 201) == made
    recipients = [{"address": made["address"], "amount_sat": 1_000_000}]
    await chain.post("/wallets/main/payments", {"recipients": recipients, "feerate_sat_per_vb": 2}, 201)
    await chain.service.settled("main")
    await chain.mine()
    coins = (await chain.get("/wallets/main/coins"))["items"]
    assert 1_000_000 in [coin["amount_sat"] for coin in coins]
    wallet = await chain.get("/wallets/main")
    watching = {"name": "watching", "descriptor": wallet["account"]["receive"]}
    await chain.post("/wallets", watching, 201)
    refused = await chain.post("/wallets/watching/silent-address", {}, 501)
    assert refused["code"] == "not-supported"
    assert (await chain.post("/wallets/none/silent-address", {}, 404))["code"] == "unknown-wallet"


async def test_a_psbt_goes_its_rounds(chain: Chain) -> None:
    body = {
        "recipients": [{"address": PAYEE, "amount_sat": 1_000_000}],
        "feerate_sat_per_vb": 2,
        "version": 2,
    }
    made = await chain.post("/wallets/main/psbts", body, 201)
    seen = await chain.post("/psbts/decode", {"psbt": made["psbt"], "wallet": "main"}, 200)
    assert [one["ours"] for one in seen["inputs"]] == [True]
    assert (await chain.post("/psbts/finalize", {"psbt": made["psbt"]}, 200))["complete"] is False
    unsigned = await chain.post("/psbts/send", {"psbt": made["psbt"]}, 422)
    assert unsigned["code"] == "psbt-input"
    signed = await chain.post("/wallets/main/psbts/sign", {"psbt": made["psbt"]}, 200)
    both = await chain.post("/psbts/combine", {"psbts": [made["psbt"], signed["psbt"]]}, 200)
    assert both["complete"]
    sent = await chain.post("/psbts/send", {"psbt": both["psbt"]}, 200)
    await chain.mine()
    assert sent["txid"] == both["txid"]
    assert (await chain.get("/wallets/main/balance"))["confirmed_sat"] == (
        50 * 10**8 - 1_000_000 - made["fee_sat"]
    )


async def test_a_psbt_reserves_its_coins_if_asked(chain: Chain) -> None:
    body = {"recipients": [{"address": PAYEE, "amount_sat": 1_000_000}], "feerate_sat_per_vb": 2}
    await chain.post("/wallets/main/psbts", body, 201)
    made = await chain.post("/wallets/main/psbts", body | {"reserve": True}, 201)
    (coin,) = (await chain.get("/wallets/main/coins"))["items"]
    assert coin["frozen"]
    assert [one["outpoint"] for one in made["inputs"]] == [coin["outpoint"]]
    assert (await chain.post("/wallets/main/payments", body, 409))["code"] == "insufficient-funds"
    await chain.post("/wallets/main/coins/freeze", {"outpoints": [coin["outpoint"]], "frozen": False}, 204)
    await chain.post("/wallets/main/payments", body, 201)


async def test_coins_are_frozen_and_labelled(chain: Chain) -> None:
    (coin,) = (await chain.get("/wallets/main/coins"))["items"]
    await chain.post("/wallets/main/coins/freeze", {"outpoints": [coin["outpoint"]]}, 204)
    label = {"type": "output", "ref": coin["outpoint"], "label": "first", "spendable": False}
    await chain.post("/wallets/main/labels", {"labels": [label]}, 204)
    assert (await chain.get("/wallets/main/coins"))["items"][0]["frozen"]
    body = {"recipients": [{"address": PAYEE, "amount_sat": 1000}], "feerate_sat_per_vb": 2}
    assert (await chain.post("/wallets/main/payments", body, 409))["code"] == "insufficient-funds"
    exported = (await chain.get("/wallets/main/labels/export"))["jsonl"]
    await chain.post("/wallets/main/labels/import", {"jsonl": exported}, 204)
    assert (await chain.get("/wallets/main/labels"))["items"] == [label | {"origin": ""}]
    await chain.post("/wallets/main/coins/freeze", {"outpoints": [coin["outpoint"]], "frozen": False}, 204)
    await chain.post("/wallets/main/payments", body, 201)


async def test_addresses_are_given_out_and_listed(chain: Chain) -> None:
    made = await chain.post("/wallets/main/addresses", {}, 201)
    change = await chain.post("/wallets/main/addresses", {"change": True}, 201)
    assert (made["path"], change["path"]) == ("m/86h/1h/0h/0/1", "m/86h/1h/0h/1/0")
    listed = (await chain.get("/wallets/main/addresses"))["items"]
    assert [(one["change"], one["place"]) for one in listed] == [(False, 0), (False, 1), (True, 0)]


@pytest.mark.parametrize("kind", ["wpkh", "tr", "sh-wpkh", "pkh"])
async def test_a_message_is_signed_by_each_kind_of_address_and_verified(chain: Chain, kind: str) -> None:
    address = (await chain.post("/wallets", {"name": "signer", "kind": kind}, 201))["address"]
    signed = await chain.post("/wallets/signer/messages", {"address": address, "message": "héllo"}, 201)
    valid = await chain.post("/messages/verify", signed, 200)
    assert valid["address"] == address
    refused = await chain.post("/messages/verify", signed | {"message": "hello"}, 422)
    assert refused["code"] == "invalid-message-signature"
    foreign = await chain.post("/wallets/signer/messages", {"address": PAYEE, "message": "x"}, 404)
    assert foreign["code"] == "not-our-address"


async def test_a_watch_only_copy_finds_the_past(chain: Chain) -> None:
    account = (await chain.get("/wallets/main"))["account"]
    body = {"name": "watch", "descriptor": account["receive"], "change_descriptor": account["change"]}
    made = await chain.post("/wallets", body | {"birth_height": 0}, 201)
    assert made["account"]["watch_only"]
    await chain.service.follow()
    assert (await chain.get("/wallets/watch/balance")) == (await chain.get("/wallets/main/balance")) | {
        "wallet": "watch"
    }
    await chain.post("/wallets/watch/rescan", {"from_height": 0}, 204)
    await chain.service.follow()
    assert (await chain.get("/wallets/watch/balance"))["spendable_sat"] == 50 * 10**8


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/wallets", {"name": "x", "descriptor": "wpkh(zz)"}, 422),
        ("/wallets", {"name": "main"}, 409),
        ("/wallets", {"name": "x", "kind": "p2sh"}, 422),
        ("/wallets/none/addresses", {}, 404),
        ("/wallets/main/payments", {"recipients": []}, 422),
        ("/wallets/main/payments", {"recipients": [{"address": "zz", "amount_sat": 1}]}, 422),
        ("/wallets/main/payments", {"recipients": [{"address": PAYEE, "amount_sat": 1.5}]}, 422),
        ("/wallets/main/labels/import", {"jsonl": "{"}, 422),
        ("/wallets/main/rescan", {"from_height": 1000}, 422),
        ("/wallets/main/keys", {"path": "m/99999999999"}, 422),
        ("/payments/main.00/bump", {}, 404),
        ("/psbts/decode", {"psbt": "zz"}, 422),
        ("/psbts/decode", {"psbt": "cHNidP8="}, 422),
        ("/psbts/combine", {"psbts": []}, 422),
        ("/wallets/none/psbts/sign", {"psbt": "cHNidP8="}, 404),
        ("/messages/verify", {"address": PAYEE, "message": "", "signature": "zz"}, 422),
    ],
)
async def test_what_cannot_be_is_told_why(chain: Chain, path: str, body: dict[str, Any], status: int) -> None:
    problem = await chain.post(path, body, status)
    assert problem["detail"]


async def test_reading_does_not_allow_writing(platform: Any, chain: Chain) -> None:
    reader = platform.client("wallet:read")
    assert (await reader.get(f"{BASE}/wallets")).status_code == 200
    assert (await reader.post(f"{BASE}/wallets", json={"name": "x"})).status_code == 403

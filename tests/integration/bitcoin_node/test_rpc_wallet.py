"""The node's own wallets over JSON-RPC."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from anya_actors.serve.bitcoin_node.embedded import EmbeddedNode

Call = Callable[..., Awaitable[Any]]
FOREIGN = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
TPRV = (
    "tprv8ZgxMBicQKsPd7Uf69XL1XwhmjHopUGep8GuEiJDZmbQz6o58LninorQ"
    "AfcKZWARbtRtfnLcJ5MQ2AtHcQJCCRUcMRvmDUjyEmNUWwx8UbK"
)


@pytest.fixture
def at(http: httpx.AsyncClient) -> Call:
    """Call a method of the wallet of this name."""

    async def call_method(wallet: str, name: str, *params: Any) -> Any:
        body = {"id": 1, "method": name, "params": params}
        content = (await http.post(f"/wallet/{wallet}", json=body)).json()
        if content["error"] is not None:
            raise LookupError(content["error"]["code"], content["error"]["message"])
        return content["result"]

    return call_method


@pytest.fixture
async def rich(call: Call) -> str:
    """The unnamed wallet with 50 coins; one of its addresses."""
    address = await call("getnewaddress", "mine")
    await call("generatetoaddress", 1, address)
    await call("generatetoaddress", 100, FOREIGN)
    return str(address)


async def _refused(call: Awaitable[Any]) -> tuple[int, str]:
    with pytest.raises(LookupError) as caught:
        await call
    return caught.value.args[0], caught.value.args[1]


async def test_wallets_are_made_loaded_and_chosen_by_path(call: Call, at: Call) -> None:
    assert await call("listwallets") == []
    assert await call("createwallet", "first") == {"name": "first"}
    assert (await call("getwalletinfo"))["walletname"] == "first"
    await call("createwallet", "second watch", True)
    assert await call("listwallets") == ["first", "second watch"]
    code, text = await _refused(call("getbalance"))
    assert (code, text[:30]) == (-19, "Multiple wallets are loaded. P")
    info = await at("second%20watch", "getwalletinfo")
    assert (info["walletname"], info["private_keys_enabled"], info["blank"]) == ("second watch", False, True)
    assert await _refused(at("nobody", "getbalance")) == (
        -18,
        "Requested wallet does not exist or is not loaded",
    )
    assert (await _refused(call("createwallet", "first")))[0] == -36
    assert (await _refused(call("loadwallet", "first")))[0] == -35
    assert (await _refused(call("loadwallet", "third")))[0] == -18
    assert await call("unloadwallet", "first") == {}
    assert (await _refused(at("first", "getbalance")))[0] == -18
    assert {item["name"] for item in (await call("listwalletdir"))["wallets"]} == {"first", "second watch"}
    await call("loadwallet", "first")
    assert await _refused(at("second%20watch", "getnewaddress")) == (
        -4,
        "Error: This wallet has no available keys",
    )


@pytest.mark.parametrize(
    ("kind", "start", "script"),
    [
        ("legacy", ("m", "n"), "pubkeyhash"),
        ("p2sh-segwit", ("2",), "scripthash"),
        ("bech32", ("bcrt1q",), "witness_v0_keyhash"),
        ("bech32m", ("bcrt1p",), "witness_v1_taproot"),
    ],
)
async def test_each_kind_of_address_is_paid_to_and_spent_from(
    call: Call, rich: str, kind: str, start: tuple[str, ...], script: str
) -> None:
    address = await call("getnewaddress", "here", kind)
    assert address.startswith(start)
    txid = await call("sendtoaddress", address, 10)
    await call("generatetoaddress", 1, FOREIGN)
    (found,) = await call("listunspent", 1, 999, [address])
    assert (found["txid"], found["amount"], found["label"]) == (txid, 10, "here")
    assert (await call("getdescriptorinfo", found["desc"]))["issolvable"] is True
    assert await call("deriveaddresses", found["desc"]) == [address]
    info = await call("getaddressinfo", address)
    assert (info["ismine"], info["solvable"], info["labels"], info["ischange"]) == (
        True,
        True,
        ["here"],
        False,
    )
    assert info["hdkeypath"].startswith("m/")
    inputs = [{"txid": txid, "vout": found["vout"]}]
    raw = await call("createrawtransaction", inputs, {FOREIGN: 9.999})
    signed = await call("signrawtransactionwithwallet", raw)
    assert signed["complete"], signed
    assert (
        await call("sendrawtransaction", signed["hex"])
        == (await call("decoderawtransaction", signed["hex"]))["txid"]
    )
    await call("generatetoaddress", 1, FOREIGN)
    assert await call("getreceivedbyaddress", address) == 10


async def test_what_happened_is_told_as_core_tells_it(call: Call, rich: str) -> None:
    assert (await call("getbalances"))["mine"] == {"trusted": 50, "untrusted_pending": 0, "immature": 0}
    txid = await call("sendtoaddress", FOREIGN, 1.25, "rent", "landlord")
    seen = await call("gettransaction", txid, True, True)
    fee = seen["fee"]
    assert (seen["amount"], fee < 0, seen["confirmations"], seen["trusted"]) == (-1.25, True, 0, True)
    assert (seen["comment"], seen["to"], seen["bip125-replaceable"]) == ("rent", "landlord", "yes")
    (detail,) = seen["details"]
    assert (detail["category"], detail["address"], detail["amount"]) == ("send", FOREIGN, -1.25)
    assert seen["decoded"]["txid"] == txid
    listed = await call("listtransactions", "*", 1)
    assert [(item["txid"], item["category"], item["fee"]) for item in listed] == [(txid, "send", fee)]
    everything = await call("listtransactions")
    assert [item["category"] for item in everything] == ["generate", "send"]
    (tip,) = await call("generatetoaddress", 1, FOREIGN)
    since = await call("listsinceblock", tip)
    assert (since["transactions"], since["removed"], since["lastblock"]) == ([], [], tip)
    parent = (await call("getblockheader", tip))["previousblockhash"]
    since = await call("listsinceblock", parent)
    assert [(item["txid"], item["confirmations"]) for item in since["transactions"]] == [(txid, 1)]
    assert await call("getbalance") == pytest.approx(48.75 + fee, abs=1e-9)
    assert (await _refused(call("gettransaction", "00" * 32)))[0] == -5
    assert (await _refused(call("abandontransaction", txid)))[0] == -5


async def test_fees_come_from_where_the_caller_says(call: Call, rich: str) -> None:
    txid = await call("sendtoaddress", FOREIGN, 50, "", "", True, True, None, None, None, 2)
    seen = await call("gettransaction", txid)
    vsize = (await call("getrawtransaction", txid, 1))["vsize"]
    assert round(-seen["fee"] * 1e8) in range(vsize * 2, vsize * 2 + 10)
    assert round(-seen["amount"] * 1e8) + round(-seen["fee"] * 1e8) == 50 * 10**8
    assert await call("getbalance") == 0
    assert await _refused(call("sendtoaddress", FOREIGN, 1)) == (-6, "Insufficient funds")


async def test_many_are_paid_and_everything_is_sent(call: Call, rich: str) -> None:
    second = await call("getnewaddress", "second")
    txid = await call("sendmany", "", {FOREIGN: 1, second: 2}, 0, "both", [FOREIGN])
    seen = await call("getrawtransaction", txid, 1)
    amounts = {out["scriptPubKey"]["address"]: out["value"] for out in seen["vout"]}
    assert amounts[second] == 2
    assert amounts[FOREIGN] < 1
    await call("generatetoaddress", 1, FOREIGN)
    answer = await call("send", {FOREIGN: 3}, None, "unset", 3)
    assert answer["complete"] is True
    await call("generatetoaddress", 1, FOREIGN)
    answer = await call("sendall", [FOREIGN, {second: 1}], None, "unset", 2)
    assert answer["complete"] is True
    assert await call("getbalance") == 1
    seen = await call("getrawtransaction", answer["txid"], 1)
    assert len(seen["vout"]) == 2


async def test_coins_are_locked_chosen_and_funded(call: Call, rich: str) -> None:
    (coin,) = await call("listunspent")
    outpoint = {"txid": coin["txid"], "vout": coin["vout"]}
    assert await call("lockunspent", False, [outpoint]) is True
    assert await call("listlockunspent") == [outpoint]
    assert await call("listunspent") == []
    assert (await _refused(call("sendtoaddress", FOREIGN, 1)))[0] == -6
    assert (await _refused(call("lockunspent", False, [outpoint])))[1].endswith("output already locked")
    await call("lockunspent", True)
    raw = await call("createrawtransaction", [], {FOREIGN: 4})
    funded = await call("fundrawtransaction", raw, {"changePosition": 0, "fee_rate": 5})
    seen = await call("decoderawtransaction", funded["hex"])
    assert funded["changepos"] == 0
    assert seen["vout"][1]["value"] == 4
    assert seen["vout"][0]["value"] == pytest.approx(46 - funded["fee"])
    signed = await call("signrawtransactionwithwallet", funded["hex"])
    assert signed["complete"] is True


async def test_descriptors_are_listed_and_imported(call: Call, at: Call, rich: str) -> None:
    await call("createwallet", "watch", True)
    listed = (await at("", "listdescriptors"))["descriptors"]
    assert len(listed) == 8
    assert all("tprv" not in item["desc"] for item in listed)
    private = (await at("", "listdescriptors", True))["descriptors"]
    assert all("tprv" in item["desc"] for item in private)
    external = next(item for item in listed if item["desc"].startswith("wpkh(") and not item["internal"])
    request = {"desc": external["desc"], "timestamp": "now", "range": [0, 10], "active": True}
    assert await at("watch", "importdescriptors", [request]) == [{"success": True}]
    assert await at("watch", "getbalance") == 50
    assert (await at("watch", "listunspent"))[0]["spendable"] is False
    code, text = await _refused(at("watch", "sendtoaddress", FOREIGN, 1))
    assert (code, text) == (-4, "Error: Private keys are disabled for this wallet")
    assert await at("watch", "getnewaddress") == rich
    await call("createwallet", "other", False, True)
    checksum = (await call("getdescriptorinfo", f"wpkh({TPRV}/1/1/0)"))["checksum"]
    answers = await at(
        "other",
        "importdescriptors",
        [
            {"desc": f"wpkh({TPRV}/1/1/0)#{checksum}", "timestamp": 0, "label": "one"},
            {"desc": f"wpkh({TPRV}/1/1/0)", "timestamp": 0},
            {"timestamp": 0},
            {"desc": external["desc"], "timestamp": "now"},
        ],
    )
    assert [answer["success"] for answer in answers] == [True, False, False, False]
    assert answers[1]["error"] == {"code": -5, "message": "Missing checksum"}
    assert list(await at("other", "getaddressesbylabel", "one")) == [
        "bcrt1qjqmxmkpmxt80xz4y3746zgt0q3u3ferr34acd5"
    ]


async def test_wallets_outlast_a_restart(
    make_node: Callable[..., EmbeddedNode], cookie_of: Callable[[str], tuple[str, str]]
) -> None:
    async def ask(node: EmbeddedNode, name: str, *params: Any) -> Any:
        addresses = await node.addresses()
        cookie = cookie_of(addresses.bitcoin_cookie)
        async with httpx.AsyncClient(base_url=addresses.bitcoin_rpc, auth=cookie, timeout=60.0) as client:
            body = {"id": 1, "method": name, "params": params}
            content = (await client.post("/", json=body)).json()
            assert content["error"] is None
            return content["result"]

    node = make_node()
    await node.start()
    await ask(node, "createwallet", "kept")
    first = await ask(node, "getnewaddress", "label of it")
    await ask(node, "generatetoaddress", 101, first)
    txid = await ask(node, "sendtoaddress", FOREIGN, 1, "why")
    before = await ask(node, "gettransaction", txid)
    second = await ask(node, "getnewaddress")
    await node.close()
    node = make_node()
    await node.start()
    assert await ask(node, "listwallets") == ["kept"]
    assert await ask(node, "gettransaction", txid) == before
    assert (await ask(node, "getaddressinfo", first))["labels"] == ["label of it"]
    assert await ask(node, "getnewaddress") not in (first, second)
    await node.close()


async def test_a_waiting_payment_is_replaced_by_a_dearer_one(call: Call, rich: str) -> None:
    old = await call("sendtoaddress", FOREIGN, 2, "", "", False, True, None, None, None, 2)
    bumped = await call("bumpfee", old, {"fee_rate": 20})
    assert bumped["fee"] > bumped["origfee"]
    assert await call("getrawmempool") == [bumped["txid"]]
    seen = await call("gettransaction", old)
    assert (seen["replaced_by_txid"], seen["walletconflicts"]) == (bumped["txid"], [bumped["txid"]])
    assert (await call("gettransaction", bumped["txid"]))["replaces_txid"] == old
    paid = (await call("getrawtransaction", bumped["txid"], 1))["vout"]
    assert 2 in [out["value"] for out in paid if out["scriptPubKey"]["address"] == FOREIGN]
    assert (await _refused(call("bumpfee", old)))[1].startswith("Cannot bump transaction")
    plan = await call("psbtbumpfee", bumped["txid"])
    assert plan["fee"] > plan["origfee"]
    await call("generatetoaddress", 2, FOREIGN)
    assert (await call("gettransaction", old))["confirmations"] == -2
    assert (await _refused(call("bumpfee", bumped["txid"])))[1].startswith("Transaction has been mined")

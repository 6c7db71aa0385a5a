"""Partially signed transactions over JSON-RPC: Core's vectors, and whole payments."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

Call = Callable[..., Awaitable[Any]]
FOREIGN = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"


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
    """The unnamed wallet with 50 coins."""
    address = await call("getnewaddress")
    await call("generatetoaddress", 1, address)
    await call("generatetoaddress", 100, FOREIGN)
    return str(address)


async def test_cores_vectors(call: Call, at: Call, vectors: Callable[[str], Any]) -> None:
    data = vectors("core_rpc_psbt.json")
    for text in data["invalid"]:
        with pytest.raises(LookupError, match="TX decode failed"):
            await call("decodepsbt", text)
    for text, message in data["invalid_with_msg"]:
        with pytest.raises(LookupError) as caught:
            await call("decodepsbt", text)
        assert message in caught.value.args[1]
    for text in data["valid"]:
        assert (await call("decodepsbt", text))["psbt_version"] in (0, 2)
        await call("analyzepsbt", text)
    for case in data["creator"]:
        made = await call("createpsbt", case["inputs"], case["outputs"], 0, False)
        assert made == case["result"]
    for number, case in enumerate(data["signer"]):
        name = f"signer{number}"
        await call("createwallet", name, False, True)
        requests = []
        for key in case["privkeys"]:
            checksum = (await call("getdescriptorinfo", f"combo({key})"))["checksum"]
            requests.append({"desc": f"combo({key})#{checksum}", "timestamp": "now"})
        assert all(item["success"] for item in await at(name, "importdescriptors", requests))
        assert (await at(name, "walletprocesspsbt", case["psbt"], True, "ALL"))["psbt"] == case["result"]
        signed = await call("descriptorprocesspsbt", case["psbt"], [item["desc"] for item in requests], "ALL")
        assert signed["psbt"] == case["result"]
    for case in data["combiner"]:
        assert await call("combinepsbt", case["combine"]) == case["result"]
    for case in data["finalizer"]:
        assert (await call("finalizepsbt", case["finalize"], False))["psbt"] == case["result"]
    for case in data["extractor"]:
        assert (await call("finalizepsbt", case["extract"], True))["hex"] == case["result"]


async def test_a_psbt_that_locks_its_coins_keeps_them_until_they_are_unlocked_or_spent(
    call: Call, rich: str
) -> None:
    await call("generatetoaddress", 1, rich)
    await call("generatetoaddress", 100, FOREIGN)
    made = await call("walletcreatefundedpsbt", [], {FOREIGN: 2}, 0, {"lockUnspents": True})
    spent = (await call("decodepsbt", made["psbt"]))["tx"]["vin"]
    coins = [{"txid": one["txid"], "vout": one["vout"]} for one in spent]
    assert len(coins) == 1
    assert await call("listlockunspent") == coins
    other = await call("walletcreatefundedpsbt", [], {FOREIGN: 2}, 0, {"lockUnspents": True})
    assert len(await call("listlockunspent")) == 2
    with pytest.raises(LookupError) as caught:
        await call("sendtoaddress", FOREIGN, 1)
    assert caught.value.args[0] == -6
    assert await call("lockunspent", True, coins) is True
    (left,) = await call("listlockunspent")
    signed = await call("walletprocesspsbt", other["psbt"])
    await call("sendrawtransaction", signed["hex"])
    assert left not in await call("listlockunspent")
    await call("generatetoaddress", 1, FOREIGN)
    assert await call("listlockunspent") == []
    await call("sendtoaddress", FOREIGN, 1)


async def test_a_payment_by_psbt(call: Call, rich: str) -> None:
    made = await call("walletcreatefundedpsbt", [], {FOREIGN: 2}, 0, {"changePosition": 1, "fee_rate": 3})
    decoded = await call("decodepsbt", made["psbt"])
    assert (made["changepos"], decoded["fee"]) == (1, made["fee"])
    assert decoded["inputs"][0]["bip32_derivs"][0]["path"].startswith("m/84h/1h/0h/0/")
    analysis = await call("analyzepsbt", made["psbt"])
    assert (analysis["next"], analysis["inputs"][0]["next"]) == ("signer", "signer")
    assert len(analysis["inputs"][0]["missing"]["signatures"]) == 1
    assert analysis["estimated_feerate"] == pytest.approx(0.00003, rel=0.03)
    signed = await call("walletprocesspsbt", made["psbt"], True, "ALL", True, False)
    assert signed["complete"] is True
    assert "partial_signatures" in (await call("decodepsbt", signed["psbt"]))["inputs"][0]
    assert (await call("analyzepsbt", signed["psbt"]))["next"] == "finalizer"
    final = await call("finalizepsbt", signed["psbt"])
    whole = await call("walletprocesspsbt", made["psbt"])
    assert (whole["complete"], whole["hex"]) == (True, final["hex"])
    assert (await call("analyzepsbt", whole["psbt"]))["next"] == "extractor"
    txid = await call("sendrawtransaction", final["hex"])
    assert (await call("gettransaction", txid))["amount"] == -2
    await call("generatetoaddress", 1, FOREIGN)


async def test_two_wallets_share_a_multisig(call: Call, at: Call, rich: str) -> None:
    keys = []
    for name in ("alice", "bob"):
        await call("createwallet", name)
        listed = (await at(name, "listdescriptors", True))["descriptors"]
        private = next(
            item["desc"] for item in listed if item["desc"].startswith("wpkh(") and "/0/*" in item["desc"]
        )
        public = next(
            item["desc"]
            for item in (await at(name, "listdescriptors"))["descriptors"]
            if item["desc"].startswith("wpkh(") and "/0/*" in item["desc"]
        )
        keys.append((private[5:].partition(")")[0], public[5:].partition(")")[0]))
    for at_place, name in enumerate(("alice", "bob")):
        members = ",".join(pair[0] if place == at_place else pair[1] for place, pair in enumerate(keys))
        text = f"wsh(sortedmulti(2,{members}))"
        checksum = (await call("getdescriptorinfo", text))["checksum"]
        request = {"desc": f"{text}#{checksum}", "timestamp": "now", "range": [0, 5]}
        assert (await at(name, "importdescriptors", [request]))[0]["success"] is True
    publics = f"wsh(sortedmulti(2,{keys[0][1]},{keys[1][1]}))"
    checksum = (await call("getdescriptorinfo", publics))["checksum"]
    (address,) = await call("deriveaddresses", f"{publics}#{checksum}", [3, 3])
    txid = await at("", "sendtoaddress", address, 5)
    await call("generatetoaddress", 1, FOREIGN)
    (coin,) = await at("alice", "listunspent", 1, 99, [address])
    inputs = [{"txid": txid, "vout": coin["vout"]}]
    bare = await call("createpsbt", inputs, {FOREIGN: 4.9999})
    filled = await call("utxoupdatepsbt", bare, [{"desc": f"{publics}#{checksum}", "range": 5}])
    assert (await call("analyzepsbt", filled))["next"] == "signer"
    halves = [(await at(name, "walletprocesspsbt", filled))["psbt"] for name in ("alice", "bob")]
    assert [len((await call("decodepsbt", half))["inputs"][0]["partial_signatures"]) for half in halves] == [
        1,
        1,
    ]
    joined = await call("combinepsbt", halves)
    final = await call("finalizepsbt", joined)
    assert final["complete"] is True
    await call("sendrawtransaction", final["hex"])


async def test_a_wallet_signs_with_the_type_that_is_asked_for(call: Call, rich: str) -> None:
    (coin,) = await call("listunspent")
    raw = await call("createrawtransaction", [{"txid": coin["txid"], "vout": coin["vout"]}], {FOREIGN: 49})
    signed = await call("signrawtransactionwithwallet", raw, [], "NONE|ANYONECANPAY")
    assert signed["complete"] is True
    (spent,) = (await call("decoderawtransaction", signed["hex"]))["vin"]
    assert spent["txinwitness"][0].endswith("82")
    with pytest.raises(LookupError, match="max_tx_weight is not supported"):
        await call("fundrawtransaction", raw, {"max_tx_weight": 1000})


async def test_refusals_and_conversions(call: Call, rich: str) -> None:
    raw = await call("createrawtransaction", [{"txid": "11" * 32, "vout": 0}], {FOREIGN: 1})
    psbt = await call("converttopsbt", raw)
    other = await call("createpsbt", [{"txid": "22" * 32, "vout": 0}], {FOREIGN: 2})
    joined = await call("decodepsbt", await call("joinpsbts", [psbt, other]))
    assert (len(joined["inputs"]), len(joined["outputs"])) == (2, 2)
    assert (await call("analyzepsbt", psbt))["next"] == "updater"
    for name, params, code, words in (
        ("joinpsbts", [[psbt]], -8, "At least two PSBTs are required"),
        ("joinpsbts", [[psbt, psbt]], -8, "exists in multiple PSBTs"),
        ("combinepsbt", [[psbt, other]], -8, "PSBTs not compatible (different transactions)"),
        ("combinepsbt", [[]], -8, "Parameter 'txs' cannot be empty"),
        ("decodepsbt", ["nonsense"], -22, "TX decode failed"),
        ("walletprocesspsbt", [psbt, True, "SOME"], -8, "'SOME' is not a valid sighash parameter."),
        ("signrawtransactionwithkey", [raw, ["nonsense"]], -5, "Invalid private key"),
        ("combinerawtransaction", [[]], -8, "Missing transactions"),
    ):
        with pytest.raises(LookupError) as caught:
            await call(name, *params)
        assert (caught.value.args[0], words in caught.value.args[1]) == (code, True), caught.value


async def test_keys_of_the_call_sign(call: Call, rich: str) -> None:
    wif = "cUeKHd5orzT3mz8P9pxyREHfsWtVfgsfDjiZZBcjUBAaGk1BTj7N"
    for form in ("pkh({})", "wpkh({})", "sh(wpkh({}))"):
        checksum = (await call("getdescriptorinfo", form.format(wif)))["checksum"]
        (address,) = await call("deriveaddresses", f"{form.format(wif)}#{checksum}")
        txid = await call("sendtoaddress", address, 1)
        outputs = (await call("getrawtransaction", txid, 1))["vout"]
        place = next(out["n"] for out in outputs if out["scriptPubKey"].get("address") == address)
        raw = await call("createrawtransaction", [{"txid": txid, "vout": place}], {FOREIGN: 0.999})
        unsigned = await call("signrawtransactionwithkey", raw, [])
        assert (unsigned["complete"], len(unsigned["errors"])) == (False, 1)
        signed = await call("signrawtransactionwithkey", raw, [wif])
        assert signed["complete"] is True, signed
        single = await call("signrawtransactionwithkey", raw, [wif], [], "SINGLE|ANYONECANPAY")
        assert single["complete"] is True
        (spent,) = (await call("decoderawtransaction", single["hex"]))["vin"]
        assert (spent.get("txinwitness") or [spent["scriptSig"]["asm"].split("[")[0] + "83"])[0].endswith(
            "83"
        )
        assert await call("combinerawtransaction", [raw, signed["hex"]]) == signed["hex"]
        await call("sendrawtransaction", signed["hex"])

"""Methods about blocks, coins, filters and mining: the fields and words of Bitcoin Core's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from anya_actors.domain.bitcoin.block import block_merkle_root, parse_block
from anya_actors.domain.bitcoin.genesis import REGTEST_GENESIS
from anya_actors.domain.bitcoin.mining import coinbase_transaction, solve, unsolved_block
from anya_actors.domain.bitcoin.transaction import parse_transaction_hex

Call = Callable[..., Awaitable[Any]]
GENESIS = str(REGTEST_GENESIS.hash)
MISSING = "00" * 31 + "01"


@pytest.fixture
async def paid(call: Call) -> tuple[str, str, str]:
    """A chain of 102 blocks whose last one holds a payment: address, txid, block."""
    address = await call("getnewaddress")
    await call("generatetoaddress", 101, address)
    txid = await call("sendtoaddress", address, 1.5)
    (block_hash,) = await call("generatetoaddress", 1, address)
    return address, txid, block_hash


async def test_the_set_of_coins_has_cores_hashes(call: Call) -> None:
    # A chain of one block: the numbers of Core's own regtest genesis.
    empty = await call("gettxoutsetinfo")
    assert (empty["txouts"], empty["total_amount"], empty["bogosize"]) == (0, 0, 0)
    assert (await call("gettxoutsetinfo", "muhash"))["muhash"] == (
        "dd5ad2a105c2d29495f577245c357409002329b9f4d6182c0af3dc2f462555c8"
    )
    await call("generatetoaddress", 2, "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080")
    info = await call("gettxoutsetinfo", "none")
    assert list(info) == [
        "height",
        "bestblock",
        "txouts",
        "bogosize",
        "total_amount",
        "transactions",
        "disk_size",
    ]
    assert (info["height"], info["txouts"], info["transactions"]) == (2, 2, 2)
    assert (info["bogosize"], info["total_amount"]) == (2 * 72, 100)
    with pytest.raises(LookupError, match="'sha' is not a valid hash_type"):
        await call("gettxoutsetinfo", "sha")
    with pytest.raises(LookupError, match="requires coinstatsindex"):
        await call("gettxoutsetinfo", "muhash", 1)


async def test_proofs_of_transactions(call: Call, paid: tuple[str, str, str]) -> None:
    _, txid, block_hash = paid
    proof = await call("gettxoutproof", [txid])
    assert await call("verifytxoutproof", proof) == [txid]
    assert await call("gettxoutproof", [txid], block_hash) == proof
    spoiled = proof[:-2] + "00"
    assert await call("verifytxoutproof", spoiled) == []
    for params, words in (
        (([],), "Parameter 'txids' cannot be empty"),
        (([txid, txid],), "duplicated txid"),
        (([MISSING],), "Transaction not yet in block"),
        (([txid], MISSING), "Block not found"),
        (([txid], GENESIS), "Not all transactions found"),
    ):
        with pytest.raises(LookupError, match=words):
            await call("gettxoutproof", *params)
    with pytest.raises(LookupError, match="must be hexadecimal"):
        await call("verifytxoutproof", "zz")
    await call("invalidateblock", block_hash)
    with pytest.raises(LookupError, match="Block not found in chain"):
        await call("verifytxoutproof", proof)


async def test_statistics_of_a_block(call: Call, paid: tuple[str, str, str]) -> None:
    _, txid, block_hash = paid
    stats = await call("getblockstats", block_hash)
    seen = await call("getrawtransaction", txid, 2)
    fee_sat = round(seen["fee"] * 10**8)
    assert stats == await call("getblockstats", 102)
    assert (stats["txs"], stats["ins"], stats["outs"], stats["swtxs"]) == (2, 1, 4, 1)
    assert stats["totalfee"] == stats["avgfee"] == stats["medianfee"] == stats["minfee"] == fee_sat
    assert stats["feerate_percentiles"] == [stats["minfeerate"]] * 5
    assert stats["mediantxsize"] == stats["total_size"] == seen["size"]
    assert (stats["utxo_increase"], stats["utxo_increase_actual"]) == (3, 2)
    assert stats["utxo_size_inc"] > stats["utxo_size_inc_actual"]
    assert stats["subsidy"] == 50 * 10**8
    assert len(stats) == 31
    genesis = await call("getblockstats", 0)
    assert (genesis["outs"], genesis["utxo_increase"], genesis["utxo_increase_actual"]) == (1, 1, 0)
    assert (genesis["utxo_size_inc"], genesis["utxo_size_inc_actual"]) == (117, 0)
    assert await call("getblockstats", 102, ["txs", "height"]) == {"height": 102, "txs": 2}
    for params, words in (
        ((103,), "Target block height 103 after current tip 102"),
        ((-1,), "Target block height -1 is negative"),
        ((MISSING,), "Block not found"),
        ((1, ["nonsense"]), "Invalid selected statistic 'nonsense'"),
    ):
        with pytest.raises(LookupError, match=words):
            await call("getblockstats", *params)


async def test_filters_find_blocks(call: Call, paid: tuple[str, str, str]) -> None:
    address, _, block_hash = paid
    # BIP158 gives the filter of the genesis block, which regtest shares but for its key.
    assert set(await call("getblockfilter", GENESIS)) == {"filter", "header"}
    found = await call("scanblocks", "start", [f"addr({address})"], 100, None, "basic")
    assert (found["from_height"], found["to_height"], found["completed"]) == (100, 102, True)
    assert block_hash in found["relevant_blocks"]
    other = await call("scanblocks", "start", ["raw(51)"], 0, 102, "basic", {"filter_false_positives": True})
    assert other["relevant_blocks"] == []
    assert await call("scanblocks", "status") is None
    with pytest.raises(LookupError, match="Unknown filtertype"):
        await call("getblockfilter", GENESIS, "extended")
    info = await call("getindexinfo")
    assert info["txindex"] == {"synced": True, "best_block_height": 102}
    assert await call("getindexinfo", "nothing") == {}


async def test_transactions_of_the_chain_and_rules_of_the_next_block(call: Call) -> None:
    address = await call("getnewaddress")
    await call("generatetoaddress", 150, address)
    stats = await call("getchaintxstats")
    assert (stats["txcount"], stats["window_block_count"], stats["window_tx_count"]) == (151, 149, 149)
    assert stats["window_final_block_height"] == 150
    with pytest.raises(LookupError, match="Invalid block count"):
        await call("getchaintxstats", 150)
    deployments = (await call("getdeploymentinfo"))["deployments"]
    assert deployments["segwit"] == {"type": "buried", "active": True, "height": 0}
    assert deployments["taproot"]["bip9"]["status"] == "active"
    dummy = deployments["testdummy"]
    assert (dummy["type"], dummy["active"]) == ("bip9", False)
    bip9 = dummy["bip9"]
    assert (bip9["bit"], bip9["status"], bip9["since"], bip9["status_next"]) == (
        28,
        "started",
        144,
        "started",
    )
    assert bip9["statistics"] == {
        "period": 144,
        "elapsed": 7,
        "count": 0,
        "threshold": 108,
        "possible": True,
    }
    assert bip9["signalling"] == "-" * 7
    genesis = await call("getdeploymentinfo", GENESIS)
    assert genesis["deployments"]["testdummy"]["bip9"]["status"] == "defined"
    info = await call("getmininginfo")
    assert info["next"]["height"] == 151
    assert await call("getnetworkhashps") == info["networkhashps"] > 0
    with pytest.raises(LookupError, match="Invalid nblocks"):
        await call("getnetworkhashps", 0)
    with pytest.raises(LookupError, match="Block does not exist at specified height"):
        await call("getnetworkhashps", 1, 151)


async def test_waiting_for_blocks(call: Call) -> None:
    address = await call("getnewaddress")
    assert await call("waitfornewblock", 1) == {"hash": GENESIS, "height": 0}
    waiting = asyncio.ensure_future(call("waitforblockheight", 2, 60_000))
    named = asyncio.ensure_future(call("waitfornewblock", 60_000, GENESIS))
    hashes = await call("generatetoaddress", 2, address)
    assert await waiting == {"hash": hashes[1], "height": 2}
    assert (await named)["height"] >= 1
    assert await call("waitforblock", hashes[1]) == {"hash": hashes[1], "height": 2}
    with pytest.raises(LookupError, match="Negative timeout"):
        await call("waitfornewblock", -1)


async def test_a_template_becomes_a_block(call: Call) -> None:
    address = await call("getnewaddress")
    await call("generatetoaddress", 101, address)
    parent = await call("sendtoaddress", address, 1)
    child = await call("sendtoaddress", address, 48.9)
    template = await call("getblocktemplate", {"rules": ["segwit"]})
    assert template["rules"] == ["csv", "!segwit", "taproot"]
    assert [item["txid"] for item in template["transactions"]] == [parent, child]
    assert [item["depends"] for item in template["transactions"]] == [[], [1]]
    fees_sat = sum(item["fee"] for item in template["transactions"])
    assert template["coinbasevalue"] == 50 * 10**8 + fees_sat
    others = [parse_transaction_hex(item["data"]) for item in template["transactions"]]
    coinbase = coinbase_transaction(template["height"], b"\x51", template["coinbasevalue"], others)
    assert coinbase.outputs[1].script_pubkey.hex() == template["default_witness_commitment"]
    tip = parse_block(bytes.fromhex(await call("getblock", template["previousblockhash"], 0)))
    block = unsolved_block(tip.hash, template["curtime"], int(template["bits"], 16), (coinbase, *others))

    async def propose(data: str) -> Any:
        return await call("getblocktemplate", {"mode": "proposal", "data": data, "rules": ["segwit"]})

    assert await propose(block.serialize().hex()) is None
    greedy = coinbase_transaction(template["height"], b"\x51", template["coinbasevalue"] + 1, others)
    for transactions, reason in (
        ((greedy, *others), "bad-cb-amount"),
        ((coinbase, others[1], others[0]), "bad-witness-merkle-match"),
        (others, "bad-cb-missing"),
        ((coinbase, greedy), "bad-cb-multiple"),
    ):
        other = unsolved_block(tip.hash, template["curtime"], int(template["bits"], 16), transactions)
        assert await propose(other.serialize().hex()) == reason
    raw = bytearray(block.serialize())
    raw[36] ^= 1
    assert await propose(raw.hex()) == "bad-txnmrklroot"
    raw = bytearray(block.serialize())
    raw[4] ^= 1
    assert await propose(raw.hex()) == "inconclusive-not-best-prevblk"
    solved = solve(block)
    assert solved is not None
    assert block_merkle_root(solved.transactions) == solved.header.merkle_root
    assert await call("submitblock", solved.serialize().hex()) is None
    assert await propose(solved.serialize().hex()) == "duplicate"
    assert await call("submitheader", solved.header.serialize().hex()) is None


async def test_a_long_poll_ends_with_a_new_tip(call: Call) -> None:
    address = await call("getnewaddress")
    first = await call("getblocktemplate", {"rules": ["segwit"]})
    request = {"rules": ["segwit"], "longpollid": first["longpollid"]}
    waiting = asyncio.ensure_future(call("getblocktemplate", request))
    (block_hash,) = await call("generatetoaddress", 1, address)
    assert (await waiting)["previousblockhash"] == block_hash


@pytest.mark.parametrize(
    ("name", "params", "code", "text"),
    [
        ("getblocktemplate", [], -8, "must be called with the segwit rule set"),
        ("getblocktemplate", [{"mode": 5}], -8, "Invalid mode"),
        ("getblocktemplate", [{"mode": "proposal"}], -3, "Missing data String key for proposal"),
        ("getblocktemplate", [{"mode": "proposal", "data": "00"}], -22, "Block decode failed"),
        ("submitheader", ["00"], -22, "Block header decode failed"),
        ("submitheader", ["00" * 80], -25, "Must submit previous header"),
        ("generateblock", ["bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", [MISSING]], -5, "not in mempool."),
        ("addnode", ["127.0.0.1:1", "add"], -31, "Peer-to-peer functionality missing or disabled"),
        ("getblockfrompeer", [GENESIS, 0], -31, "Peer-to-peer functionality missing or disabled"),
        ("getmemoryinfo", ["mallocinfo"], -8, "mallocinfo mode not available"),
        ("logging", [["net"]], -8, "unknown logging category net"),
        ("mockscheduler", [0], -1, "delta_time must be between 1 and 3600 seconds (1 hr)"),
    ],
)
async def test_each_refusal_has_cores_code_and_words(
    call: Call, name: str, params: list[Any], code: int, text: str
) -> None:
    with pytest.raises(LookupError) as caught:
        await call(name, *params)
    assert caught.value.args[0] == code
    assert text in caught.value.args[1]


async def test_transactions_are_put_together_as_asked(call: Call) -> None:
    address = await call("getnewaddress")
    raw = await call(
        "createrawtransaction",
        [{"txid": MISSING, "vout": 1}, {"txid": MISSING, "vout": 0, "sequence": 5}],
        [{address: 0.5}, {"data": "00ff"}],
        7,
    )
    seen = await call("decoderawtransaction", raw)
    assert (seen["version"], seen["locktime"]) == (2, 7)
    assert [item["sequence"] for item in seen["vin"]] == [0xFFFFFFFD, 5]
    assert seen["vout"][0]["scriptPubKey"]["address"] == address
    assert seen["vout"][1]["scriptPubKey"]["asm"] == "OP_RETURN -32512"
    bare = await call("createrawtransaction", [], {address: 1}, 0, False, 3)
    assert (await call("decoderawtransaction", bare))["version"] == 3
    assert len((await call("decoderawtransaction", bare))["vout"]) == 1
    with pytest.raises(LookupError, match="TX decode failed"):
        await call("decoderawtransaction", bare, True)
    final = [{"txid": MISSING, "vout": 1}]
    raw = await call("createrawtransaction", final, {}, 9, False)
    assert (await call("decoderawtransaction", raw))["vin"][0]["sequence"] == 0xFFFFFFFE
    final = [{"txid": MISSING, "vout": 1, "sequence": 0xFFFFFFFF}]
    for params, code, words in (
        (([], None), -8, "output argument must be non-null"),
        (([], [5]), -8, "key-value pair not an object as expected"),
        (([], [{}]), -8, "key-value pair must contain exactly one key"),
        (([], {"foo": 1}), -5, "Invalid Bitcoin address: foo"),
        (([], [{address: 1}, {address: 1}]), -8, "duplicated address"),
        (([], [{"data": "00"}, {"data": "00"}]), -8, "duplicate key: data"),
        (([], {"data": "zz"}), -8, "Data must be hexadecimal string"),
        (([], {address: -1}), -3, "Amount out of range"),
        (([{}], {}), -3, "JSON value of type null is not of expected type string"),
        (([{"txid": MISSING}], {}), -8, "missing vout key"),
        (([{"txid": MISSING, "vout": -1}], {}), -8, "vout cannot be negative"),
        (([{"txid": MISSING, "vout": 0, "sequence": -1}], {}), -8, "sequence number is out of range"),
        (([], {}, -1), -8, "locktime out of range"),
        (([], {}, 0, True, 4), -8, "version out of range(1~3)"),
        ((final, {}, 0, True), -8, "Sequence number(s) contradict replaceable option"),
    ):
        with pytest.raises(LookupError) as caught:
            await call("createrawtransaction", *params)
        assert caught.value.args[0] == code
        assert words in caught.value.args[1]


async def test_scripts_are_told_as_core_tells_them(call: Call, vectors: Callable[[str], Any]) -> None:
    for script, expected in vectors("core_rpc_decodescript.json"):
        assert await call("decodescript", script) == expected
    # A bare multisig of two keys, from the functional test rpc_decodescript.py.
    key = "03b0da749730dc9b4b1f4a14d6902877a92541f5368778853d9c4a0cb7802dcfb2"
    seen = await call("decodescript", f"5121{key}21{key}52ae")
    assert (seen["type"], seen["segwit"]["type"]) == ("multisig", "witness_v0_scripthash")
    assert seen["segwit"]["desc"].startswith(f"wsh(multi(1,{key},{key}))#")
    assert (await call("decodescript", f"21{key}ac"))["segwit"]["type"] == "witness_v0_keyhash"
    assert (await call("decodescript", ""))["type"] == "nonstandard"


async def test_a_block_made_but_not_given_is_judged_too(call: Call) -> None:
    address = await call("getnewaddress")
    hashes = await call("generatetoaddress", 2, address)
    immature = (await call("getblock", hashes[0], 2))["tx"][0]["txid"]
    raw = await call("createrawtransaction", [{"txid": immature, "vout": 0}], {address: 49})
    for submit in (True, False):
        with pytest.raises(LookupError, match="bad-txns-premature-spend-of-coinbase"):
            await call("generateblock", address, [raw], submit)


async def test_the_server_tells_of_itself(call: Call) -> None:
    listed = await call("help")
    assert "== Blockchain ==" in listed
    assert '\ngetblock "blockhash" ( verbosity )\n' in listed
    assert "echo" not in listed
    assert (await call("help", "getblockhash")).startswith("getblockhash height\n\n")
    assert await call("help", "nothing") == "help: unknown command: nothing"
    assert await call("echo", 1, None, {"a": [2.5]}) == [1, None, {"a": [2.5]}]
    assert await call("echojson") == []
    info = await call("getrpcinfo")
    assert [item["method"] for item in info["active_commands"]] == ["getrpcinfo"]
    assert (await call("getmemoryinfo"))["locked"]["used"] == 0
    assert await call("getnettotals") | {"timemillis": 0, "uploadtarget": {}} == {
        "totalbytesrecv": 0,
        "totalbytessent": 0,
        "timemillis": 0,
        "uploadtarget": {},
    }
    assert await call("logging") == {}
    assert await call("uptime") >= 0

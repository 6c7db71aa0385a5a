"""The JSON-RPC surface, over HTTP, as clients of Bitcoin Core use it."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from bitcoin_core_rpc import BitcoinCoreRpcClient
from bitcoin_core_rpc import RpcError as ClientRpcError
from bitcoinrpc import BitcoinRPC

from anya_actors.domain.bitcoin.genesis import REGTEST_GENESIS
from anya_actors.domain.machine import InvalidInputError, UnavailableError
from anya_actors.serve.bitcoin_node.embedded import EmbeddedNode
from anya_actors.serve.bitcoin_node.errors import BusyPortError, NodeDirectoryInUseError
from anya_actors.serve.bitcoin_node.http import HttpLimits, HttpServer, Reply, Request

Call = Callable[..., Awaitable[Any]]
CookieOf = Callable[[str], tuple[str, str]]

MISSING = "00" * 31 + "01"
GENESIS = str(REGTEST_GENESIS.hash)


async def test_a_new_node_tells_its_chain_as_core_does(call: Call) -> None:
    info = await call("getblockchaininfo")
    assert (info["chain"], info["blocks"], info["headers"], info["pruned"]) == ("regtest", 0, 0, False)
    assert info["bestblockhash"] == GENESIS
    assert info["initialblockdownload"] is True
    assert info["chainwork"] == f"{2:064x}"
    genesis = await call("getblock", GENESIS, 2)
    assert genesis["tx"][0]["vin"][0]["coinbase"].startswith("04ffff001d0104455468652054696d6573")
    assert genesis["confirmations"] == 1
    header = await call("getblockheader", GENESIS)
    assert header["difficulty"] == pytest.approx(4.656542373906925e-10)
    assert await call("getblockheader", GENESIS, False) == REGTEST_GENESIS.header.serialize().hex()


async def test_mining_paying_and_finding_it_again(call: Call) -> None:
    address = await call("getnewaddress")
    assert address.startswith("bcrt1q")
    hashes = await call("generatetoaddress", 101, address)
    assert await call("getbestblockhash") == hashes[-1]
    assert (await call("getblockchaininfo"))["initialblockdownload"] is False
    assert await call("getbalance") == 50
    taproot = await call("getnewaddress", "mine", "bech32m")
    txid = await call("sendtoaddress", taproot, 1.5)
    entry = (await call("getrawmempool", True))[txid]
    raw = await call("getrawtransaction", txid)
    assert await call("sendrawtransaction", raw) == txid
    seen = await call("getrawtransaction", txid, 2)
    assert seen["hex"] == raw
    assert seen["fee"] == entry["fees"]["base"]
    assert "blockhash" not in seen
    paid = next(output for output in seen["vout"] if output["scriptPubKey"].get("address") == taproot)
    assert paid["value"] == 1.5
    assert paid["scriptPubKey"]["type"] == "witness_v1_taproot"
    waiting = await call("gettxout", txid, paid["n"])
    assert (waiting["confirmations"], waiting["coinbase"]) == (0, False)
    assert await call("gettxout", txid, paid["n"], False) is None
    (block_hash,) = await call("generatetoaddress", 1, address)
    seen = await call("getrawtransaction", txid, 1)
    assert (seen["blockhash"], seen["confirmations"]) == (block_hash, 1)
    assert (await call("gettxout", txid, paid["n"]))["confirmations"] == 1
    block = await call("getblock", block_hash, 3)
    assert [tx["txid"] for tx in block["tx"]][1] == txid
    assert block["tx"][1]["vin"][0]["prevout"]["generated"] is True
    assert block["nTx"] == 2
    unspent = await call("listunspent", 1, 9999, [taproot])
    assert [(item["amount"], item["label"]) for item in unspent] == [(1.5, "mine")]
    scan = await call(
        "scantxoutset", "start", [f"addr({taproot})", {"desc": f"raw({paid['scriptPubKey']['hex']})"}]
    )
    assert (scan["total_amount"], scan["unspents"][0]["txid"]) == (1.5, txid)
    info = await call("getwalletinfo")
    assert info["balance"] == await call("getbalance")
    assert (await call("getmempoolinfo"))["size"] == 0


async def test_amounts_are_written_with_eight_digits_and_read_without_floats(
    http: httpx.AsyncClient, call: Call
) -> None:
    address = await call("getnewaddress")
    await call("generatetoaddress", 101, address)
    body = f'{{"id":1,"method":"sendtoaddress","params":["{address}",0.10000001]}}'
    txid = json.loads((await http.post("/", content=body)).content)["result"]
    reply = await http.post("/", json={"id": 1, "method": "getrawtransaction", "params": [txid, 1]})
    assert b'"value":0.10000001' in reply.content
    reply = await http.post("/", json={"id": 1, "method": "getnetworkinfo", "params": []})
    assert b'"relayfee":0.00000100' in reply.content


@pytest.mark.parametrize(
    ("name", "params", "code", "text"),
    [
        ("nosuchmethod", [], -32601, "Method not found"),
        ("getblockhash", [1], -8, "Block height out of range"),
        ("getblockhash", [-1], -8, "Block height out of range"),
        ("getblockhash", ["0"], -3, "JSON value of type string is not of expected type number"),
        ("getblockhash", [1 << 40], -1, "JSON integer out of range"),
        ("getblockhash", [], -1, "getblockhash height"),
        ("getblockhash", [0, 1], -1, "getblockhash height"),
        ("getblock", [MISSING], -5, "Block not found"),
        ("getblock", ["abc"], -8, "blockhash must be of length 64 (not 3, for 'abc')"),
        ("getrawtransaction", [MISSING], -5, "No such mempool or blockchain transaction."),
        ("getrawtransaction", [MISSING, 0, MISSING], -5, "Block hash not found"),
        ("sendrawtransaction", ["00"], -22, "TX decode failed"),
        ("sendrawtransaction", ["zz"], -22, "TX decode failed"),
        ("generatetoaddress", [1, "nonsense"], -5, "Error: Invalid address"),
        (
            "generatetoaddress",
            [1, "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"],
            -5,
            "Error: Invalid address",
        ),
        ("submitblock", ["00"], -22, "Block decode failed"),
        ("estimatesmartfee", [0], -8, "Invalid conf_target, must be between 1 and 1008"),
        ("scantxoutset", ["start", ["wpkh(02)"]], -5, ""),
        ("scantxoutset", ["leap"], -8, "Invalid action 'leap'"),
        ("getnewaddress", ["", "p2x"], -5, "Unknown address type 'p2x'"),
        ("sendtoaddress", ["bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", 0], -3, "Invalid amount for send"),
        ("sendtoaddress", ["bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", 1], -6, "Insufficient funds"),
        ("sendtoaddress", ["bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", "x"], -3, "Invalid amount"),
        ("testmempoolaccept", [[]], -8, "Array must contain between 1 and 25 transactions."),
        ("invalidateblock", [MISSING], -5, "Block not found"),
    ],
)
async def test_each_refusal_has_cores_code_and_words(
    call: Call, name: str, params: list[Any], code: int, text: str
) -> None:
    with pytest.raises(LookupError) as caught:
        await call(name, *params)
    assert caught.value.args[0] == code
    assert text in caught.value.args[1]


async def test_envelopes_of_both_versions(http: httpx.AsyncClient) -> None:
    async def post(content: Any) -> tuple[int, Any]:
        body = content if isinstance(content, str) else json.dumps(content)
        reply = await http.post("/", content=body)
        return reply.status_code, json.loads(reply.content) if reply.content else None

    first = {"id": "a", "method": "getblockcount"}
    assert await post(first) == (200, {"result": 0, "error": None, "id": "a"})
    second = {"jsonrpc": "2.0", "id": 7, "method": "getblockcount"}
    assert await post(second) == (200, {"jsonrpc": "2.0", "result": 0, "id": 7})
    status, content = await post({"jsonrpc": "2.0", "id": 7, "method": "nothing"})
    assert (status, content["error"]["code"], "result" in content) == (200, -32601, False)
    status, content = await post({"id": 7, "method": "nothing"})
    assert (status, content["error"]["code"], content["result"]) == (404, -32601, None)
    assert await post({"jsonrpc": "2.0", "method": "getblockcount"}) == (204, None)
    assert (await post("{"))[0] == 500
    assert (await post("{"))[1]["error"]["code"] == -32700
    assert (await post("[" * 100_000))[1]["error"]["code"] == -32700
    assert (await post("7"))[1]["error"]["code"] == -32700
    for broken in (
        {"id": 1},
        {"method": 5},
        {"method": "stop", "params": 3},
        {"jsonrpc": "3.0", "method": "stop"},
        {"jsonrpc": "1.1", "method": "stop"},
    ):
        status, content = await post(broken)
        assert (status, content["error"]["code"]) == (400, -32600)
    named = {"id": 1, "method": "getblock", "params": {"blockhash": GENESIS, "verbose": 0}}
    assert (await post(named))[1]["result"] == REGTEST_GENESIS.serialize().hex()
    unknown = {"id": 1, "method": "getblock", "params": {"blockhash": GENESIS, "loud": 1}}
    assert (await post(unknown))[1]["error"]["message"] == "Unknown named parameter loud"
    status, content = await post([first, second, 5, {"jsonrpc": "2.0", "method": "uptime"}])
    assert status == 200
    assert [item.get("result") for item in content] == [0, 0, None]
    assert content[2]["error"] == {"code": -32600, "message": "Invalid Request object"}
    assert await post([]) == (200, [])
    # Without an id the older versions answer without one, version 2.0 takes it for a notification.
    assert await post({"method": "getblockcount"}) == (200, {"result": 0, "error": None})
    assert await post({"jsonrpc": "2.0", "method": "nothing"}) == (204, None)
    assert await post({"jsonrpc": "2.0", "id": None, "method": "getblockcount"}) == (
        200,
        {"jsonrpc": "2.0", "result": 0, "id": None},
    )
    # Batches never fail as a whole.
    status, content = await post([{"id": 1, "method": "nothing"}, {"id": 2, "jsonrpc": 2}])
    assert (status, [item["error"]["code"] for item in content]) == (200, [-32601, -32600])
    assert await post([{"jsonrpc": "2.0", "method": "uptime"}]) == (204, None)


async def test_the_door_lets_in_only_who_has_the_cookie(node: EmbeddedNode, cookie_of: CookieOf) -> None:
    addresses = await node.addresses()
    assert stat.S_IMODE(os.stat(addresses.bitcoin_cookie).st_mode) == 0o600
    user, password = cookie_of(addresses.bitcoin_cookie)
    assert user == "__cookie__"
    body = {"id": 1, "method": "getblockcount"}
    async with httpx.AsyncClient(base_url=addresses.bitcoin_rpc, timeout=60.0) as client:
        assert (await client.post("/", json=body)).status_code == 401
        for wrong in ((user, "wrong"), ("other", password)):
            reply = await client.post("/", json=body, auth=wrong)
            assert (reply.status_code, reply.content) == (401, b"")
            assert reply.headers["www-authenticate"] == 'Basic realm="jsonrpc"'
        assert (await client.get("/", auth=(user, password))).status_code == 405
        assert (await client.post("/elsewhere", json=body, auth=(user, password))).status_code == 404
        assert (await client.post("/wallet/", json=body, auth=(user, password))).status_code == 200


async def test_too_much_is_refused(make_node: Callable[..., EmbeddedNode], cookie_of: CookieOf) -> None:
    node = make_node(limits=HttpLimits(work_queue=1, max_body_bytes=1000))
    addresses = await node.start()
    cookie = cookie_of(addresses.bitcoin_cookie)
    async with httpx.AsyncClient(base_url=addresses.bitcoin_rpc, auth=cookie, timeout=60.0) as client:
        assert (await client.post("/", content=b"x" * 1001)).status_code == 413
        mine = {
            "id": 1,
            "method": "generatetoaddress",
            "params": [200, "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"],
        }
        replies = await asyncio.gather(*(client.post("/", json=mine) for _ in range(4)))
        statuses = sorted(reply.status_code for reply in replies)
        assert statuses[0] == 200
        assert 503 in statuses
    await node.close()


async def test_broken_http_is_refused_without_harm(node: EmbeddedNode, call: Call) -> None:
    url = httpx.URL((await node.addresses()).bitcoin_rpc)
    for noise in (
        b"\x00\xff\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -4\r\n\r\n",
    ):
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(noise)
        assert b" 400 " in await reader.readline()
        writer.close()
    assert await call("getblockcount") == 0


async def test_blocks_given_by_hand_and_branches_judged(call: Call) -> None:
    address = await call("getnewaddress")
    first, second = await call("generatetoaddress", 2, address)
    made = await call("generateblock", address, [], False)
    assert await call("submitblock", made["hex"]) is None
    assert await call("submitblock", made["hex"]) == "duplicate"
    assert await call("getbestblockhash") == made["hash"]
    spoiled = bytearray.fromhex(made["hex"])
    spoiled[40] ^= 1
    assert await call("submitblock", spoiled.hex()) in ("high-hash", "bad-txnmrklroot")
    await call("invalidateblock", second)
    assert await call("getbestblockhash") == first
    statuses = {tip["hash"]: tip["status"] for tip in await call("getchaintips")}
    assert statuses == {first: "active", made["hash"]: "invalid"}
    assert (await call("getblockheader", second))["confirmations"] == -1
    await call("reconsiderblock", made["hash"])
    assert await call("getbestblockhash") == made["hash"]
    assert (await call("getblock", first))["nextblockhash"] == second


async def test_of_two_branches_of_the_same_work_the_precious_one_is_followed(call: Call) -> None:
    address = await call("getnewaddress")
    (left,) = await call("generatetoaddress", 1, address)
    await call("invalidateblock", left)
    (right,) = await call("generatetoaddress", 1, address)
    await call("reconsiderblock", left)
    assert await call("getbestblockhash") == left
    assert await call("preciousblock", right) is None
    assert await call("getbestblockhash") == right
    with pytest.raises(LookupError) as caught:
        await call("preciousblock", "00" * 32)
    assert caught.value.args == (-5, "Block not found")


async def test_what_the_mempool_would_say(call: Call) -> None:
    address = await call("getnewaddress")
    await call("generatetoaddress", 101, address)
    txid = await call("sendtoaddress", address, 1)
    raw = await call("getrawtransaction", txid)
    (verdict,) = await call("testmempoolaccept", [raw])
    assert (verdict["allowed"], verdict["reject-reason"]) == (False, "txn-already-in-mempool")
    decoded = await call("decoderawtransaction", raw)
    assert decoded["txid"] == txid
    assert "hex" not in decoded
    await call("generatetoaddress", 1, address)
    with pytest.raises(LookupError, match="-27"):
        await call("sendrawtransaction", raw)
    missing = "02000000" + "01" + "11" * 32 + "00000000" + "00" + "ffffffff" + "01" + "e803000000000000"
    missing += "160014" + "22" * 20 + "00000000"
    with pytest.raises(LookupError, match="bad-txns-inputs-missingorspent"):
        await call("sendrawtransaction", missing)
    (verdict,) = await call("testmempoolaccept", [missing])
    assert verdict["reject-reason"] == "missing-inputs"


async def test_the_bitcoinrpc_client_works_unchanged(node: EmbeddedNode, cookie_of: CookieOf) -> None:
    addresses = await node.addresses()
    cookie = cookie_of(addresses.bitcoin_cookie)
    async with BitcoinRPC.from_config(addresses.bitcoin_rpc, cookie) as client:
        address = await client.acall("getnewaddress", [])
        hashes = await client.acall("generatetoaddress", [2, address])
        assert await client.getblockcount() == 2
        assert await client.getblockhash(2) == hashes[-1]
        assert await client.getbestblockhash() == hashes[-1]
        block = await client.getblock(hashes[-1], 2)
        assert block["tx"][0]["vout"][0]["value"] == 50
        assert (await client.getblockheader(hashes[0]))["nextblockhash"] == hashes[1]
        assert (await client.getblockchaininfo())["blocks"] == 2
        assert (await client.getnetworkinfo())["version"] == 300000
        assert (await client.getmempoolinfo())["size"] == 0
        assert await client.getconnectioncount() == 0
        assert await client.getdifficulty() > 0
        assert len(await client.getchaintips()) == 1
        raw = await client.getrawtransaction(block["tx"][0]["txid"])
        assert block["tx"][0]["hex"] == raw["hex"]


async def test_the_bitcoin_core_rpc_client_works_unchanged(node: EmbeddedNode) -> None:
    addresses = await node.addresses()
    client = BitcoinCoreRpcClient(addresses.bitcoin_rpc, cookie_path=addresses.bitcoin_cookie)

    async def ask(method: str, params: Any = None) -> Any:
        return await asyncio.to_thread(client.call, method, params)

    await asyncio.to_thread(client.assert_chain, "regtest")
    assert await ask("createwallet", ["w"]) == {"name": "w"}
    mine = client.for_wallet("w")
    address = await asyncio.to_thread(mine.call, "getnewaddress")
    hashes = await ask("generatetoaddress", {"nblocks": 2, "address": address})
    assert (await ask("getblock", {"blockhash": hashes[1], "verbosity": 1}))["height"] == 2
    replies = await asyncio.to_thread(client.call_batch, [("getblockcount", None), ("getblockhash", [1])])
    assert list(replies) == [2, hashes[0]]
    with pytest.raises(ClientRpcError) as caught:
        await ask("getblockhash", [9])
    assert caught.value.code == -8


async def test_a_restarted_node_keeps_port_and_chain(make_node: Callable[..., EmbeddedNode]) -> None:
    node = make_node()
    first = await node.start()
    await node.check_health()
    context = node._node
    assert context is not None
    hashes = await context.generate(b"\x51", 5)
    await node.close()
    with pytest.raises(UnavailableError):
        await node.check_health()
    again = make_node()
    await again.resume()
    assert await again.addresses() == first
    assert again._node is not None
    assert again._node.chain.tip.hash == hashes[-1]
    await again.close()


async def test_a_taken_port_or_directory_is_told_by_name(make_node: Callable[..., EmbeddedNode]) -> None:
    node = make_node()
    addresses = await node.start()
    with pytest.raises(NodeDirectoryInUseError, match="in use by another process"):
        await make_node().start()
    await node.close()
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", httpx.URL(addresses.bitcoin_rpc).port)
    with pytest.raises(BusyPortError, match="in use"):
        await make_node().start()
    server.close()
    await server.wait_closed()
    again = make_node()
    assert await again.start() == addresses
    await again.close()


def test_the_node_listens_on_loopback_only() -> None:
    async def answer(_: Request) -> Reply:
        raise AssertionError

    for host in ("0.0.0.0", "192.0.2.1", "example.org"):
        with pytest.raises(InvalidInputError, match="loopback"):
            asyncio.run(HttpServer(answer).start(host, 0))


async def test_stop_ends_the_service(node: EmbeddedNode, call: Call) -> None:
    assert await call("stop") == "Bitcoin node stopping"
    assert node.stopped.is_set()
    with pytest.raises(UnavailableError):
        await node.check_health()

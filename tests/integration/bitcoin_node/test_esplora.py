"""Esplora's REST API over HTTP, as electrs serves it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anya_actors.domain.bitcoin.address import parse_address
from anya_actors.domain.bitcoin.genesis import REGTEST_GENESIS
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.merkle_proof import MerkleBranch, parse_merkle_block
from anya_actors.domain.bitcoin.network import Network
from anya_actors.serve.bitcoin_node.embedded import EmbeddedNode

Call = Callable[..., Awaitable[Any]]

MISSING = "00" * 31 + "01"
GENESIS = str(REGTEST_GENESIS.hash)


@pytest.fixture
async def esplora(node: EmbeddedNode) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the node's Esplora."""
    base = (await node.addresses()).esplora
    assert base is not None
    async with httpx.AsyncClient(base_url=base, timeout=60.0) as client:
        yield client


@pytest.fixture
def get(esplora: httpx.AsyncClient) -> Callable[[str], Awaitable[Any]]:
    """The content of a path that must exist."""

    async def read(path: str) -> Any:
        reply = await esplora.get(path)
        assert reply.status_code == 200, (path, reply.text)
        kind = reply.headers["content-type"]
        if kind == "application/json":
            return reply.json()
        return reply.content if kind == "application/octet-stream" else reply.text

    return read


def scripthash_of(address: str) -> str:
    return hashlib.sha256(parse_address(address, Network.REGTEST)).hexdigest()


Get = Callable[[str], Awaitable[Any]]


async def test_blocks(get: Get, call: Call) -> None:
    address = await call("getnewaddress")
    hashes = await call("generatetoaddress", 12, address)
    assert await get("/blocks/tip/height") == "12"
    assert await get("/blocks/tip/hash") == hashes[-1]
    assert await get("/block-height/0") == GENESIS
    listed = await get("/blocks")
    assert [block["height"] for block in listed] == list(range(12, 2, -1))
    assert [block["height"] for block in await get("/blocks/3")] == [3, 2, 1, 0]
    assert await get("/blocks/x") == listed
    core = await call("getblock", hashes[4])
    block = await get(f"/block/{hashes[4]}")
    assert block == {
        "id": core["hash"],
        "height": 5,
        "version": core["version"],
        "timestamp": core["time"],
        "tx_count": 1,
        "size": core["size"],
        "weight": core["weight"],
        "merkle_root": core["merkleroot"],
        "previousblockhash": hashes[3],
        "mediantime": core["mediantime"],
        "nonce": core["nonce"],
        "bits": int(core["bits"], 16),
        "difficulty": core["difficulty"],
    }
    assert (await get(f"/block/{GENESIS}"))["previousblockhash"] is None
    assert await get(f"/block/{hashes[4]}/header") == await call("getblockheader", hashes[4], False)
    assert (await get(f"/block/{hashes[4]}/raw")).hex() == await call("getblock", hashes[4], 0)
    assert await get(f"/block/{hashes[4]}/txids") == core["tx"]
    assert await get(f"/block/{hashes[4]}/txid/0") == core["tx"][0]
    status = {"in_best_chain": True, "height": 5, "next_best": hashes[5]}
    assert await get(f"/block/{hashes[4]}/status") == status
    assert (await get(f"/block/{hashes[11]}/status"))["next_best"] is None
    (coinbase,) = await get(f"/block/{hashes[4]}/txs")
    (spend,) = coinbase["vin"]
    assert (spend["is_coinbase"], spend["prevout"], coinbase["fee"]) == (True, None, 0)
    assert coinbase["status"] == {
        "confirmed": True,
        "block_height": 5,
        "block_hash": hashes[4],
        "block_time": core["time"],
    }


async def test_a_payment_from_its_broadcast_to_its_block(get: Get, call: Call) -> None:
    address = await call("getnewaddress")
    await call("generatetoaddress", 101, address)
    target = await call("getnewaddress", "", "bech32m")
    name = scripthash_of(target)
    nothing = dict.fromkeys(
        ("funded_txo_count", "funded_txo_sum", "spent_txo_count", "spent_txo_sum", "tx_count"), 0
    )
    assert await get(f"/scripthash/{name}") == {
        "scripthash": name,
        "chain_stats": nothing,
        "mempool_stats": nothing,
    }
    txid = await call("sendtoaddress", target, 1.5)
    decoded = await call("getrawtransaction", txid, 2)
    index = next(out["n"] for out in decoded["vout"] if out["scriptPubKey"].get("address") == target)

    seen = await get(f"/tx/{txid}")
    assert seen["status"] == await get(f"/tx/{txid}/status") == {"confirmed": False}
    assert await get(f"/address/{target}/txs") == await get(f"/address/{target}/txs/mempool") == [seen]
    assert await get(f"/address/{target}/txs/chain") == []
    assert seen["fee"] == round(decoded["fee"] * 100_000_000)
    assert (seen["size"], seen["weight"]) == (decoded["size"], decoded["weight"])
    output = seen["vout"][index]
    assert output == {
        "scriptpubkey": decoded["vout"][index]["scriptPubKey"]["hex"],
        "scriptpubkey_asm": f"OP_PUSHNUM_1 OP_PUSHBYTES_32 {output['scriptpubkey'][4:]}",
        "scriptpubkey_type": "v1_p2tr",
        "scriptpubkey_address": target,
        "value": 150_000_000,
    }
    prevout = seen["vin"][0]["prevout"]
    assert prevout["scriptpubkey_address"] == address
    assert prevout["scriptpubkey_asm"] == f"OP_0 OP_PUSHBYTES_20 {prevout['scriptpubkey'][4:]}"
    assert seen["vin"][0]["witness"] == decoded["vin"][0]["txinwitness"]
    (utxo,) = await get(f"/scripthash/{name}/utxo")
    assert utxo == {"txid": txid, "vout": index, "status": {"confirmed": False}, "value": 150_000_000}
    paid = {**nothing, "funded_txo_count": 1, "funded_txo_sum": 150_000_000, "tx_count": 1}
    assert (await get(f"/address/{target}"))["mempool_stats"] == paid
    spent = seen["vin"][0]
    assert await get(f"/tx/{spent['txid']}/outspend/{spent['vout']}") == {
        "spent": True,
        "txid": txid,
        "vin": 0,
        "status": {"confirmed": False},
    }
    assert await get(f"/tx/{txid}/outspends") == [{"spent": False}, {"spent": False}]
    backlog = await get("/mempool")
    assert (backlog["count"], backlog["vsize"], backlog["total_fee"]) == (1, decoded["vsize"], seen["fee"])
    assert backlog["fee_histogram"][0][1] == decoded["vsize"]
    assert await get("/mempool/txids") == [txid]
    (recent,) = await get("/mempool/recent")
    assert recent == {"txid": txid, "fee": seen["fee"], "vsize": decoded["vsize"], "value": 5_000_000_000}

    (block_hash,) = await call("generatetoaddress", 1, address)
    confirmed = await get(f"/tx/{txid}")
    assert confirmed == {**seen, "status": confirmed["status"]}
    assert confirmed["status"]["block_hash"] == block_hash
    assert await get(f"/address/{target}/txs") == await get(f"/address/{target}/txs/chain") == [confirmed]
    stats = await get(f"/address/{target}")
    assert stats == {"address": target, "chain_stats": paid, "mempool_stats": nothing}
    assert await get(f"/tx/{txid}/hex") == decoded["hex"]
    assert (await get(f"/tx/{txid}/raw")).hex() == decoded["hex"]
    merkle = await get(f"/tx/{txid}/merkle-proof")
    root = bytes.fromhex((await get(f"/block/{block_hash}"))["merkle_root"])[::-1]
    branch = tuple(bytes.fromhex(item)[::-1] for item in merkle["merkle"])
    assert (merkle["block_height"], merkle["pos"]) == (102, 1)
    MerkleBranch(merkle["pos"], branch).verify(Txid.from_hex(txid), root)
    proof = parse_merkle_block(bytes.fromhex(await get(f"/tx/{txid}/merkleblock-proof")))
    assert proof.verify() == ((1, Txid.from_hex(txid)),)


async def test_a_block_taken_back_takes_back_what_was_said_of_it(get: Get, call: Call) -> None:
    address = await call("getnewaddress")
    await call("generatetoaddress", 101, address)
    target = await call("getnewaddress")
    txid = await call("sendtoaddress", target, 1)
    (block_hash,) = await call("generatetoaddress", 1, address)
    before = await get(f"/address/{target}")
    await call("invalidateblock", block_hash)
    assert await get(f"/tx/{txid}/status") == {"confirmed": False}
    after = await get(f"/address/{target}")
    assert after["chain_stats"]["tx_count"] == 0
    assert after["mempool_stats"] == before["chain_stats"]
    assert (await get(f"/block/{block_hash}/status"))["in_best_chain"] is False
    assert (await get(f"/block/{block_hash}"))["id"] == block_hash
    await call("reconsiderblock", block_hash)
    assert await get(f"/address/{target}") == before


async def test_a_long_history_comes_in_pages(get: Get, call: Call) -> None:
    address = await call("getnewaddress")
    await call("generatetoaddress", 60, address)
    first = await get(f"/address/{address}/txs")
    heights = [item["status"]["block_height"] for item in first]
    assert heights == list(range(60, 35, -1))
    second = await get(f"/address/{address}/txs/chain/{first[-1]['txid']}")
    third = await get(f"/address/{address}/txs/chain/{second[-1]['txid']}")
    assert [item["status"]["block_height"] for item in second + third] == list(range(35, 0, -1))
    assert await get(f"/address/{address}/txs/chain/{third[-1]['txid']}") == []
    assert await get(f"/address/{address}/txs/chain/x") == first
    stats = (await get(f"/address/{address}"))["chain_stats"]
    assert (stats["tx_count"], stats["funded_txo_sum"]) == (60, 60 * 5_000_000_000)


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        (f"/tx/{MISSING}", 404, "Transaction not found"),
        (f"/tx/{MISSING}/raw", 404, "Transaction not found"),
        (f"/tx/{MISSING}/outspends", 404, "Transaction not found"),
        (f"/tx/{MISSING}/merkle-proof", 404, "Transaction not found or is unconfirmed"),
        (f"/tx/{MISSING}/outspend/x", 400, "Invalid number"),
        (f"/tx/{MISSING}/outspend/4294967296", 400, "Invalid number"),
        ("/tx/12", 400, "Invalid hex string"),
        (f"/block/{MISSING}", 404, "Block not found"),
        (f"/block/{MISSING}/txs", 404, "Block not found"),
        ("/block/zz", 400, "Invalid hex string"),
        (f"/block/{GENESIS}/txid/1", 404, "tx index out of range"),
        (f"/block/{GENESIS}/txs/3", 400, "start index must be a multiple of 25"),
        (f"/block/{GENESIS}/txs/25", 400, "start index out of range"),
        ("/block-height/1", 404, "Block not found"),
        ("/block-height/-1", 400, "Invalid number"),
        ("/blocks/1", 404, "Block not found"),
        ("/scripthash/12", 400, "Invalid scripthash"),
        ("/address/bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", 400, "Address on invalid network"),
        ("/address-prefix/bcrt1", 400, "address search disabled"),
        ("/block-template", 403, "mining REST endpoints are disabled"),
        ("/nowhere", 404, 'endpoint does not exist "/nowhere"'),
        ("/", 404, 'endpoint does not exist "/"'),
        ("/broadcast", 400, "Missing tx"),
    ],
)
async def test_refusals_are_plain_words(
    esplora: httpx.AsyncClient, path: str, status: int, text: str
) -> None:
    reply = await esplora.get(path)
    assert (reply.status_code, reply.text) == (status, text)
    assert reply.headers["content-type"] == "text/plain"
    assert reply.headers["access-control-allow-origin"] == "*"


async def test_a_broadcast_is_answered_with_the_txid_or_cores_words(
    esplora: httpx.AsyncClient, call: Call
) -> None:
    address = await call("getnewaddress")
    await call("generatetoaddress", 101, address)
    txid = await call("sendtoaddress", address, 1)
    raw = await call("getrawtransaction", txid)
    reply = await esplora.post("/tx", content=raw)
    assert (reply.status_code, reply.text) == (200, txid)
    for bad, words in (
        ("00", "sendrawtransaction RPC error -22: TX decode failed"),
        (b"\xff", "can't decode byte"),
        (raw[:8] + raw[8:].replace("f", "e"), "sendrawtransaction RPC error -2"),
    ):
        reply = await esplora.post("/tx", content=bad)
        assert (reply.status_code, words in reply.text) == (400, True), reply.text
    assert (await esplora.get("/tx")).status_code == 404
    for content in (b"", b"{}", b"[1]", b'["00"]', b"[" * 100_000, b'["' + b"z" * 120 + b'"]'):
        assert (await esplora.post("/txs/package", content=content)).status_code == 400
    assert (await esplora.post("/tx", content=b"0" * 1_000_001)).status_code == 413


async def test_no_path_makes_it_fail(esplora: httpx.AsyncClient) -> None:
    words = st.sampled_from(
        ["tx", "txs", "block", "blocks", "address", "scripthash", "mempool", "chain", "tip", MISSING, GENESIS]
    )
    parts = st.lists(words | st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=8))
    paths: list[str] = []

    @settings(max_examples=150, suppress_health_check=list(HealthCheck))
    @given(parts)
    def collect(found: list[str]) -> None:
        paths.append("/" + "/".join(found))

    collect()
    base = str(esplora.base_url).rstrip("/")
    for path in paths:
        for method in ("GET", "POST", "OPTIONS"):
            reply = await esplora.request(method, base + path, content=b"{}" if method == "POST" else None)
            assert reply.status_code < 500, (method, path)

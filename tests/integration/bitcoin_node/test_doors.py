"""What holds of the node's doors together: packages, hostile bytes, busy chains."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anya_actors.domain.bitcoin.address import encode_address
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.script import witness_script
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxInput, TxOutput
from anya_actors.serve.bitcoin_node.embedded import EmbeddedNode
from anya_actors.serve.bitcoin_node.http import HttpLimits, HttpServer, Reply, Request

Call = Callable[..., Awaitable[Any]]

OP_TRUE = b"\x51"
ANYBODY = witness_script(0, hashlib.sha256(OP_TRUE).digest())
"""Whoever shows OP_TRUE may spend it."""


def spend(outpoint: Outpoint, amount_sat: int) -> Transaction:
    return Transaction(2, (TxInput(outpoint, witness=(OP_TRUE,)),), (TxOutput(amount_sat, ANYBODY),))


async def a_package(call: Call) -> list[Transaction]:
    """A parent that pays nothing, and a child that pays for both."""
    first, *_ = await call("generatetoaddress", 101, encode_address(ANYBODY, Network.REGTEST))
    coinbase = Txid.from_hex((await call("getblock", first))["tx"][0])
    parent = spend(Outpoint(coinbase, 0), 5_000_000_000)
    return [parent, spend(Outpoint(parent.txid, 0), 4_999_990_000)]


async def ask_electrum(node: EmbeddedNode, *requests: tuple[str, list[Any]]) -> list[Any]:
    """The answers to requests on a fresh connection that speaks 1.6."""
    place = urlsplit(str((await node.addresses()).electrum))
    reader, writer = await asyncio.open_connection(place.hostname and str(place.hostname), place.port)
    answers = []
    for method, params in (("server.version", ["a test", "1.6"]), *requests):
        writer.write(json.dumps({"id": 1, "method": method, "params": params}).encode() + b"\n")
        answers.append(json.loads(await asyncio.wait_for(reader.readline(), 20)))
    writer.close()
    return answers[1:]


async def test_a_package_over_esplora(node: EmbeddedNode, call: Call) -> None:
    parent, child = await a_package(call)
    texts = [transaction.serialize().hex() for transaction in (parent, child)]
    async with httpx.AsyncClient(base_url=str((await node.addresses()).esplora)) as client:
        reply = await client.post("/tx", content=texts[0])
        assert (reply.status_code, "min relay fee not met" in reply.text) == (400, True)
        reply = await client.post("/txs/package", json=texts)
        result = reply.json()
        assert (reply.status_code, result["package_msg"]) == (200, "success")
        assert set(result["tx-results"]) == {str(parent.wtxid), str(child.wtxid)}
        assert await call("getrawmempool") == [str(parent.txid), str(child.txid)]
        reply = await client.post("/txs/package", json=texts[::-1])
        assert (reply.status_code, "submitpackage RPC error" in reply.text) == (400, True)


async def test_a_package_over_electrum(node: EmbeddedNode, call: Call) -> None:
    parent, child = await a_package(call)
    texts = [transaction.serialize().hex() for transaction in (parent, child)]
    name = hashlib.sha256(ANYBODY).digest()[::-1].hex()
    poor = spend(Outpoint(parent.txid, 0), 5_000_000_000).serialize().hex()
    method = "blockchain.transaction.broadcast_package"
    failed, backwards, done, verbose, waiting = await ask_electrum(
        node,
        (method, [[texts[0], poor]]),
        (method, [texts[::-1]]),
        (method, [texts]),
        (method, [texts, True]),
        ("blockchain.scripthash.get_mempool", [name]),
    )
    assert failed["result"]["success"] is False
    assert {item["txid"] for item in failed["result"]["errors"]} >= {str(parent.txid)}
    assert "rejected by network rules" in backwards["error"]["message"]
    assert done["result"] == {"success": True}
    assert verbose["result"]["package_msg"] == "success"
    # The child spends what is itself unconfirmed.
    assert [(item["tx_hash"], item["height"]) for item in waiting["result"]] == [
        (str(parent.txid), 0),
        (str(child.txid), -1),
    ]


@pytest.mark.parametrize("door", ["esplora", "bitcoin_rpc"])
async def test_no_bytes_bring_an_http_door_down(node: EmbeddedNode, door: str) -> None:
    place = urlsplit(getattr(await node.addresses(), door))
    words = "GET /blocks HTTP/1.1|POST /tx HTTP/1.1|Host: x|Content-Length: 3||abc|0|ff|Connection: close"
    words += "|Transfer-Encoding: chunked|Expect: 100-continue"
    lines = st.sampled_from(words.encode().split(b"|"))
    noises: list[bytes] = []

    @settings(max_examples=150, suppress_health_check=list(HealthCheck))
    @given(st.lists(lines | st.binary(max_size=20), max_size=8).map(b"\r\n".join) | st.binary(max_size=60))
    def collect(noise: bytes) -> None:
        noises.append(noise)

    collect()
    for noise in noises:
        reader, writer = await asyncio.open_connection(str(place.hostname), place.port)
        writer.write(noise)
        writer.write_eof()
        data = await asyncio.wait_for(reader.read(), 20)
        assert data == b"" or data.startswith((b"HTTP/1.1 2", b"HTTP/1.1 4", b"HTTP/1.1 100")), (noise, data)
        writer.close()
    async with httpx.AsyncClient(base_url=getattr(await node.addresses(), door), timeout=60.0) as client:
        assert (await client.get("/blocks/tip/height")).status_code in (200, 405)


async def test_answers_fit_one_state_of_a_chain_that_moves(node: EmbeddedNode, call: Call) -> None:
    """While blocks come and go, no answer mixes two branches and none is a fault."""
    address = await call("getnewaddress")
    hashes = await call("generatetoaddress", 40, address)
    moving = True

    async def move() -> None:
        nonlocal moving
        for block_hash in hashes[::-8]:
            await call("invalidateblock", block_hash)
            await call("generatetoaddress", 3, address)
            await call("reconsiderblock", block_hash)
        moving = False

    async def ask(client: httpx.AsyncClient) -> int:
        asked = 0
        while moving:
            history = await client.get(f"/address/{address}/txs")
            stats = await client.get(f"/address/{address}")
            blocks = await client.get("/blocks")
            assert {history.status_code, stats.status_code, blocks.status_code} == {200}
            heights = [item["status"].get("block_height") for item in history.json()]
            confirmed = [height for height in heights if height is not None]
            assert confirmed == sorted(set(confirmed), reverse=True)
            totals = stats.json()["chain_stats"]
            assert totals["funded_txo_sum"] == totals["tx_count"] * 5_000_000_000
            listed = blocks.json()
            assert all(a["previousblockhash"] == b["id"] for a, b in pairwise(listed))
            asked += 1
        return asked

    async with httpx.AsyncClient(base_url=str((await node.addresses()).esplora)) as client:
        _, asked = await asyncio.gather(move(), ask(client))
    assert asked


async def test_clients_that_never_read_do_not_hold_up_the_end(node: EmbeddedNode, call: Call) -> None:
    address = await call("getnewaddress")
    (block_hash, *_) = await call("generatetoaddress", 200, address)
    addresses = await node.addresses()
    request = json.dumps({"id": 1, "method": "blockchain.block.headers", "params": [0, 2016]}).encode()
    writers = []
    for url, ask in (
        (addresses.electrum, request + b"\n"),
        (addresses.esplora, f"GET /address/{address}/txs HTTP/1.1\r\nHost: x\r\n\r\n".encode()),
    ):
        place = urlsplit(str(url))
        _, writer = await asyncio.open_connection(str(place.hostname), place.port, limit=1)
        writer.write(ask * 1000)
        writers.append(writer)
    for _ in range(50):
        await call("getblock", block_hash)  # others are served meanwhile
    await asyncio.wait_for(node.close(), 60)
    for writer in writers:
        writer.close()


async def test_silent_clients_and_too_many_are_let_go() -> None:
    async def answer(_: Request) -> Reply:
        return Reply(HTTPStatus.OK, b"yes")

    server = HttpServer(answer, HttpLimits(idle_timeout_s=1.0, max_connections=1))
    port = await server.start("127.0.0.1", 0)
    first, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await first.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    second, other = await asyncio.open_connection("127.0.0.1", port)
    assert await asyncio.wait_for(second.read(), 60) == b""
    assert await asyncio.wait_for(first.read(), 60) == b""
    await server.close()
    writer.close()
    other.close()


async def test_a_node_comes_back_to_ports_that_no_outgoing_connection_takes(
    make_node: Callable[..., EmbeddedNode],
) -> None:
    found = []
    for _ in range(2):
        node = make_node()
        told = await node.start()
        found.append([told.bitcoin_rpc, told.esplora, told.electrum, told.zmq_rawtx])
        await node.close()
    assert found[0] == found[1]
    assert all(20_000 <= (urlsplit(str(url)).port or 0) < 32_768 for url in found[0])

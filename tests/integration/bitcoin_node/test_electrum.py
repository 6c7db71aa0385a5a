"""The Electrum protocol over TCP."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anya_actors.domain.bitcoin.address import parse_address
from anya_actors.domain.bitcoin.block import merkle_root
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.merkle_proof import MerkleBranch
from anya_actors.domain.bitcoin.network import Network
from anya_actors.serve.bitcoin_node.embedded import EmbeddedNode
from anya_actors.serve.electrum.methods import METHODS
from anya_actors.serve.electrum.server import MAX_LINE

Call = Callable[..., Awaitable[Any]]

MISSING = "00" * 31 + "01"


class Client:
    """One connection: calls, and the notifications that came between their answers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.news: list[tuple[str, list[Any]]] = []
        self._last = 0

    async def line(self) -> Any:
        return json.loads(await asyncio.wait_for(self.reader.readline(), 20))

    async def exchange(self, content: Any) -> Any:
        """Send, and give back the next line that is no notification."""
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.writer.write(data + b"\n")
        while True:
            found = await self.line()
            if isinstance(found, dict) and "method" in found:
                self.news.append((found["method"], found["params"]))
            else:
                return found

    async def call(self, method: str, *params: Any) -> Any:
        self._last += 1
        found = await self.exchange({"id": self._last, "method": method, "params": params})
        assert found["id"] == self._last
        if "error" in found:
            raise LookupError(found["error"]["code"], found["error"]["message"])
        return found["result"]

    async def next_news(self) -> tuple[str, list[Any]]:
        if not self.news:
            found = await self.line()
            self.news.append((found["method"], found["params"]))
        return self.news.pop(0)


@asynccontextmanager
async def connected(node: EmbeddedNode) -> AsyncIterator[Client]:
    place = urlsplit(str((await node.addresses()).electrum))
    reader, writer = await asyncio.open_connection(place.hostname, place.port, limit=64 << 20)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


@pytest.fixture
async def client(node: EmbeddedNode) -> AsyncIterator[Client]:
    async with connected(node) as found:
        yield found


def scripthash_of(address: str) -> str:
    return hashlib.sha256(parse_address(address, Network.REGTEST)).digest()[::-1].hex()


@pytest.mark.parametrize(
    ("wanted", "agreed"),
    [
        ("1.4", "1.4"),
        (["1.4", "1.6"], "1.6"),
        (["1.4", "1.4.3"], "1.4.3"),
        (["1.1", "1.4.0"], "1.4"),
        (["1.6", "2.0"], "1.6"),
    ],
)
async def test_the_highest_version_that_both_speak_is_agreed_on(
    client: Client, call: Call, wanted: Any, agreed: str
) -> None:
    software, version = await client.call("server.version", "a test", wanted, "more", 9)
    assert (software.startswith("anya_actors"), version) == (True, agreed)
    with pytest.raises(LookupError, match="already sent"):
        await client.call("server.version", "a test", wanted)
    assert (agreed == "1.6") == ("headers" in await client.call("blockchain.block.headers", 0, 1))
    if agreed == "1.6":
        assert set(await client.call("mempool.get_info")) == {
            "mempoolminfee",
            "minrelaytxfee",
            "incrementalrelayfee",
        }
    else:
        with pytest.raises(LookupError, match="unknown method"):
            await client.call("mempool.get_info")
    assert await client.call("blockchain.relayfee") > 0
    estimate = await call("estimatesmartfee", 6)
    assert await client.call("blockchain.estimatefee", 6) == estimate.get("feerate", -1)


@pytest.mark.parametrize("wanted", ["1.3", ["1.7", "2.0"], "x", [], ["1.4"], None, 1.4, "1.4\n"])
async def test_a_client_without_a_common_version_is_refused_and_dropped(client: Client, wanted: Any) -> None:
    with pytest.raises(LookupError, match="unsupported protocol version"):
        await client.call("server.version", "a test", wanted)
    assert await client.reader.read() == b""


async def test_what_the_server_says_of_itself(client: Client, node: EmbeddedNode) -> None:
    features = await client.call("server.features")
    port = urlsplit(str((await node.addresses()).electrum)).port
    assert features["hosts"] == {"127.0.0.1": {"tcp_port": port, "ssl_port": None}}
    assert (features["protocol_min"], features["protocol_max"], features["hash_function"]) == (
        "1.4",
        "1.6",
        "sha256",
    )
    assert "worth nothing" in await client.call("server.banner")
    assert await client.call("server.donation_address") == ""
    assert await client.call("server.peers.subscribe") == []
    assert await client.call("server.add_peer", features) is False
    assert await client.call("server.ping") is None


async def test_headers_and_their_proofs(client: Client, call: Call) -> None:
    hashes = await call("generatetoaddress", 9, await call("getnewaddress"))
    headers = [await call("getblockheader", await call("getblockhash", at), False) for at in range(10)]
    assert await client.call("blockchain.block.header", 5) == headers[5]
    found = await client.call("blockchain.block.headers", 8, 100)
    assert found == {"count": 2, "max": 2016, "hex": headers[8] + headers[9]}
    assert await client.call("blockchain.block.headers", 10, 1) == {"count": 0, "max": 2016, "hex": ""}
    all_hashes = [bytes.fromhex(await call("getblockhash", at))[::-1] for at in range(9)]
    proof = await client.call("blockchain.block.header", 5, 8)
    assert bytes.fromhex(proof["root"])[::-1] == merkle_root(all_hashes)
    branch = MerkleBranch(5, tuple(bytes.fromhex(item)[::-1] for item in proof["branch"]))
    branch.verify(bytes.fromhex(hashes[4])[::-1], merkle_root(all_hashes))
    run = await client.call("blockchain.block.headers", 3, 3, 8)
    assert (run["root"], run["branch"]) == (proof["root"], proof["branch"])
    for arguments, text in (
        ((10,), "height 10 out of range"),
        ((-1,), "-1 should be a non-negative integer"),
        (("x",), "x should be a non-negative integer"),
        ((5, 4), "require header height 5 <= cp_height 4"),
        ((5, 10), "<= chain height 9"),
    ):
        with pytest.raises(LookupError, match=text):
            await client.call("blockchain.block.header", *arguments)


async def test_a_script_from_its_first_payment_to_its_last(client: Client, call: Call) -> None:
    address = await call("getnewaddress")
    await call("generatetoaddress", 101, address)
    target = await call("getnewaddress")
    name = scripthash_of(target)
    tip = await client.call("blockchain.headers.subscribe")
    assert tip["height"] == 101
    assert await client.call("blockchain.scripthash.subscribe", name) is None
    assert await client.call("blockchain.scripthash.get_history", name) == []

    txid = await call("sendtoaddress", target, 1.5)
    status = hashlib.sha256(f"{txid}:0:".encode()).hexdigest()
    assert await client.next_news() == ("blockchain.scripthash.subscribe", [name, status])
    fee = round((await call("getmempoolentry", txid))["fees"]["base"] * 100_000_000)
    waiting = [{"tx_hash": txid, "height": 0, "fee": fee}]
    assert await client.call("blockchain.scripthash.get_mempool", name) == waiting
    assert await client.call("blockchain.scripthash.get_history", name) == waiting
    balance = {"confirmed": 0, "unconfirmed": 150_000_000}
    assert await client.call("blockchain.scripthash.get_balance", name) == balance
    (unspent,) = await client.call("blockchain.scripthash.listunspent", name)
    assert (unspent["tx_hash"], unspent["height"], unspent["value"]) == (txid, 0, 150_000_000)
    raw = await call("getrawtransaction", txid)
    assert await client.call("blockchain.transaction.get", txid) == raw
    assert (await client.call("blockchain.transaction.get", txid, True))["txid"] == txid
    assert await client.call("blockchain.transaction.broadcast", raw) == txid
    ((rate, size),) = await client.call("mempool.get_fee_histogram")
    assert (rate * size <= fee, size) == (True, (await call("getmempoolentry", txid))["vsize"])

    (block_hash,) = await call("generatetoaddress", 1, address)
    told = dict([await client.next_news() for _ in range(2)])
    header = await call("getblockheader", block_hash, False)
    assert told["blockchain.headers.subscribe"] == [{"hex": header, "height": 102}]
    status = hashlib.sha256(f"{txid}:102:".encode()).hexdigest()
    assert told["blockchain.scripthash.subscribe"] == [name, status]
    history = await client.call("blockchain.scripthash.get_history", name)
    assert history == [{"tx_hash": txid, "height": 102}]
    balance = {"confirmed": 150_000_000, "unconfirmed": 0}
    assert await client.call("blockchain.scripthash.get_balance", name) == balance
    proof = await client.call("blockchain.transaction.get_merkle", txid, 102)
    assert (proof["block_height"], proof["pos"]) == (102, 1)
    block = await call("getblock", block_hash)
    branch = MerkleBranch(1, tuple(bytes.fromhex(item)[::-1] for item in proof["merkle"]))
    branch.verify(Txid.from_hex(txid), bytes.fromhex(block["merkleroot"])[::-1])
    assert await client.call("blockchain.transaction.id_from_pos", 102, 1) == txid
    with_proof = await client.call("blockchain.transaction.id_from_pos", 102, 1, True)
    assert with_proof == {"tx_hash": txid, "merkle": proof["merkle"]}

    await call("invalidateblock", block_hash)
    told = dict([await client.next_news() for _ in range(2)])
    assert told["blockchain.headers.subscribe"][0]["height"] == 101
    status = hashlib.sha256(f"{txid}:0:".encode()).hexdigest()
    assert told["blockchain.scripthash.subscribe"] == [name, status]
    assert await client.call("blockchain.scripthash.unsubscribe", name) is True
    assert await client.call("blockchain.scripthash.unsubscribe", name) is False
    await call("reconsiderblock", block_hash)
    assert (await client.next_news())[0] == "blockchain.headers.subscribe"
    assert await client.call("server.ping") is None
    assert client.news == []


@pytest.mark.parametrize(
    ("method", "params", "code", "text"),
    [
        ("nothing", [], -32601, 'unknown method "nothing"'),
        ("blockchain.scripthash.get_balance", [], -32602, "missing a required argument"),
        ("blockchain.scripthash.get_balance", ["00"], 1, "00 is not a valid script hash"),
        ("blockchain.scripthash.get_balance", [7], 1, "7 is not a valid script hash"),
        ("blockchain.scripthash.get_balance", ["00", "00"], -32602, "too many positional arguments"),
        ("blockchain.transaction.get", ["zz"], 1, "zz should be a transaction hash"),
        ("blockchain.transaction.get", [MISSING], 2, "No such mempool or blockchain transaction"),
        ("blockchain.transaction.get", [MISSING, "yes"], 1, '"verbose" must be a boolean'),
        ("blockchain.transaction.get_merkle", [MISSING, 0], 1, "not in block at height 0"),
        ("blockchain.transaction.get_merkle", [MISSING, 9], 1, "height 9 out of range"),
        ("blockchain.transaction.id_from_pos", [0, 1], 1, "no tx at position 1 in block at height 0"),
        ("blockchain.transaction.broadcast", ["zz"], 1, "zz should be a hex string"),
        ("blockchain.transaction.broadcast", ["00"], 1, "rejected by network rules.\n\nTX decode failed"),
        ("blockchain.estimatefee", [6, "sloppy"], 2, "Invalid estimate_mode parameter"),
        ("blockchain.estimatefee", [True], 1, "should be a non-negative integer"),
    ],
)
async def test_each_refusal_has_its_code_and_words(
    client: Client, method: str, params: list[Any], code: int, text: str
) -> None:
    with pytest.raises(LookupError) as caught:
        await client.call(method, *params)
    assert (caught.value.args[0], text in caught.value.args[1]) == (code, True), caught.value.args


async def test_requests_come_alone_in_batches_by_name_or_unasked(client: Client) -> None:
    first = {"id": 1, "method": "server.ping"}
    ok = {"jsonrpc": "2.0", "result": None, "id": 1}
    assert await client.exchange([first, {"method": "server.ping"}, 5]) == [
        ok,
        {"jsonrpc": "2.0", "error": {"code": -32600, "message": "a request is an object"}, "id": None},
    ]
    named = {"id": "x", "method": "blockchain.block.header", "params": {"height": 0}}
    assert len((await client.exchange(named))["result"]) == 160
    named["params"] = {"session": 0, "height": 0}
    assert (await client.exchange(named))["error"]["code"] == -32602
    assert (await client.exchange([]))["error"]["code"] == -32600
    assert (await client.exchange({"id": 1, "method": "server.ping", "params": 5}))["error"]["code"] == -32600
    assert (await client.exchange({"id": [], "method": "server.ping"}))["error"]["code"] == -32600
    assert (await client.exchange({"id": 1, "method": 1}))["error"]["code"] == -32600
    for noise in (b"", b"{", b"\xff\xfe", b"[" * 100_000, b'"\\ud800"'):
        assert (await client.exchange(noise))["error"]["code"] in (-32700, -32600)
    # Many lines at once are answered one by one.
    client.writer.write((json.dumps(first).encode() + b"\n") * 200)
    assert [await client.line() for _ in range(200)] == [ok] * 200


async def test_a_large_batch_leaves_others_their_turn(client: Client, node: EmbeddedNode) -> None:
    async with connected(node) as other:
        calls = [{"id": at, "method": "blockchain.block.headers", "params": [0, 1]} for at in range(10_000)]
        batch = asyncio.create_task(client.exchange(calls))
        await asyncio.sleep(0)
        answers = 0
        while not batch.done():
            await other.call("server.ping")
            answers += 1
        assert len(await batch) == len(calls)
        assert answers > 10


async def test_too_long_a_line_ends_the_connection_alone(client: Client, node: EmbeddedNode) -> None:
    client.writer.write(b"x" * (MAX_LINE + 100_000))
    assert (await client.line())["error"]["message"] == "the request is too long"
    assert await client.reader.read() == b""
    async with connected(node) as other:
        assert await other.call("server.ping") is None


async def test_a_reply_that_would_be_too_large_is_refused(client: Client, call: Call) -> None:
    await call("generatetoaddress", 200, await call("getnewaddress"))
    ask = {"id": 1, "method": "blockchain.block.headers", "params": [0, 2016]}
    answers = await client.exchange([ask] * 600)
    refused = [item for item in answers if "error" in item]
    assert 0 < len(refused) < 600
    assert {item["error"]["message"] for item in refused} == {"the response is too large"}


async def test_a_client_that_does_not_read_holds_up_nobody(node: EmbeddedNode, call: Call) -> None:
    address = await call("getnewaddress")
    name = scripthash_of(address)
    async with connected(node) as deaf, connected(node) as other:
        await deaf.call("blockchain.scripthash.subscribe", name)
        ask = json.dumps({"id": 1, "method": "blockchain.block.headers", "params": [0, 2016]}).encode()
        for _ in range(200):
            deaf.writer.write(ask + b"\n")
        await other.call("blockchain.scripthash.subscribe", name)
        for height in range(1, 6):
            await call("generatetoaddress", 1, address)
            assert (await other.next_news())[0] == "blockchain.scripthash.subscribe"
            assert len(await other.call("blockchain.scripthash.get_history", name)) == height


async def test_no_bytes_bring_the_server_down(node: EmbeddedNode) -> None:
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=70),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=6,
    )
    hashes = st.sampled_from([MISSING, "ab" * 32])
    requests = st.fixed_dictionaries(
        {"method": st.sampled_from(sorted(METHODS)) | values},
        optional={
            "id": values,
            "jsonrpc": values,
            "params": st.lists(values | hashes | st.integers(0, 3), max_size=4)
            | st.dictionaries(st.sampled_from(["scripthash", "height", "tx_hash"]), values, max_size=3),
        },
    )
    lines: list[bytes] = []

    @settings(max_examples=300, suppress_health_check=list(HealthCheck))
    @given(
        st.binary(max_size=100)
        | requests.map(lambda found: json.dumps(found).encode())
        | st.lists(requests, max_size=3).map(lambda found: json.dumps(found).encode())
    )
    def collect(line: bytes) -> None:
        lines.append(line)

    collect()
    for line in lines:
        async with connected(node) as client:
            client.writer.write(line.replace(b"\n", b" ") + b"\n" + b'{"id":"end","method":"server.ping"}\n')
            while True:
                data = await asyncio.wait_for(client.reader.readline(), 20)
                if not data:  # it asked for a version that nobody speaks
                    break
                found = json.loads(data)
                assert b'"code":-32603' not in data, (line, data)
                if isinstance(found, dict) and found.get("id") == "end":
                    break
    async with connected(node) as client:
        assert await client.call("server.ping") is None

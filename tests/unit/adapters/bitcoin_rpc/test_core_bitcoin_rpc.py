"""The adapter against answers as Bitcoin Core gives them, and as others might."""

from __future__ import annotations

import asyncio
import base64
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.adapters.bitcoin_rpc import CoreBitcoinRpc
from anya_actors.adapters.bitcoin_rpc.node import amount_sat_of
from anya_actors.adapters.bitcoin_rpc.refusals import refusal_of
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.domain.bitcoin.amount import MAX_MONEY_SAT, format_btc
from anya_actors.domain.bitcoin.hashes import BlockHash, Txid
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxInput, TxOutput
from anya_actors.domain.machine import AnyaError, InvalidInputError, NotSupportedError
from anya_actors.ports.bitcoin_rpc import (
    BlockNotFoundError,
    BroadcastRejectedError,
    MalformedReplyError,
    NodeAuthenticationError,
    NodeBusyError,
    NodeFaultError,
    NodeNotSyncedError,
    NodePeersError,
    NodeUnreachableError,
    NodeWalletError,
    NodeWarmingUpError,
    NodeWithoutMempoolError,
    RefusedArgumentsError,
    RefusedRequestError,
    RpcRefusedError,
    TransactionNotFoundError,
)
from anya_actors.serve.errors import status_of
from anya_actors.testing.clock import ManualClock

Answer = Callable[[str, list[Any], httpx.Request], httpx.Response | Exception]

TRANSACTION = Transaction(2, (TxInput(Outpoint(Txid(bytes(32)), 0)),), (TxOutput(1000, b"\x51"),))
# Block 1 of the main chain, as Core's getblockheader shows it.
HEADER_1 = {
    "hash": "00000000839a8e6886ab5951d76f411475428afc90947ee320161bbf18eb6048",
    "confirmations": 900_000,
    "height": 1,
    "version": 1,
    "versionHex": "00000001",
    "merkleroot": "0e3e2357e806b6cdb1f70b54c3a3a17b6714ee1f0e68bebb44a74b1efd512098",
    "time": 1231469665,
    "mediantime": 1231469665,
    "nonce": 2573394689,
    "bits": "1d00ffff",
    "difficulty": 1,
    "previousblockhash": "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
}


def result(value: Any) -> httpx.Response:
    return httpx.Response(200, content=orjson.dumps({"jsonrpc": "2.0", "id": 1, "result": value}))


def refusal(code: int, message: str, status: int = 200) -> httpx.Response:
    error = {"code": code, "message": message}
    return httpx.Response(status, content=orjson.dumps({"id": 1, "result": None, "error": error}))


class FakeCore:
    """Answers each call by a function; ``asked`` lists the methods."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        call = orjson.loads(request.content)
        self.asked.append(call["method"])
        answer = self.answer(call["method"], call["params"], request)
        if isinstance(answer, Exception):
            raise answer
        return answer


class FakeBody(FakeCore):
    """Answers every request with the same bytes."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def __call__(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=self._body)


def rpc_to(core: FakeCore, clock: ManualClock | None = None, **options: Any) -> CoreBitcoinRpc:
    url = options.pop("url", "http://alice:secret-word@127.0.0.1:18443/")
    return CoreBitcoinRpc(
        url,
        clock=clock or ManualClock(),
        randomness=SystemRandomness(),
        transport=httpx.MockTransport(core),
        **options,
    )


async def with_time(clock: ManualClock, work: Any) -> Any:
    task = asyncio.ensure_future(work)
    while not task.done():
        await clock.advance(0.5)
    return await task


async def test_a_header_is_rebuilt_and_checked_against_the_hash_asked_for() -> None:
    rpc = rpc_to(FakeCore(lambda *_: result(HEADER_1)))
    found = await rpc.header(BlockHash.from_hex(str(HEADER_1["hash"])))
    assert (found.height, str(found.header.hash)) == (1, HEADER_1["hash"])
    with pytest.raises(MalformedReplyError, match="hash asked for"):
        await rpc.header(BlockHash(bytes(32)))
    await rpc.close()


@pytest.mark.parametrize(
    ("code", "message", "error"),
    [
        (-28, "Loading block index…", NodeWarmingUpError),
        (-32601, "Method not found", NotSupportedError),
        (-5, "Block not found", BlockNotFoundError),
        (-8, "Block height out of range", BlockNotFoundError),
        (-1, "Block not available (pruned data)", BlockNotFoundError),
        (-1, "something else", RpcRefusedError),
        (-32603, "Internal error", NodeFaultError),
    ],
)
@pytest.mark.parametrize("status", [200, 500, 404])
async def test_every_error_code_of_core_has_its_own_error(
    code: int, message: str, error: type[AnyaError], status: int
) -> None:
    rpc = rpc_to(FakeCore(lambda *_: refusal(code, message, status)))
    with pytest.raises(error):
        await rpc.block(BlockHash(bytes(32)))
    await rpc.close()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (-26, "min relay fee not met, 0 < 141"),
        (-26, "txn-mempool-conflict"),
        (-25, "bad-txns-inputs-missingorspent"),
        (-25, "Fee exceeds maximum configured by user (e.g. -maxtxfee, maxfeerate)"),
        (-22, "TX decode failed. Make sure the tx has at least one input."),
    ],
)
async def test_a_rejected_broadcast_carries_cores_reason(code: int, reason: str) -> None:
    rpc = rpc_to(FakeCore(lambda *_: refusal(code, reason)))
    with pytest.raises(BroadcastRejectedError) as raised:
        await rpc.broadcast(TRANSACTION)
    assert raised.value.reason == reason
    await rpc.close()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (-27, "Transaction already in block chain"),
        (-27, "Transaction outputs already in utxo set"),
        (-26, "txn-already-in-mempool"),
        (-26, "txn-already-known"),
    ],
)
async def test_a_transaction_that_the_node_has_already_counts_as_taken(code: int, reason: str) -> None:
    rpc = rpc_to(FakeCore(lambda *_: refusal(code, reason)))
    await rpc.broadcast(TRANSACTION)
    await rpc.close()


async def test_an_unknown_transaction_is_told_as_such() -> None:
    text = "No such mempool or blockchain transaction. Use gettransaction for wallet transactions."
    rpc = rpc_to(FakeCore(lambda *_: refusal(-5, text)))
    with pytest.raises(TransactionNotFoundError):
        await rpc.transaction(Txid(bytes(32)))
    await rpc.close()


async def test_a_transaction_other_than_the_one_asked_for_is_not_believed() -> None:
    rpc = rpc_to(FakeCore(lambda *_: result({"hex": TRANSACTION.serialize().hex()})))
    found = await rpc.transaction(TRANSACTION.txid)
    assert (found.transaction, found.block_hash, found.confirmations) == (TRANSACTION, None, 0)
    with pytest.raises(MalformedReplyError):
        await rpc.transaction(Txid(bytes(32)))
    await rpc.close()


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(200, content=b"<html>It works!</html>"),
        httpx.Response(200, content=b""),
        httpx.Response(200, content=b"[]"),
        httpx.Response(200, content=b"null"),
        httpx.Response(200, content=b"{}"),
        httpx.Response(200, content=b'{"id":1,"error":"no"}'),
        httpx.Response(200, content=b'{"id":1,"error":{"code":"x"}}'),
        httpx.Response(404, content=b""),
        result({"chain": "main"}),
        result(7),
        result({"chain": "main", "blocks": 1, "headers": 1, "bestblockhash": "zz", "mediantime": 1}),
    ],
)
async def test_what_is_no_answer_of_a_node_is_told_as_such(response: httpx.Response) -> None:
    rpc = rpc_to(FakeCore(lambda *_: response))
    with pytest.raises(MalformedReplyError):
        await rpc.chain_info()
    await rpc.close()


async def test_a_lost_connection_is_tried_again_with_pauses() -> None:
    clock = ManualClock()
    answers: list[Any] = [httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), result("00" * 32)]
    core = FakeCore(lambda *_: answers.pop(0))
    rpc = rpc_to(core, clock)
    assert await with_time(clock, rpc.block_hash(0)) == BlockHash(bytes(32))
    assert len(core.asked) == 3
    await rpc.close()


async def test_a_full_queue_is_tried_again_and_then_told() -> None:
    clock = ManualClock()
    core = FakeCore(lambda *_: httpx.Response(503, content=b"Work queue depth exceeded"))
    rpc = rpc_to(core, clock)
    with pytest.raises(NodeBusyError):
        await with_time(clock, rpc.block_hash(0))
    assert len(core.asked) == 4
    await rpc.close()


async def test_mining_is_never_tried_again() -> None:
    core = FakeCore(lambda *_: httpx.ReadTimeout("slow"))
    rpc = rpc_to(core)
    with pytest.raises(NodeUnreachableError):
        await rpc.generate_to_address(1, "bcrt1q")
    assert core.asked == ["generatetoaddress"]
    await rpc.close()


async def test_a_node_that_never_answers_is_left_in_peace_and_asked_again_later() -> None:
    clock = ManualClock()
    alive = False
    core = FakeCore(lambda *_: result("00" * 32) if alive else httpx.ConnectError("refused"))
    rpc = rpc_to(core, clock)
    for _ in range(2):
        with pytest.raises(NodeUnreachableError):
            await with_time(clock, rpc.block_hash(0))
    asked = len(core.asked)
    with pytest.raises(NodeUnreachableError, match="in a row"):
        await rpc.block_hash(0)
    assert len(core.asked) == asked
    alive = True
    await clock.advance(1.0)
    assert await rpc.block_hash(0) == BlockHash(bytes(32))
    await rpc.close()


async def test_credentials_stand_in_no_error_and_no_repr() -> None:
    clock = ManualClock()
    rpc = rpc_to(FakeCore(lambda *_: httpx.ConnectError("refused")), clock)
    with pytest.raises(NodeUnreachableError) as raised:
        await with_time(clock, rpc.chain_info())
    for text in (str(raised.value), repr(raised.value), repr(rpc)):
        assert "secret-word" not in text
        assert "alice" not in text
    assert "http://127.0.0.1:18443" in str(raised.value)
    await rpc.close()


async def test_user_and_password_of_the_url_are_sent_as_basic_authentication() -> None:
    heads: list[str] = []

    def answer(_: str, __: list[Any], request: httpx.Request) -> httpx.Response:
        heads.append(request.headers["Authorization"])
        return result("00" * 32)

    rpc = rpc_to(FakeCore(answer))
    await rpc.block_hash(0)
    assert heads == ["Basic " + base64.b64encode(b"alice:secret-word").decode()]
    await rpc.close()


async def test_wrong_credentials_are_told_once_and_not_repeated() -> None:
    core = FakeCore(lambda *_: httpx.Response(401))
    rpc = rpc_to(core)
    with pytest.raises(NodeAuthenticationError, match="password is wrong"):
        await rpc.chain_info()
    assert len(core.asked) == 1
    await rpc.close()


async def test_the_cookie_is_read_again_when_the_node_has_restarted(tmp_path: Path) -> None:
    cookie = tmp_path / ".cookie"
    cookie.write_text("__cookie__:first")
    valid = "__cookie__:first"

    def answer(_: str, __: list[Any], request: httpx.Request) -> httpx.Response:
        expected = "Basic " + base64.b64encode(valid.encode()).decode()
        if request.headers["Authorization"] != expected:
            return httpx.Response(401)
        return result("00" * 32)

    core = FakeCore(answer)
    rpc = rpc_to(core, url="http://127.0.0.1:18443", cookie_path=cookie)
    await rpc.block_hash(0)
    valid = "__cookie__:second"
    cookie.write_text(valid)
    await rpc.block_hash(0)
    assert len(core.asked) == 3
    valid = "__cookie__:third"
    with pytest.raises(NodeAuthenticationError, match="not the node's") as raised:
        await rpc.block_hash(0)
    assert "second" not in str(raised.value)
    cookie.unlink()
    with pytest.raises(NodeAuthenticationError, match="cannot be read"):
        await rpc.block_hash(0)
    cookie.write_text(valid)
    await rpc.block_hash(0)
    await rpc.close()


@pytest.mark.parametrize("url", ["", "127.0.0.1:1", "ftp://x", "http://", "http://[::1", "file:///etc"])
def test_a_url_that_names_no_node_is_refused(url: str) -> None:
    with pytest.raises(InvalidInputError):
        rpc_to(FakeCore(lambda *_: result(None)), url=url)


async def test_an_unspent_output_comes_with_its_exact_amount() -> None:
    answer = {
        "bestblock": "00" * 32,
        "confirmations": 3,
        "value": 20999999.97690000,
        "scriptPubKey": {"asm": "1", "hex": "51", "type": "nonstandard"},
        "coinbase": True,
    }
    rpc = rpc_to(FakeCore(lambda *_: result(answer)))
    found = await rpc.utxo(Outpoint(Txid(bytes(32)), 0))
    assert found is not None
    assert (found.amount_sat, found.script_pubkey, found.coinbase) == (2_099_999_997_690_000, b"\x51", True)
    await rpc.close()
    spent = rpc_to(FakeCore(lambda *_: result(None)))
    assert await spent.utxo(Outpoint(Txid(bytes(32)), 0)) is None
    await spent.close()


@pytest.mark.parametrize(
    ("answer", "feerate"),
    [
        ({"feerate": 0.00001000, "blocks": 6}, 1),
        ({"feerate": 0.00012345, "blocks": 6}, 13),
        ({"feerate": 0.00000001, "blocks": 6}, 1),
        ({"errors": ["Insufficient data or no feerate found"], "blocks": 6}, None),
        ({"feerate": -1, "blocks": 6}, None),
    ],
)
async def test_a_feerate_is_rounded_up_to_whole_satoshis(answer: Any, feerate: int | None) -> None:
    rpc = rpc_to(FakeCore(lambda *_: result(answer)))
    assert await rpc.estimate_feerate(6) == feerate
    await rpc.close()


@given(st.integers(0, MAX_MONEY_SAT))
def test_every_amount_survives_the_double_that_the_json_parser_makes_of_it(amount_sat: int) -> None:
    value = orjson.loads(format_btc(amount_sat))
    assert amount_sat_of(float(value)) == amount_sat


@given(st.binary(max_size=200), st.sampled_from([200, 401, 500, 503]))
async def test_whatever_bytes_answer_only_our_own_errors_come_out(body: bytes, status: int) -> None:
    clock = ManualClock()
    rpc = rpc_to(FakeCore(lambda *_: httpx.Response(status, content=body)), clock)
    with pytest.raises(AnyaError):
        await with_time(clock, rpc.chain_info())
    await rpc.close()


# rpc/protocol.h of Bitcoin Core 30, whole; the ones with a meaning of their own stand above.
@pytest.mark.parametrize(
    ("codes", "error"),
    [
        ((-3, -5, -8, -22, -32602), RefusedArgumentsError),
        ((-32700, -32600), RefusedRequestError),
        ((-7, -20, -32603), NodeFaultError),
        ((-23, -24, -29, -30, -31, -34), NodePeersError),
        ((-33,), NodeWithoutMempoolError),
        ((-4, -6, -11, -12, -13, -14, -15, -16, -17, -18, -19, -35, -36), NodeWalletError),
        ((-9, -10), NodeNotSyncedError),
        ((-28,), NodeWarmingUpError),
        ((-32, -32601), NotSupportedError),
        ((-1, -25, -26, -27, -777), RpcRefusedError),
    ],
)
def test_every_code_of_cores_protocol_has_an_error_that_tells_the_remedy(
    codes: tuple[int, ...], error: type[AnyaError]
) -> None:
    for code in codes:
        found = refusal_of("http://node", "getblock", code, "because")
        assert type(found) is error
        assert status_of(error) in (501, 502, 503)
        assert found.remedy in str(found)
        assert str(pickle.loads(pickle.dumps(found))) == str(found)


class BatchingCore(FakeCore):
    """Answers batches, in another order than asked, as JSON-RPC 2.0 allows."""

    def __call__(self, request: httpx.Request) -> httpx.Response:
        calls = orjson.loads(request.content)
        self.asked.append(calls[0]["method"])
        answers = [{"id": call["id"]} | self._one(call, request) for call in calls]
        return httpx.Response(200, content=orjson.dumps(answers[::-1]))

    def _one(self, call: Any, request: httpx.Request) -> Any:
        return self.answer(call["method"], call["params"], request)


async def test_many_heights_are_asked_for_in_batches_and_end_where_the_chain_ends() -> None:
    def answer(_: str, params: list[Any], __: httpx.Request) -> Any:
        if params[0] > 205:
            return {"error": {"code": -8, "message": "Block height out of range"}}
        return {"result": f"{params[0]:064x}"}

    core = BatchingCore(answer)
    rpc = rpc_to(core)
    found = await rpc.block_hashes(range(3, 400))
    assert [int(str(block_hash), 16) for block_hash in found] == list(range(3, 206))
    assert len(core.asked) == 4
    await rpc.close()


async def test_of_many_transactions_those_that_are_gone_are_left_out() -> None:
    def answer(_: str, params: list[Any], __: httpx.Request) -> Any:
        if params[0] == "00" * 32:
            return {"error": {"code": -5, "message": "No such mempool or blockchain transaction."}}
        return {"result": {"hex": TRANSACTION.serialize().hex()}}

    rpc = rpc_to(BatchingCore(answer))
    (found,) = await rpc.transactions([Txid(bytes(32)), TRANSACTION.txid])
    assert found.transaction == TRANSACTION
    with pytest.raises(MalformedReplyError):
        await rpc.transactions([Txid(b"\x01" * 32)])
    await rpc.close()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"error": {"code": -28, "message": "Loading block index…"}}, NodeWarmingUpError),
        ({"error": {"code": -20, "message": "Database error"}}, NodeFaultError),
        ({"error": "no"}, MalformedReplyError),
        ({"result": 7}, MalformedReplyError),
        ({}, MalformedReplyError),
    ],
)
async def test_a_batch_with_an_answer_that_is_none_fails_whole(answer: Any, error: type[AnyaError]) -> None:
    rpc = rpc_to(BatchingCore(lambda *_: answer))
    with pytest.raises(error):
        await rpc.block_hashes(range(2))
    await rpc.close()


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"null", b"[7]", b'[{"id":0}]', b"<html>"])
async def test_what_is_no_batch_of_answers_is_told_as_such(body: bytes) -> None:
    rpc = rpc_to(FakeBody(body))
    with pytest.raises(MalformedReplyError):
        await rpc.block_hashes(range(1))
    await rpc.close()


async def test_a_lost_batch_is_tried_again() -> None:
    clock = ManualClock()
    answers: list[Any] = [httpx.ReadError("reset"), {"result": "00" * 32}]

    def answer(*_: object) -> Any:
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    rpc = rpc_to(BatchingCore(answer), clock)
    assert await with_time(clock, rpc.block_hashes(range(1))) == [BlockHash(bytes(32))]
    await rpc.close()

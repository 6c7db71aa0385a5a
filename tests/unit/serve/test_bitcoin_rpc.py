"""Requests of JSON-RPC: whatever comes in, an answer goes out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.machine import UnavailableError
from anya_actors.serve.bitcoin_rpc.arguments import Arguments
from anya_actors.serve.bitcoin_rpc.context import Method, RpcContext
from anya_actors.serve.bitcoin_rpc.describe import btc
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError
from anya_actors.serve.bitcoin_rpc.json_rpc import JsonRpc
from anya_actors.serve.bitcoin_rpc.methods import METHODS
from anya_actors.serve.bitcoin_rpc.signature import Signature, json_type
from anya_actors.services.bitcoin_node.service import BitcoinNodeService
from anya_actors.testing.clock import ManualClock

CONTEXT = RpcContext(cast(BitcoinNodeService, None), ManualClock(0), lambda: None)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=70),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
requests = st.fixed_dictionaries(
    {},
    optional={
        "id": values,
        "jsonrpc": st.sampled_from(["1.0", "1.1", "2.0", "3.0", None, 2]),
        "method": st.sampled_from([*METHODS, "nothing"]) | values,
        "params": st.lists(values, max_size=4)
        | st.dictionaries(st.sampled_from(["txid", "height"]), values)
        | values,
    },
)


async def _echo(_: RpcContext, arguments: Arguments) -> Any:
    return [arguments.integer("number"), btc(arguments.amount_sat("amount"))]


async def _members(_: RpcContext, arguments: Arguments) -> Any:
    return [arguments.text("text"), sorted(arguments.options("options").members())]


async def _faulty(_: RpcContext, __: Arguments) -> Any:
    raise ZeroDivisionError("a fault with a secret in its text")


async def _refusing(_: RpcContext, __: Arguments) -> Any:
    raise UnavailableError("the engine", "it rests")


def _rpc(methods: Mapping[str, Method]) -> JsonRpc:
    return JsonRpc(CONTEXT, methods)


ECHO = {
    "echo": Method(Signature(("number:number", "amount|sum"), 1), _echo),
    "options": Method(Signature(("text:string", "options:object{rate,height}"), 0), _members),
    "faulty": Method(Signature((), 0), _faulty),
    "refusing": Method(Signature((), 0), _refusing),
}


def _ask(request: Any) -> Any:
    body = request if isinstance(request, bytes) else msgspec.json.encode(request)
    return msgspec.json.decode(asyncio.run(_rpc(ECHO).answer(body)).body)


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=200) | requests.map(msgspec.json.encode) | st.lists(requests).map(msgspec.json.encode)
)
def test_any_body_gets_an_answer(body: bytes) -> None:
    reply = asyncio.run(
        _rpc({name: Method(found.signature, _faulty) for name, found in METHODS.items()}).answer(body)
    )
    assert reply.status in (200, 204, 400, 404, 500)
    assert (reply.body == b"") == (reply.status == 204)
    if reply.body:
        msgspec.json.decode(reply.body)


def test_decimals_pass_through_exactly() -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"echo","params":{"number":3,"sum":20999999.99999999}}'
    reply = asyncio.run(_rpc(ECHO).answer(body))
    assert reply.body == b'{"jsonrpc":"2.0","result":[3,20999999.99999999],"id":1}\n'
    body = b'{"id":1,"method":"echo","params":[3,"0.00000001"]}'
    assert b"[3,0.00000001]" in asyncio.run(_rpc(ECHO).answer(body)).body


def test_a_fault_tells_the_caller_nothing_of_itself() -> None:
    answer = _ask({"id": 1, "method": "faulty"})
    assert answer["error"] == {"code": -32603, "message": "Internal error"}
    assert _ask({"id": 1, "method": "refusing"})["error"]["code"] == -1


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ([], -1),
        ([1, 2, 3], -1),
        (["1"], -3),
        ([True], -3),
        ([1.5], -1),
        ([1 << 31], -1),
        ([1, -1], -3),
        ([1, 21_000_001], -3),
        ([1, "x"], -3),
        ([1, []], -3),
        ({"number": 1, "amount": 1, "sum": 1}, -8),
        ({"number": 1, "args": [1]}, -8),
        ({"args": 5}, -1),
        ({"args": [1, 2], "amount": 1}, -8),
        ({"number": 1, "other": 1}, -8),
    ],
)
def test_wrong_arguments_are_refused(params: Any, code: int) -> None:
    assert _ask({"id": 1, "method": "echo", "params": params})["error"]["code"] == code


def test_arguments_may_be_named_and_placed_together() -> None:
    assert _ask({"id": 1, "method": "echo", "params": {"args": [7], "amount": 1}})["result"] == [7, 1.0]


def test_members_of_options_may_be_named_beside_them() -> None:
    def options(params: Any) -> Any:
        return _ask({"id": 1, "method": "options", "params": params})

    assert options({"rate": 1, "text": "a"})["result"] == ["a", ["rate"]]
    assert options(["a", {"height": 1}])["result"] == ["a", ["height"]]
    error = options({"rate": 1, "options": {}})["error"]
    assert error == {"code": -8, "message": "Parameter options conflicts with parameter rate"}
    error = options([1, []])["error"]
    assert error["code"] == -3
    assert msgspec.json.decode(error["message"].removeprefix("Wrong type passed:\n")) == {
        "Position 1 (text)": "JSON value of type number is not of expected type string",
        "Position 2 (options)": "JSON value of type array is not of expected type object",
    }
    assert options([1, {}, 2])["error"] == {"code": -1, "message": '_members ( "text" {options} )'}


def test_hashes_addresses_and_flags_are_read_strictly() -> None:
    arguments = Arguments({"txid": "0" * 63 + "g", "address": "nonsense", "flag": 1, "verbosity": True})
    with pytest.raises(RpcError, match="must be hexadecimal"):
        arguments.hash("txid", Txid)
    with pytest.raises(RpcError, match="Bad address"):
        arguments.script_of_address("address", Network.REGTEST, "Bad address")
    with pytest.raises(RpcError, match="expected type bool"):
        arguments.flag("flag", False)
    assert arguments.verbosity("verbosity", 0) == 1
    examples: list[Any] = [True, "", 1, Decimal(1), [], {}, None]
    assert [json_type(value) for value in examples] == [
        "bool",
        "string",
        "number",
        "number",
        "array",
        "object",
        "null",
    ]


def test_every_method_declares_its_parameters_once() -> None:
    for name, found in METHODS.items():
        assert found.handler.__name__ == name
        assert found.signature.required <= len(found.signature.names)
        assert len(set(found.signature.names)) == len(found.signature.names)
    assert int(RpcCode.METHOD_NOT_FOUND) == -32601


async def test_a_large_batch_leaves_others_their_turn() -> None:
    """A batch of 300,000 calls held up the node for a minute, and it was taken for dead."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    waiting = asyncio.create_task(other())
    calls = [{"id": place, "method": "echo", "params": [place, 1]} for place in range(1600)]
    reply = await _rpc(ECHO).answer(msgspec.json.encode(calls))
    waiting.cancel()
    assert len(msgspec.json.decode(reply.body)) == 1600
    assert turns >= 100

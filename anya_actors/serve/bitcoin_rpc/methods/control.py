"""The node itself: its network, its time, and stopping it."""

from __future__ import annotations

from typing import Any, Final

from anya_actors.domain.bitcoin.address import parse_address
from anya_actors.domain.bitcoin.errors import AddressError
from anya_actors.domain.bitcoin.mempool_policy import MIN_RELAY_FEERATE_SAT_PER_KVB
from anya_actors.domain.bitcoin.script import ScriptType, classify, witness_program
from anya_actors.serve.bitcoin_rpc.arguments import Arguments
from anya_actors.serve.bitcoin_rpc.context import VERSION, Method, RpcContext, method
from anya_actors.serve.bitcoin_rpc.describe import NETWORK, btc


async def getnetworkinfo(_: RpcContext, __: Arguments) -> Any:
    return {
        "version": VERSION,
        "subversion": "/Satoshi:30.0.0(anya-actors)/",
        "protocolversion": 70016,
        "localservices": "0000000000000000",
        "localservicesnames": [],
        "localrelay": False,
        "timeoffset": 0,
        "networkactive": False,
        "connections": 0,
        "connections_in": 0,
        "connections_out": 0,
        "networks": [],
        "relayfee": btc(MIN_RELAY_FEERATE_SAT_PER_KVB),
        "incrementalfee": btc(MIN_RELAY_FEERATE_SAT_PER_KVB),
        "localaddresses": [],
        "warnings": [],
    }


async def getconnectioncount(_: RpcContext, __: Arguments) -> Any:
    return 0


async def getpeerinfo(_: RpcContext, __: Arguments) -> Any:
    return []


async def uptime(context: RpcContext, _: Arguments) -> Any:
    return int(context.clock.monotonic_s() - context.node.started_s)


async def stop(context: RpcContext, _: Arguments) -> Any:
    context.on_stop()
    return "Bitcoin node stopping"


async def validateaddress(_: RpcContext, arguments: Arguments) -> Any:
    text = arguments.text("address")
    try:
        script = parse_address(text, NETWORK)
    except AddressError as error:
        return {"isvalid": False, "error_locations": [], "error": str(error)}
    program = witness_program(script)
    facts: dict[str, Any] = {
        "isvalid": True,
        "address": text,
        "scriptPubKey": script.hex(),
        "isscript": classify(script)
        in (ScriptType.SCRIPTHASH, ScriptType.WITNESS_V0_SCRIPTHASH, ScriptType.WITNESS_V1_TAPROOT),
        "iswitness": program is not None,
    }
    if program is not None:
        facts |= {"witness_version": program[0], "witness_program": program[1].hex()}
    return facts


METHODS: Final[dict[str, Method]] = dict(
    [
        method(getnetworkinfo),
        method(getconnectioncount),
        method(getpeerinfo),
        method(uptime),
        method(stop),
        method(validateaddress, "address", required=1),
    ]
)

"""Addresses, as people write them."""

from __future__ import annotations

from typing import Any, Final

from anya_actors.domain.bitcoin.address import encode_address, parse_address
from anya_actors.domain.bitcoin.address_faults import explain_address
from anya_actors.domain.bitcoin.errors import AddressError
from anya_actors.domain.bitcoin.script import ScriptType, classify, witness_program
from anya_actors.serve.bitcoin_rpc.arguments import Arguments
from anya_actors.serve.bitcoin_rpc.context import Method, RpcContext, method
from anya_actors.serve.bitcoin_rpc.describe import NETWORK

_SCRIPTS: Final = (
    ScriptType.SCRIPTHASH,
    ScriptType.WITNESS_V0_SCRIPTHASH,
    ScriptType.WITNESS_V1_TAPROOT,
    ScriptType.ANCHOR,
)


async def validateaddress(_: RpcContext, arguments: Arguments) -> Any:
    """Whether a text is an address of this network; if not, what is wrong and where."""
    text = arguments.text("address")
    try:
        script = parse_address(text, NETWORK)
    except AddressError:
        fault = explain_address(text, NETWORK)
        return {"isvalid": False, "error_locations": list(fault.locations), "error": fault.text}
    return {"isvalid": True, "address": encode_address(script, NETWORK), **describe_address(script)}


def describe_address(script: bytes) -> dict[str, Any]:
    """What an address tells of the script behind it."""
    kind, program = classify(script), witness_program(script)
    facts: dict[str, Any] = {"scriptPubKey": script.hex()}
    if kind is not ScriptType.WITNESS_UNKNOWN:
        facts["isscript"] = kind in _SCRIPTS
    facts["iswitness"] = program is not None
    if program is not None and kind is not ScriptType.ANCHOR:
        facts |= {"witness_version": program[0], "witness_program": program[1].hex()}
    return facts


METHODS: Final[dict[str, Method]] = dict([method(validateaddress, "address:string", required=1)])

"""Making and giving blocks, and judging them against the rules."""

from __future__ import annotations

from typing import Any, Final

from anya_actors.domain.bitcoin.block import Block, parse_block
from anya_actors.domain.bitcoin.descriptor import DescriptorError, script_of_descriptor
from anya_actors.domain.bitcoin.errors import MalformedBlockError
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.transaction import Transaction
from anya_actors.ports.consensus import Standing
from anya_actors.serve.bitcoin_rpc.arguments import Arguments, is_hex, parse_hash, parse_transaction_argument
from anya_actors.serve.bitcoin_rpc.context import Method, RpcContext, method
from anya_actors.serve.bitcoin_rpc.describe import NETWORK
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError
from anya_actors.services.bitcoin_node.service import DEFAULT_TRIES


async def generatetoaddress(context: RpcContext, arguments: Arguments) -> Any:
    script = arguments.script_of_address("address", NETWORK, "Error: Invalid address")
    blocks, tries = arguments.integer("nblocks"), arguments.integer("maxtries", DEFAULT_TRIES)
    return [str(block_hash) for block_hash in await context.node.generate(script, blocks, tries)]


async def generatetodescriptor(context: RpcContext, arguments: Arguments) -> Any:
    script = _script_of_output(arguments.text("descriptor"), only_descriptor=True)
    blocks, tries = arguments.integer("num_blocks"), arguments.integer("maxtries", DEFAULT_TRIES)
    return [str(block_hash) for block_hash in await context.node.generate(script, blocks, tries)]


def _script_of_output(text: str, *, only_descriptor: bool = False) -> bytes:
    written = text if only_descriptor or "(" in text else f"addr({text})"
    try:
        return script_of_descriptor(written, NETWORK)
    except DescriptorError as error:
        what = str(error) if "(" in text else "Error: Invalid address or descriptor"
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, what) from error


async def generateblock(context: RpcContext, arguments: Arguments) -> Any:
    script = _script_of_output(arguments.text("output"))
    chosen = [_chosen(item) for item in arguments.items("transactions")]
    submit = arguments.flag("submit", True)
    for item in chosen:
        if not isinstance(item, Transaction) and item not in context.node.pool:
            raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, f"Transaction {item} not in mempool.")
    block = await context.node.generate_block(script, chosen, submit=submit)
    facts = {"hash": str(block.hash)}
    if not submit:
        facts["hex"] = block.serialize().hex()
    return facts


def _chosen(item: Any) -> Txid | Transaction:
    if not isinstance(item, str):
        raise RpcError(RpcCode.TYPE_ERROR, "JSON value is not a string as expected")
    return parse_hash(item, "txid", Txid) if len(item) == 64 else parse_transaction_argument(item)


async def submitblock(context: RpcContext, arguments: Arguments) -> Any:
    block = _parse_block(arguments.text("hexdata"))
    if not block.transactions or not block.transactions[0].is_coinbase:
        raise RpcError(RpcCode.DESERIALIZATION_ERROR, "Block does not start with a coinbase")
    verdict = await context.node.submit_block(block)
    if verdict.standing is Standing.INVALID:
        return verdict.reason
    if not verdict.is_new:
        return "duplicate" if verdict.standing is Standing.VALID else "duplicate-inconclusive"
    return None if verdict.standing is Standing.VALID else "inconclusive"


def _parse_block(text: str) -> Block:
    try:
        if not is_hex(text):
            raise MalformedBlockError("the text", "it is not hexadecimal")
        return parse_block(bytes.fromhex(text))
    except MalformedBlockError as error:
        raise RpcError(RpcCode.DESERIALIZATION_ERROR, "Block decode failed") from error


METHODS: Final[dict[str, Method]] = dict([method(submitblock, "hexdata:string", "dummy", required=1)])
HIDDEN: Final[dict[str, Method]] = dict(
    [
        method(generatetoaddress, "nblocks:number", "address:string", "maxtries:number", required=2),
        method(generatetodescriptor, "num_blocks:number", "descriptor:string", "maxtries:number", required=2),
        method(generateblock, "output:string", "transactions:array", "submit:bool", required=2),
    ]
)

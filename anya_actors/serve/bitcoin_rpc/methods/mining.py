"""Making and giving blocks, and judging them against the rules."""

from __future__ import annotations

from itertools import islice
from typing import Any, Final

from msgspec.structs import replace

from anya_actors.domain.bitcoin.address import parse_address
from anya_actors.domain.bitcoin.block import (
    REGTEST_BITS,
    Block,
    difficulty_of,
    meets_target,
    parse_block,
    parse_header,
    target_of,
    witness_commitment,
)
from anya_actors.domain.bitcoin.block_rules import BlockPlace, header_fault
from anya_actors.domain.bitcoin.block_tree import BlockNode
from anya_actors.domain.bitcoin.errors import AddressError, MalformedBlockError
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.transaction import Transaction
from anya_actors.ports.consensus import Standing
from anya_actors.serve.bitcoin_rpc.arguments import Arguments, is_hex, parse_hash, parse_transaction_argument
from anya_actors.serve.bitcoin_rpc.context import Method, RpcContext, method
from anya_actors.serve.bitcoin_rpc.describe import NETWORK, btc
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError
from anya_actors.serve.bitcoin_rpc.scripts import script_of_output
from anya_actors.services.bitcoin_node.service import DEFAULT_TRIES

_RETARGET_BLOCKS: Final = 144


async def generatetoaddress(context: RpcContext, arguments: Arguments) -> Any:
    """Mine blocks that pay to an address."""
    script = arguments.script_of_address("address", NETWORK, "Error: Invalid address")
    blocks, tries = arguments.integer("nblocks"), arguments.integer("maxtries", DEFAULT_TRIES)
    return [str(block_hash) for block_hash in await context.node.generate(script, blocks, tries)]


async def generatetodescriptor(context: RpcContext, arguments: Arguments) -> Any:
    """Mine blocks that pay to a descriptor's script."""
    script = script_of_output(arguments.text("descriptor"))
    blocks, tries = arguments.integer("num_blocks"), arguments.integer("maxtries", DEFAULT_TRIES)
    return [str(block_hash) for block_hash in await context.node.generate(script, blocks, tries)]


def _script_of(output: str) -> bytes:
    """The script of an address or a descriptor."""
    try:
        return parse_address(output, NETWORK)
    except AddressError as error:
        if "(" in output:
            return script_of_output(output)
        words = "Error: Invalid address or descriptor"
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, words) from error


async def generateblock(context: RpcContext, arguments: Arguments) -> Any:
    """Mine one block of exactly these transactions, given by txid or in hexadecimal."""
    script = _script_of(arguments.text("output"))
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
    """Give the node a block; null if it is the new tip, else the reason in BIP22's words."""
    block = with_witness_reserve(parse_block_argument(arguments.text("hexdata")))
    if not block.transactions:
        return "bad-blk-length"
    if not block.transactions[0].is_coinbase:
        return "bad-cb-missing"
    verdict = await context.node.submit_block(block)
    if verdict.standing is Standing.INVALID:
        return verdict.reason
    if not verdict.is_new:
        return "duplicate" if verdict.standing is Standing.VALID else "duplicate-inconclusive"
    return None if verdict.standing is Standing.VALID else "inconclusive"


def parse_block_argument(text: str) -> Block:
    """A block in hexadecimal; raises `RpcError` with Core's words."""
    try:
        if not is_hex(text):
            raise MalformedBlockError("the text", "it is not hexadecimal")
        return parse_block(bytes.fromhex(text))
    except MalformedBlockError as error:
        raise RpcError(RpcCode.DESERIALIZATION_ERROR, "Block decode failed") from error


def with_witness_reserve(block: Block) -> Block:
    """The block with the coinbase's reserved witness value, which older miners leave out (BIP141)."""
    coinbase = block.transactions[0] if block.transactions else None
    if coinbase is None or not coinbase.is_coinbase or coinbase.has_witness:
        return block
    if witness_commitment(coinbase) is None:
        return block
    spent = replace(coinbase.inputs[0], witness=(bytes(32),))
    whole = Transaction(coinbase.version, (spent,), coinbase.outputs, coinbase.lock_time)
    return Block(block.header, (whole, *block.transactions[1:]))


async def submitheader(context: RpcContext, arguments: Arguments) -> Any:
    """Check a header. One whose block is not known is not kept: this node has no peers to ask for it."""
    try:
        data = arguments.text("hexdata")
        header = parse_header(bytes.fromhex(data) if is_hex(data) else b"")
    except MalformedBlockError as error:
        raise RpcError(RpcCode.DESERIALIZATION_ERROR, "Block header decode failed") from error
    tree = context.node.chain.tree
    if header.hash in tree.nodes:
        return
    parent = tree.nodes.get(header.previous)
    if parent is None:
        text = f"Must submit previous header ({header.previous}) first"
        raise RpcError(RpcCode.VERIFY_ERROR, text)
    fault = header_fault(
        header,
        BlockPlace(
            parent.height + 1,
            parent.median_time_past_s(),
            REGTEST_BITS,
            context.clock.now_unix_ms() // 1000,
        ),
    )
    if not meets_target(header.hash, header.bits):
        fault = "high-hash"
    if fault:
        raise RpcError(RpcCode.VERIFY_ERROR, fault)
    text = "The header is valid, but a header without its block is not kept by this node"
    raise RpcError(RpcCode.MISC_ERROR, text)


async def getmininginfo(context: RpcContext, _: Arguments) -> Any:
    """The tip's difficulty, what waits, and what the next block needs."""
    tip = context.node.chain.tip
    bits = tip.header.bits
    target = f"{target_of(bits):064x}"
    return {
        "blocks": tip.height,
        "bits": f"{bits:08x}",
        "difficulty": difficulty_of(bits),
        "target": target,
        "networkhashps": _hashes_per_s(tip, 120),
        "pooledtx": len(context.node.pool),
        "blockmintxfee": btc(0),
        "chain": NETWORK.core_name,
        "next": {
            "height": tip.height + 1,
            "bits": f"{REGTEST_BITS:08x}",
            "difficulty": difficulty_of(REGTEST_BITS),
            "target": f"{target_of(REGTEST_BITS):064x}",
        },
        "warnings": [],
    }


async def getnetworkhashps(context: RpcContext, arguments: Arguments) -> Any:
    """Hashes a second that the last blocks stand for."""
    active = context.node.chain.tree.active
    count, height = arguments.integer("nblocks", 120), arguments.integer("height", -1)
    if count < -1 or count == 0:
        text = "Invalid nblocks. Must be a positive number or -1."
        raise RpcError(RpcCode.INVALID_PARAMETER, text)
    if not -1 <= height < len(active):
        raise RpcError(RpcCode.INVALID_PARAMETER, "Block does not exist at specified height")
    node = active[height]
    return _hashes_per_s(node, node.height % _RETARGET_BLOCKS + 1 if count == -1 else count)


def _hashes_per_s(node: BlockNode, count: int) -> float:
    blocks = list(islice(node.branch(), min(count, node.height) + 1))
    times = [found.header.time_s for found in blocks]
    passed_s = max(times) - min(times)
    return (node.work - blocks[-1].work) / passed_s if passed_s else 0


METHODS: Final[dict[str, Method]] = dict(
    [
        method(submitblock, "hexdata:string", "dummy", required=1),
        method(submitheader, "hexdata:string", required=1),
        method(getmininginfo),
        method(getnetworkhashps, "nblocks:number", "height:number"),
    ]
)
HIDDEN: Final[dict[str, Method]] = dict(
    [
        method(generatetoaddress, "nblocks:number", "address:string", "maxtries:number", required=2),
        method(generatetodescriptor, "num_blocks:number", "descriptor:string", "maxtries:number", required=2),
        method(generateblock, "output:string", "transactions:array", "submit:bool", required=2),
    ]
)

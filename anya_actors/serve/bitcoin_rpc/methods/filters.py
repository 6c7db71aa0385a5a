"""Block filters (BIP157, BIP158) and the indexes they come from."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from anya_actors.domain.bitcoin.block_filters import filter_key, matches_any
from anya_actors.domain.bitcoin.block_tree import BlockNode
from anya_actors.serve.bitcoin_rpc.arguments import Arguments
from anya_actors.serve.bitcoin_rpc.context import Method, RpcContext, method
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError
from anya_actors.serve.bitcoin_rpc.methods.blocks import node_of, spent_by_place
from anya_actors.serve.bitcoin_rpc.scripts import scanned_scripts

_INDEXES: Final = ("txindex", "basic block filter index")
_PAUSE_EVERY: Final = 200


def _verify_filter_type(arguments: Arguments) -> None:
    if arguments.text("filtertype", "basic") != "basic":
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Unknown filtertype")


async def getblockfilter(context: RpcContext, arguments: Arguments) -> Any:
    """A block's basic filter and the header that chains it to the filters before."""
    _verify_filter_type(arguments)
    node = node_of(context, arguments)
    found = context.node.chain.index.block_filter(node.hash)
    if found is None:
        text = "Filter not found. This error is unexpected and indicates index corruption."
        if not node.was_active:
            text = "Filter not found. Block was not connected to active chain."
        raise RpcError(RpcCode.MISC_ERROR, text)
    return {"filter": found.filter.hex(), "header": found.header[::-1].hex()}


async def scanblocks(context: RpcContext, arguments: Arguments) -> Any:
    """The blocks that may hold something of these descriptors, found by their filters."""
    action = arguments.text("action")
    if action in ("abort", "status"):
        # A scan answers its own call and is never left running.
        return False if action == "abort" else None
    if action != "start":
        raise RpcError(RpcCode.INVALID_PARAMETER, f"Invalid action '{action}'")
    _verify_filter_type(arguments)
    tree = context.node.chain.tree
    first = arguments.integer("start_height", 0)
    last = arguments.integer("stop_height", tree.tip.height)
    if not 0 <= first <= tree.tip.height:
        raise RpcError(RpcCode.MISC_ERROR, "Invalid start_height")
    if not first <= last <= tree.tip.height:
        raise RpcError(RpcCode.MISC_ERROR, "Invalid stop_height")
    if not arguments.has("scanobjects"):
        text = "scanobjects argument is required for the start action"
        raise RpcError(RpcCode.MISC_ERROR, text)
    scripts = set(scanned_scripts(arguments.items("scanobjects")))
    sure = arguments.options("options").flag("filter_false_positives", False)
    relevant = []
    for node in tree.active[first : last + 1]:
        if node.height % _PAUSE_EVERY == 0:
            await asyncio.sleep(0)  # others have their turn
        if _may_hold(context, node, scripts) and (not sure or await _holds(context, node, scripts)):
            relevant.append(str(node.hash))
    return {"from_height": first, "to_height": last, "relevant_blocks": relevant, "completed": True}


def _may_hold(context: RpcContext, node: BlockNode, scripts: set[bytes]) -> bool:
    found = context.node.chain.index.block_filter(node.hash)
    return found is not None and bool(scripts) and matches_any(found.filter, filter_key(node.hash), scripts)


async def _holds(context: RpcContext, node: BlockNode, scripts: set[bytes]) -> bool:
    block = await context.node.chain.read_block(node)
    paid = {output.script_pubkey for transaction in block.transactions for output in transaction.outputs}
    spent = {
        coin.script_pubkey for coins in await spent_by_place(context, node) or () for coin in coins or ()
    }
    return not scripts.isdisjoint(paid | spent)


async def getindexinfo(context: RpcContext, arguments: Arguments) -> Any:
    """The indexes that can be asked, all of them always in step with the chain."""
    height = context.node.chain.tip.height
    wanted = arguments.text("index_name")
    names = [name for name in _INDEXES if wanted in ("", name)]
    return {name: {"synced": True, "best_block_height": height} for name in names}


METHODS: Final[dict[str, Method]] = dict(
    [
        method(getblockfilter, "blockhash:string", "filtertype:string", required=1),
        method(
            scanblocks,
            "action:string",
            "scanobjects:array",
            "start_height:number",
            "stop_height:number",
            "filtertype:string",
            "options:object{filter_false_positives}",
            required=1,
        ),
    ]
)
UTIL: Final[dict[str, Method]] = dict([method(getindexinfo, "index_name:string")])

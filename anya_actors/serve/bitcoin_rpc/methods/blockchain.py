"""The chain as a whole: its state, its branches, its rules."""

from __future__ import annotations

from typing import Any, Final

from anya_actors.domain.bitcoin.block import difficulty_of, target_of
from anya_actors.domain.bitcoin.block_tree import BlockNode, BlockTree
from anya_actors.domain.bitcoin.deployments import REGTEST_BURIED, TESTDUMMY, signalling_of
from anya_actors.serve.bitcoin_rpc.arguments import Arguments
from anya_actors.serve.bitcoin_rpc.context import Method, RpcContext, method
from anya_actors.serve.bitcoin_rpc.describe import NETWORK
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError
from anya_actors.serve.bitcoin_rpc.methods.blocks import node_of

_DAY_S: Final = 24 * 3600
_MONTH_BLOCKS: Final = 30 * 24 * 6
_NO_TIMEOUT: Final = (1 << 63) - 1


def is_initial_download(context: RpcContext) -> bool:
    """Whether the tip is old. Once it is of the last day this stays false, as in Core."""
    age_s = context.clock.now_unix_ms() // 1000 - context.node.chain.tip.header.time_s
    memory = context.memory
    memory.is_caught_up = memory.is_caught_up or age_s < _DAY_S
    return not memory.is_caught_up


async def getblockchaininfo(context: RpcContext, _: Arguments) -> Any:
    """The chain's name, height, tip, work and size."""
    tree = context.node.chain.tree
    tip = tree.tip
    initial = is_initial_download(context)
    return {
        "chain": NETWORK.core_name,
        "blocks": tip.height,
        "headers": tree.best_height,
        "bestblockhash": str(tip.hash),
        "bits": f"{tip.header.bits:08x}",
        "target": f"{target_of(tip.header.bits):064x}",
        "difficulty": difficulty_of(tip.header.bits),
        "time": tip.header.time_s,
        "mediantime": tip.median_time_past_s(),
        "verificationprogress": 1.0,
        "initialblockdownload": initial,
        "chainwork": f"{tip.work:064x}",
        "size_on_disk": tree.total_size,
        "pruned": False,
        "warnings": [],
    }


async def getdifficulty(context: RpcContext, _: Arguments) -> Any:
    """The difficulty of the tip, as a multiple of the easiest of mainnet."""
    return difficulty_of(context.node.chain.tip.header.bits)


async def getchaintips(context: RpcContext, _: Arguments) -> Any:
    """The ends of all branches, the active one too, the highest first."""
    tree = context.node.chain.tree
    found = []
    for node in sorted(tree.tips(), key=lambda node: -node.height):
        status = _tip_status(tree, node)
        length = next(away for away, below in enumerate(node.branch()) if tree.is_active(below))
        facts = {"height": node.height, "hash": str(node.hash), "branchlen": length, "status": status}
        found.append(facts)
    return found


def _tip_status(tree: BlockTree, node: BlockNode) -> str:
    if node is tree.tip:
        return "active"
    if tree.is_invalidated(node):
        return "invalid"
    return "valid-fork" if node.was_active else "valid-headers"


async def getchaintxstats(context: RpcContext, arguments: Arguments) -> Any:
    """How many transactions the chain holds, and how fast they came in a window of blocks."""
    tree = context.node.chain.tree
    last = node_of(context, arguments) if arguments.has("blockhash") else tree.tip
    if not tree.is_active(last):
        raise RpcError(RpcCode.INVALID_PARAMETER, "Block is not in main chain")
    if arguments.has("nblocks"):
        count = arguments.integer("nblocks")
        if count < 0 or (count > 0 and count >= last.height):
            text = "Invalid block count: should be between 0 and the block's height - 1"
            raise RpcError(RpcCode.INVALID_PARAMETER, text)
    else:
        count = max(0, min(_MONTH_BLOCKS, last.height - 1))
    first = tree.active[last.height - count]
    total = sum(node.transactions for node in tree.active[: last.height + 1])
    facts: dict[str, Any] = {
        "time": last.header.time_s,
        "txcount": total,
        "window_final_block_hash": str(last.hash),
        "window_final_block_height": last.height,
        "window_block_count": count,
    }
    if count > 0:
        interval_s = last.median_time_past_s() - first.median_time_past_s()
        within = sum(node.transactions for node in tree.active[first.height + 1 : last.height + 1])
        facts["window_interval"] = interval_s
        facts["window_tx_count"] = within
        if interval_s > 0:
            facts["txrate"] = within / interval_s
    return facts


async def getdeploymentinfo(context: RpcContext, arguments: Arguments) -> Any:
    """Which soft forks the rules of the block after this one hold."""
    tree = context.node.chain.tree
    node = node_of(context, arguments) if arguments.has("blockhash") else tree.tip
    deployments: dict[str, Any] = {
        name: {"type": "buried", "active": node.height + 1 >= height, "height": height}
        for name, height in REGTEST_BURIED.items()
    }
    deployments["testdummy"] = _testdummy(node)
    always = {"start_time": -1, "timeout": _NO_TIMEOUT, "min_activation_height": 0}
    standing = {"status": "active", "since": 0, "status_next": "active"}
    deployments["taproot"] = {"type": "bip9", "height": 0, "active": True, "bip9": always | standing}
    return {"hash": str(node.hash), "height": node.height, "deployments": deployments}


def _testdummy(node: BlockNode) -> dict[str, Any]:
    signalling = signalling_of(node, TESTDUMMY)
    facts: dict[str, Any] = {"bit": TESTDUMMY.bit} if signalling.is_counting else {}
    facts |= {"start_time": 0, "timeout": _NO_TIMEOUT, "min_activation_height": 0}
    facts |= {
        "status": signalling.status.value,
        "since": signalling.since_height,
        "status_next": signalling.next_status.value,
    }
    if signalling.is_counting:
        statistics: dict[str, Any] = {"period": TESTDUMMY.period, "elapsed": len(signalling.blocks)}
        statistics["count"] = sum(signalling.blocks)
        if signalling.threshold is not None:
            statistics["threshold"] = signalling.threshold
            left = TESTDUMMY.period - len(signalling.blocks)
            statistics["possible"] = left + sum(signalling.blocks) >= signalling.threshold
        facts["statistics"] = statistics
        facts["signalling"] = "".join("#" if found else "-" for found in signalling.blocks)
    active_height = signalling.active_height
    whole: dict[str, Any] = {"type": "bip9"}
    if active_height is not None:
        whole["height"] = active_height
    whole["active"] = active_height is not None and active_height <= node.height + 1
    whole["bip9"] = facts
    return whole


async def invalidateblock(context: RpcContext, arguments: Arguments) -> Any:
    """Treat a block and all that follow it as invalid, until it is reconsidered."""
    node = node_of(context, arguments)
    if node.parent is not None:  # the genesis block stays valid, as in Core without a word
        await context.node.invalidate_block(node.hash)


async def reconsiderblock(context: RpcContext, arguments: Arguments) -> Any:
    """Take back that a block, its ancestors or what follows it were treated as invalid."""
    await context.node.reconsider_block(node_of(context, arguments).hash)


async def preciousblock(context: RpcContext, arguments: Arguments) -> Any:
    """Treat a block as if it had come before all others with the same work; not kept over a restart."""
    await context.node.prefer_block(node_of(context, arguments).hash)


METHODS: Final[dict[str, Method]] = dict(
    [
        method(getblockchaininfo),
        method(getdifficulty),
        method(getchaintips),
        method(getchaintxstats, "nblocks:number", "blockhash:string"),
        method(getdeploymentinfo, "blockhash:string"),
        method(preciousblock, "blockhash:string", required=1),
    ]
)
HIDDEN: Final[dict[str, Method]] = dict(
    [
        method(invalidateblock, "blockhash:string", required=1),
        method(reconsiderblock, "blockhash:string", required=1),
    ]
)

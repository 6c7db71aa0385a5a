"""Blocks, the chain and unspent outputs."""

from __future__ import annotations

from typing import Any, Final

from anya_actors.domain.bitcoin.block import difficulty_of, target_of
from anya_actors.domain.bitcoin.block_tree import BlockNode, BlockTree
from anya_actors.domain.bitcoin.coin_index import scripthash
from anya_actors.domain.bitcoin.descriptor import DescriptorError, describe_script, script_of_descriptor
from anya_actors.domain.bitcoin.hashes import BlockHash, Txid
from anya_actors.domain.bitcoin.transaction import Outpoint
from anya_actors.serve.bitcoin_rpc.arguments import Arguments
from anya_actors.serve.bitcoin_rpc.context import Method, RpcContext, method
from anya_actors.serve.bitcoin_rpc.describe import (
    NETWORK,
    btc,
    confirmations,
    describe_block,
    describe_header,
    describe_output_script,
    describe_transaction,
)
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError

_DAY_S: Final = 24 * 3600


def node_of(context: RpcContext, arguments: Arguments) -> BlockNode:
    """The block that the argument ``blockhash`` names."""
    node = context.node.chain.tree.nodes.get(arguments.hash("blockhash", BlockHash))
    if node is None:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Block not found")
    return node


def _is_initial_download(context: RpcContext) -> bool:
    # Once the tip is of the last day it stays false, as in Core.
    age_s = context.clock.now_unix_ms() // 1000 - context.node.chain.tip.header.time_s
    context.is_caught_up = context.is_caught_up or age_s < _DAY_S
    return not context.is_caught_up


async def getblockchaininfo(context: RpcContext, _: Arguments) -> Any:
    tree = context.node.chain.tree
    tip = tree.tip
    initial = _is_initial_download(context)
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


async def getblockcount(context: RpcContext, _: Arguments) -> Any:
    return context.node.chain.tip.height


async def getbestblockhash(context: RpcContext, _: Arguments) -> Any:
    return str(context.node.chain.tip.hash)


async def getdifficulty(context: RpcContext, _: Arguments) -> Any:
    return difficulty_of(context.node.chain.tip.header.bits)


async def getblockhash(context: RpcContext, arguments: Arguments) -> Any:
    active = context.node.chain.tree.active
    height = arguments.integer("height")
    if not 0 <= height < len(active):
        raise RpcError(RpcCode.INVALID_PARAMETER, "Block height out of range")
    return str(active[height].hash)


async def getblockheader(context: RpcContext, arguments: Arguments) -> Any:
    node = node_of(context, arguments)
    if not arguments.flag("verbose", True):
        return node.header.serialize().hex()
    return describe_header(context.node.chain.tree, node)


async def getblock(context: RpcContext, arguments: Arguments) -> Any:
    node = node_of(context, arguments)
    verbosity = arguments.verbosity("verbosity", 1)
    chain = context.node.chain
    block = await chain.read_block(node)
    if verbosity <= 0:
        return block.serialize().hex()
    if verbosity == 1:
        transactions: list[Any] = [str(transaction.txid) for transaction in block.transactions]
        return describe_block(chain.tree, node, block, transactions)
    spent = await spent_by_place(context, node)
    transactions = [
        describe_transaction(transaction, coins, with_prevouts=verbosity >= 3)
        for transaction, coins in zip(block.transactions, spent or [None] * node.transactions, strict=True)
    ]
    return describe_block(chain.tree, node, block, transactions)


async def spent_by_place(context: RpcContext, node: BlockNode) -> list[Any] | None:
    """The spent coins of each transaction, None for the coinbase; None if never connected."""
    try:
        return [None, *await context.node.chain.spent_coins(node)]
    except KeyError:
        return None


async def getchaintips(context: RpcContext, _: Arguments) -> Any:
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


async def gettxout(context: RpcContext, arguments: Arguments) -> Any:
    outpoint = Outpoint(arguments.hash("txid", Txid), arguments.integer("n"))
    node = context.node
    coin = node.chain.index.coin(outpoint)
    tip = node.chain.tip
    facts: dict[str, Any] = {"bestblock": str(tip.hash)}
    if coin is not None:
        facts["confirmations"] = tip.height - coin.height + 1
        output, is_coinbase = coin.output, coin.is_coinbase
    if arguments.flag("include_mempool", True):
        waiting = node.pool.output(outpoint)
        if outpoint in node.pool.spends or (coin is None and waiting is None):
            return None
        if waiting is not None:
            facts["confirmations"] = 0
            output, is_coinbase = waiting, False
    elif coin is None:
        return None
    facts["value"] = btc(output.amount_sat)
    facts["scriptPubKey"] = describe_output_script(output.script_pubkey)
    facts["coinbase"] = is_coinbase
    return facts


async def scantxoutset(context: RpcContext, arguments: Arguments) -> Any:
    action = arguments.text("action")
    if action in ("abort", "status"):
        return False if action == "abort" else None
    if action != "start":
        raise RpcError(RpcCode.INVALID_PARAMETER, f"Invalid action '{action}'")
    if not arguments.has("scanobjects"):
        raise RpcError(RpcCode.MISC_ERROR, "scanobjects argument is required for the start action")
    scripts = {_scanned_script(item) for item in arguments.items("scanobjects")}
    chain = context.node.chain
    found = [item for script in sorted(scripts) for item in chain.index.unspent(scripthash(script))]
    return {
        "success": True,
        "txouts": chain.index.coin_count,
        "height": chain.tip.height,
        "bestblock": str(chain.tip.hash),
        "unspents": [
            {
                "txid": str(outpoint.txid),
                "vout": outpoint.index,
                "scriptPubKey": coin.script_pubkey.hex(),
                "desc": describe_script(coin.script_pubkey, NETWORK),
                "amount": btc(coin.amount_sat),
                "coinbase": coin.is_coinbase,
                "height": coin.height,
                "blockhash": str(chain.tree.active[coin.height].hash),
                "confirmations": confirmations(chain.tree, chain.tree.active[coin.height]),
            }
            for outpoint, coin in found
        ],
        "total_amount": btc(sum(coin.amount_sat for _, coin in found)),
    }


def _scanned_script(item: Any) -> bytes:
    text = item.get("desc") if isinstance(item, dict) else item
    if not isinstance(text, str):
        raise RpcError(RpcCode.INVALID_PARAMETER, "Scan object needs to be either a string or an object")
    try:
        return script_of_descriptor(text, NETWORK)
    except DescriptorError as error:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, str(error)) from error


METHODS: Final[dict[str, Method]] = dict(
    [
        method(getblockchaininfo),
        method(getblockcount),
        method(getbestblockhash),
        method(getdifficulty),
        method(getchaintips),
        method(getblockhash, "height", required=1),
        method(getblockheader, "blockhash", "verbose", required=1),
        method(getblock, "blockhash", "verbosity|verbose", required=1),
        method(gettxout, "txid", "n", "include_mempool", required=2),
        method(scantxoutset, "action", "scanobjects", required=1),
    ]
)

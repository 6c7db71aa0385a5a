"""Single blocks: their heights, headers and contents."""

from __future__ import annotations

from typing import Any, Final

from anya_actors.domain.bitcoin.block_tree import BlockNode
from anya_actors.domain.bitcoin.hashes import BlockHash
from anya_actors.serve.bitcoin_rpc.arguments import Arguments
from anya_actors.serve.bitcoin_rpc.context import Method, RpcContext, method
from anya_actors.serve.bitcoin_rpc.describe import describe_block, describe_header, describe_transaction
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError


def node_of(context: RpcContext, arguments: Arguments, name: str = "blockhash") -> BlockNode:
    """The block that an argument names."""
    node = context.node.chain.tree.nodes.get(arguments.hash(name, BlockHash))
    if node is None:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Block not found")
    return node


async def spent_by_place(context: RpcContext, node: BlockNode) -> list[Any] | None:
    """The spent coins of each transaction, None for the coinbase; None if never connected."""
    try:
        return [None, *await context.node.chain.spent_coins(node)]
    except KeyError:
        return None


async def getblockcount(context: RpcContext, _: Arguments) -> Any:
    """The height of the tip; the genesis block has height 0."""
    return context.node.chain.tip.height


async def getbestblockhash(context: RpcContext, _: Arguments) -> Any:
    """The hash of the tip."""
    return str(context.node.chain.tip.hash)


async def getblockhash(context: RpcContext, arguments: Arguments) -> Any:
    """The hash of the active chain's block at a height."""
    active = context.node.chain.tree.active
    height = arguments.integer("height")
    if not 0 <= height < len(active):
        raise RpcError(RpcCode.INVALID_PARAMETER, "Block height out of range")
    return str(active[height].hash)


async def getblockheader(context: RpcContext, arguments: Arguments) -> Any:
    """A block's header: its facts, or with verbose false its 80 bytes in hexadecimal."""
    node = node_of(context, arguments)
    if not arguments.flag("verbose", True):
        return node.header.serialize().hex()
    return describe_header(context.node.chain.tree, node)


async def getblock(context: RpcContext, arguments: Arguments) -> Any:
    """A block: 0 its bytes in hexadecimal, 1 its facts with the txids, 2 with decoded transactions and
    their fees, 3 with the outputs they spend too."""
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


METHODS: Final[dict[str, Method]] = dict(
    [
        method(getblockcount),
        method(getbestblockhash),
        method(getblockhash, "height:number", required=1),
        method(getblockheader, "blockhash:string", "verbose:bool", required=1),
        method(getblock, "blockhash:string", "verbosity|verbose", required=1),
    ]
)

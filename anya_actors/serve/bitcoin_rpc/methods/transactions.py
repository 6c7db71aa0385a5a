"""Transactions, waiting and confirmed."""

from __future__ import annotations

from typing import Any, Final

from anya_actors.domain.bitcoin.block_tree import BlockNode
from anya_actors.domain.bitcoin.coin import Coin
from anya_actors.domain.bitcoin.genesis import REGTEST_GENESIS
from anya_actors.domain.bitcoin.hashes import BlockHash, Txid
from anya_actors.domain.bitcoin.transaction import Transaction
from anya_actors.serve.bitcoin_rpc.arguments import Arguments
from anya_actors.serve.bitcoin_rpc.context import Method, RpcContext, method
from anya_actors.serve.bitcoin_rpc.describe import confirmations, describe_transaction
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError
from anya_actors.serve.bitcoin_rpc.methods.blocks import spent_by_place


async def getrawtransaction(context: RpcContext, arguments: Arguments) -> Any:
    txid = arguments.hash("txid", Txid)
    verbosity = arguments.verbosity("verbosity", 0)
    if txid == REGTEST_GENESIS.transactions[0].txid:
        raise RpcError(
            RpcCode.INVALID_ADDRESS_OR_KEY,
            "The genesis block coinbase is not considered an ordinary transaction and cannot be retrieved",
        )
    block_hash = arguments.hash("blockhash", BlockHash) if arguments.has("blockhash") else None
    transaction, node = await _find(context, txid, block_hash)
    if verbosity <= 0:
        return transaction.serialize().hex()
    facts: dict[str, Any] = {}
    if block_hash is not None and node is not None:
        facts["in_active_chain"] = context.node.chain.tree.is_active(node)
    spent = await _spent(context, transaction, node) if verbosity >= 2 else None
    facts |= describe_transaction(transaction, spent, with_prevouts=True)
    if node is not None:
        facts |= _place(context, node)
    return facts


def _place(context: RpcContext, node: BlockNode) -> dict[str, Any]:
    tree = context.node.chain.tree
    if not tree.is_active(node):
        return {"blockhash": str(node.hash), "confirmations": 0}
    return {
        "blockhash": str(node.hash),
        "confirmations": confirmations(tree, node),
        "time": node.header.time_s,
        "blocktime": node.header.time_s,
    }


async def _find(
    context: RpcContext, txid: Txid, block_hash: BlockHash | None
) -> tuple[Transaction, BlockNode | None]:
    if block_hash is None:
        found = await context.node.find_transaction(txid)
        what = "No such mempool or blockchain transaction"
    else:
        node = context.node.chain.tree.nodes.get(block_hash)
        if node is None:
            raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Block hash not found")
        block = await context.node.chain.read_block(node)
        found = next(((tx, node) for tx in block.transactions if tx.txid == txid), None)
        what = "No such transaction found in the provided block"
    if found is None:
        text = f"{what}. Use gettransaction for wallet transactions."
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, text)
    return found


async def _spent(context: RpcContext, transaction: Transaction, node: BlockNode | None) -> list[Coin] | None:
    """The coins it spends: of a waiting one from the indexes, else from the block's undo data."""
    if transaction.is_coinbase:
        return None
    if node is not None:
        place = context.node.chain.index.transaction(transaction.txid)
        spent = await spent_by_place(context, node)
        return list(spent[place[1]]) if spent and place and place[0] == node.hash else None
    coins = [context.node.coin(tx_input.prevout) for tx_input in transaction.inputs]
    found = [coin for coin in coins if coin is not None]
    return found if len(found) == len(coins) else None


METHODS: Final[dict[str, Method]] = dict(
    [
        method(getrawtransaction, "txid:string", "verbosity|verbose", "blockhash:string", required=1),
    ]
)

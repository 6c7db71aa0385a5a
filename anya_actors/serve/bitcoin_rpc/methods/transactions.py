"""Transactions, waiting and confirmed."""

from __future__ import annotations

from typing import Any, Final

from anya_actors.domain.bitcoin.amount import COIN_SAT
from anya_actors.domain.bitcoin.block_tree import BlockNode
from anya_actors.domain.bitcoin.coin import Coin
from anya_actors.domain.bitcoin.errors import RejectedTransactionError
from anya_actors.domain.bitcoin.genesis import REGTEST_GENESIS
from anya_actors.domain.bitcoin.hashes import BlockHash, Txid
from anya_actors.domain.bitcoin.mempool import Mempool, MempoolEntry
from anya_actors.domain.bitcoin.mempool_policy import (
    MAX_DATA_CARRIER_BYTES,
    MIN_RELAY_FEERATE_SAT_PER_KVB,
    fee_at_rate,
)
from anya_actors.domain.bitcoin.script import is_unspendable
from anya_actors.domain.bitcoin.transaction import MAX_SEQUENCE_RBF, Transaction
from anya_actors.serve.bitcoin_rpc.arguments import Arguments, parse_transaction_argument
from anya_actors.serve.bitcoin_rpc.context import Method, RpcContext, method
from anya_actors.serve.bitcoin_rpc.describe import btc, confirmations, describe_transaction
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError
from anya_actors.serve.bitcoin_rpc.methods.blocks import spent_by_place
from anya_actors.services.bitcoin_node.acceptance import MISSING_INPUTS

DEFAULT_MAX_FEERATE_SAT: Final = COIN_SAT // 10
"""Refused above this many satoshis per 1,000 virtual bytes, unless the caller says otherwise."""
_MAX_TESTED: Final = 25


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


async def sendrawtransaction(context: RpcContext, arguments: Arguments) -> Any:
    transaction = arguments.transaction("hexstring")
    burnt_sat = max(
        (output.amount_sat for output in transaction.outputs if is_unspendable(output.script_pubkey)),
        default=0,
    )
    if burnt_sat > arguments.amount_sat("maxburnamount"):
        text = "Unspendable output exceeds maximum configured by user (maxburnamount)"
        raise RpcError(RpcCode.VERIFY_ERROR, text)
    limit = arguments.amount_sat("maxfeerate", DEFAULT_MAX_FEERATE_SAT)
    return str(await context.node.submit_transaction(transaction, limit or None))


async def testmempoolaccept(context: RpcContext, arguments: Arguments) -> Any:
    texts = arguments.items("rawtxs")
    if not 1 <= len(texts) <= _MAX_TESTED:
        text = f"Array must contain between 1 and {_MAX_TESTED} transactions."
        raise RpcError(RpcCode.INVALID_PARAMETER, text)
    if len(texts) > 1:
        raise RpcError(RpcCode.MISC_ERROR, "Testing packages of transactions is not supported by this node")
    if not isinstance(texts[0], str):
        raise RpcError(RpcCode.TYPE_ERROR, "JSON value is not a string as expected")
    transaction = parse_transaction_argument(texts[0])
    facts: dict[str, Any] = {"txid": str(transaction.txid), "wtxid": str(transaction.wtxid)}
    try:
        entry = await context.node.judge_transaction(transaction)
    except RejectedTransactionError as error:
        reason = "missing-inputs" if error.reason == MISSING_INPUTS else error.reason
        details = ", ".join(part for part in (error.reason, error.detail) if part)
        return [{**facts, "allowed": False, "reject-reason": reason, "reject-details": details}]
    limit = arguments.amount_sat("maxfeerate", DEFAULT_MAX_FEERATE_SAT)
    if limit and entry.fee_sat > fee_at_rate(entry.vsize, limit):
        return [{**facts, "allowed": False, "reject-reason": "max-fee-exceeded"}]
    fees = {
        "base": btc(entry.fee_sat),
        "effective-feerate": btc(entry.fee_sat * 1000 // entry.vsize),
        "effective-includes": [str(transaction.wtxid)],
    }
    return [{**facts, "allowed": True, "vsize": entry.vsize, "fees": fees}]


async def getmempoolinfo(context: RpcContext, _: Arguments) -> Any:
    pool = context.node.pool
    relay = btc(MIN_RELAY_FEERATE_SAT_PER_KVB)
    return {
        "loaded": True,
        "size": len(pool),
        "bytes": pool.total_vsize,
        "usage": sum(len(entry.transaction.serialize()) for entry in pool.entries.values()),
        "total_fee": btc(pool.total_fee_sat),
        "maxmempool": 300_000_000,
        "mempoolminfee": relay,
        "minrelaytxfee": relay,
        "incrementalrelayfee": relay,
        "unbroadcastcount": 0,
        "fullrbf": False,
        "permitbaremultisig": True,
        "maxdatacarriersize": MAX_DATA_CARRIER_BYTES,
    }


async def getrawmempool(context: RpcContext, arguments: Arguments) -> Any:
    pool = context.node.pool
    if arguments.flag("verbose", False):
        if arguments.flag("mempool_sequence", False):
            text = "Verbose results cannot contain mempool sequence values."
            raise RpcError(RpcCode.INVALID_PARAMETER, text)
        return {str(txid): _describe_entry(pool, entry) for txid, entry in pool.entries.items()}
    txids = [str(txid) for txid in pool.entries]
    if arguments.flag("mempool_sequence", False):
        return {"txids": txids, "mempool_sequence": pool.sequence}
    return txids


async def getmempoolentry(context: RpcContext, arguments: Arguments) -> Any:
    pool = context.node.pool
    entry = pool.entries.get(arguments.hash("txid", Txid))
    if entry is None:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Transaction not in mempool")
    return _describe_entry(pool, entry)


def _describe_entry(pool: Mempool, entry: MempoolEntry) -> dict[str, Any]:
    above = [pool.entries[txid] for txid in pool.ancestors(entry.transaction)] + [entry]
    below = [pool.entries[txid] for txid in pool.descendants(entry.txid)] + [entry]
    signals = any(
        tx_input.sequence <= MAX_SEQUENCE_RBF for found in above for tx_input in found.transaction.inputs
    )
    return {
        "vsize": entry.vsize,
        "weight": entry.transaction.weight,
        "time": entry.entered_unix_ms // 1000,
        "height": entry.height,
        "descendantcount": len(below),
        "descendantsize": sum(found.vsize for found in below),
        "ancestorcount": len(above),
        "ancestorsize": sum(found.vsize for found in above),
        "wtxid": str(entry.transaction.wtxid),
        "fees": {
            "base": btc(entry.fee_sat),
            "modified": btc(entry.fee_sat),
            "ancestor": btc(sum(found.fee_sat for found in above)),
            "descendant": btc(sum(found.fee_sat for found in below)),
        },
        "depends": sorted(str(txid) for txid in pool.parents(entry.transaction)),
        "spentby": sorted(str(txid) for txid in pool.children(entry.txid)),
        "bip125-replaceable": signals,
        "unbroadcast": False,
    }


async def estimatesmartfee(_: RpcContext, arguments: Arguments) -> Any:
    target = arguments.integer("conf_target")
    if not 1 <= target <= 1008:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid conf_target, must be between 1 and 1008")
    mode = arguments.text("estimate_mode", "economical").lower()
    if mode not in ("unset", "economical", "conservative"):
        text = 'Invalid estimate_mode parameter, must be one of: "unset", "economical", "conservative"'
        raise RpcError(RpcCode.INVALID_PARAMETER, text)
    # What Core answers on a chain whose blocks are never full.
    return {"errors": ["Insufficient data or no feerate found"], "blocks": max(target, 2)}


METHODS: Final[dict[str, Method]] = dict(
    [
        method(getrawtransaction, "txid:string", "verbosity|verbose", "blockhash:string", required=1),
        method(sendrawtransaction, "hexstring", "maxfeerate", "maxburnamount", required=1),
        method(testmempoolaccept, "rawtxs", "maxfeerate", required=1),
        method(getmempoolinfo),
        method(getrawmempool, "verbose", "mempool_sequence"),
        method(getmempoolentry, "txid", required=1),
        method(estimatesmartfee, "conf_target", "estimate_mode", required=1),
    ]
)

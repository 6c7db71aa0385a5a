"""Waiting transactions: sending, testing and looking at them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from anya_actors.domain.bitcoin.amount import COIN_SAT
from anya_actors.domain.bitcoin.clusters import BestFirst
from anya_actors.domain.bitcoin.errors import MalformedTransactionError
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.mempool import MempoolEntry
from anya_actors.domain.bitcoin.mempool_policy import fee_at_rate
from anya_actors.domain.bitcoin.packages import MAX_PACKAGE_COUNT, is_tree
from anya_actors.domain.bitcoin.script import has_valid_operations, is_unspendable
from anya_actors.domain.bitcoin.standardness import dust_outputs
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, parse_transaction_hex
from anya_actors.domain.machine import NotSupportedError
from anya_actors.serve.bitcoin_rpc.arguments import INT64, Arguments, parse_hash, parse_integer, require
from anya_actors.serve.bitcoin_rpc.context import Method, RpcContext, method
from anya_actors.serve.bitcoin_rpc.describe import btc
from anya_actors.serve.bitcoin_rpc.describe_mempool import describe_cluster, describe_entry
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError
from anya_actors.serve.bitcoin_rpc.signature import json_type, wrong_type
from anya_actors.services.bitcoin_node.acceptance import MISSING_INPUTS
from anya_actors.services.bitcoin_node.package_submission import (
    Entered,
    OtherWitness,
    PackageResult,
    Refused,
    Result,
    WaitsAlready,
)

DEFAULT_MAX_FEERATE_SAT: Final = COIN_SAT // 10
"""Refused above this many satoshis per 1,000 virtual bytes, unless the caller says otherwise."""


# Sending


async def sendrawtransaction(context: RpcContext, arguments: Arguments) -> Any:
    told = "TX decode failed. Make sure the tx has at least one input."
    transaction = _transaction(arguments.text("hexstring"), told)
    _verify_burns_little(transaction, arguments)
    limit = _max_feerate(arguments)
    return str(await context.node.submit_transaction(transaction, limit or None))


def _max_feerate(arguments: Arguments) -> int:
    feerate_sat = arguments.amount_sat("maxfeerate", DEFAULT_MAX_FEERATE_SAT)
    if feerate_sat >= COIN_SAT:
        text = "Fee rates larger than or equal to 1BTC/kvB are not accepted"
        raise RpcError(RpcCode.INVALID_PARAMETER, text)
    return feerate_sat


def _verify_burns_little(transaction: Transaction, arguments: Arguments) -> None:
    limit_sat = arguments.amount_sat("maxburnamount")
    for output in transaction.outputs:
        script = output.script_pubkey
        if output.amount_sat > limit_sat and (is_unspendable(script) or not has_valid_operations(script)):
            text = "Unspendable output exceeds maximum configured by user (maxburnamount)"
            raise RpcError(RpcCode.VERIFY_ERROR, text)


def _transactions(arguments: Arguments, name: str) -> list[Transaction]:
    texts = arguments.items(name)
    if not 1 <= len(texts) <= MAX_PACKAGE_COUNT:
        text = f"Array must contain between 1 and {MAX_PACKAGE_COUNT} transactions."
        raise RpcError(RpcCode.INVALID_PARAMETER, text)
    told = "TX decode failed: {} Make sure the tx has at least one input."
    return [_transaction(require(text, str), told.format(text)) for text in texts]


def _transaction(text: str, told: str) -> Transaction:
    """Read it; ``told`` is what Core says if it cannot."""
    try:
        return parse_transaction_hex(text)
    except MalformedTransactionError as error:
        raise RpcError(RpcCode.DESERIALIZATION_ERROR, told) from error


async def testmempoolaccept(context: RpcContext, arguments: Arguments) -> Any:
    transactions = _transactions(arguments, "rawtxs")
    limit = _max_feerate(arguments)
    outcome = await context.node.test_transactions(transactions)
    described: list[dict[str, Any]] = []
    for transaction in transactions:
        facts: dict[str, Any] = {"txid": str(transaction.txid), "wtxid": str(transaction.wtxid)}
        if outcome.is_policy:
            facts["package-error"] = outcome.error
        # After the first whose fee is too high, the others' results say nothing.
        if not (described and described[-1].get("reject-reason") == "max-fee-exceeded"):
            facts |= _tested(outcome.results.get(transaction.wtxid), limit)
        described.append(facts)
    return described


def _tested(result: Result | None, limit: int) -> dict[str, Any]:
    match result:
        case Entered():
            if limit and result.fee_sat > fee_at_rate(result.vsize, limit):
                return {"allowed": False, "reject-reason": "max-fee-exceeded"}
            return {"allowed": True, "vsize": result.vsize, "fees": _fees(result)}
        case Refused():
            if result.error.reason == MISSING_INPUTS:
                return {"allowed": False, "reject-reason": "missing-inputs"}
            return {
                "allowed": False,
                "reject-reason": result.error.reason,
                "reject-details": result.error.text,
            }
        case _:
            return {}


def _fees(result: Entered) -> dict[str, Any]:
    return {
        "base": btc(result.fee_sat),
        "effective-feerate": btc(result.effective_feerate_sat_per_kvb),
        "effective-includes": [str(wtxid) for wtxid in result.effective_includes],
    }


async def submitpackage(context: RpcContext, arguments: Arguments) -> Any:
    package = _transactions(arguments, "package")
    limit = _max_feerate(arguments)
    for transaction in package:
        _verify_burns_little(transaction, arguments)
    if len(package) > 1 and not is_tree(package):
        text = "package topology disallowed. not child-with-parents or parents depend on each other."
        raise RpcError(RpcCode.VERIFY_ERROR, text)
    outcome = await context.node.submit_package(package, limit or None)
    replaced = {
        txid for result in outcome.results.values() if isinstance(result, Entered) for txid in result.replaced
    }
    return {
        "package_msg": outcome.error or "success",
        "tx-results": {str(transaction.wtxid): _submitted(outcome, transaction) for transaction in package},
        "replaced-transactions": [str(txid) for txid in sorted(replaced)],
    }


def _submitted(outcome: PackageResult, transaction: Transaction) -> dict[str, Any]:
    facts: dict[str, Any] = {"txid": str(transaction.txid)}
    match outcome.results.get(transaction.wtxid):
        case Entered() as result:
            facts |= {"vsize": result.vsize, "fees": _fees(result)}
        case WaitsAlready() as result:
            facts |= {"vsize": result.vsize, "fees": {"base": btc(result.fee_sat)}}
        case OtherWitness() as result:
            facts["other-wtxid"] = str(result.wtxid)
        case Refused() as result:
            facts["error"] = result.error.text
        case None:
            facts["error"] = "package-not-validated"
    return facts


# Looking


async def getmempoolinfo(context: RpcContext, _: Arguments) -> Any:
    pool, policy = context.node.pool, context.node.mempool_policy
    floor = max(context.node.mempool_floor_sat_per_kvb(), policy.min_relay_feerate_sat_per_kvb)
    return {
        "loaded": True,
        "size": len(pool),
        "bytes": pool.total_vsize,
        "usage": pool.usage_bytes,
        "total_fee": btc(pool.total_fee_sat),
        "maxmempool": policy.max_bytes,
        "mempoolminfee": btc(floor),
        "minrelaytxfee": btc(policy.min_relay_feerate_sat_per_kvb),
        "incrementalrelayfee": btc(policy.incremental_feerate_sat_per_kvb),
        "unbroadcastcount": len(pool),
        "fullrbf": True,
        "permitbaremultisig": True,
        "maxdatacarriersize": policy.max_data_carrier_bytes,
        "limitclustercount": policy.max_cluster_count,
        "limitclustersize": policy.max_cluster_vsize,
        "optimal": True,
    }


def _best_first(context: RpcContext) -> list[MempoolEntry]:
    """All entries in the order in which they would be mined."""
    pool = context.node.pool
    order, entries = BestFirst(pool.clusters), []
    while (chunk := order.next()) is not None:
        entries += [pool.entries[txid] for txid in chunk.members]
    return entries


async def getrawmempool(context: RpcContext, arguments: Arguments) -> Any:
    pool = context.node.pool
    with_sequence = arguments.flag("mempool_sequence", False)
    if arguments.flag("verbose", False):
        if with_sequence:
            text = "Verbose results cannot contain mempool sequence values."
            raise RpcError(RpcCode.INVALID_PARAMETER, text)
        return {str(entry.txid): describe_entry(pool, entry) for entry in _best_first(context)}
    txids = [str(entry.txid) for entry in _best_first(context)]
    return {"txids": txids, "mempool_sequence": pool.sequence} if with_sequence else txids


def _entry(context: RpcContext, arguments: Arguments) -> MempoolEntry:
    entry = context.node.pool.entries.get(arguments.hash("txid", Txid))
    if entry is None:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Transaction not in mempool")
    return entry


async def getmempoolentry(context: RpcContext, arguments: Arguments) -> Any:
    return describe_entry(context.node.pool, _entry(context, arguments))


async def getmempoolancestors(context: RpcContext, arguments: Arguments) -> Any:
    entry = _entry(context, arguments)
    return _relatives(context, arguments, sorted(context.node.pool.ancestors(entry.transaction)))


async def getmempooldescendants(context: RpcContext, arguments: Arguments) -> Any:
    entry = _entry(context, arguments)
    return _relatives(context, arguments, sorted(context.node.pool.descendants(entry.txid)))


def _relatives(context: RpcContext, arguments: Arguments, txids: Sequence[Txid]) -> Any:
    pool = context.node.pool
    if arguments.flag("verbose", False):
        return {str(txid): describe_entry(pool, pool.entries[txid]) for txid in txids}
    return [str(txid) for txid in txids]


async def getmempoolcluster(context: RpcContext, arguments: Arguments) -> Any:
    return describe_cluster(context.node.pool, _entry(context, arguments).txid)


async def getmempoolfeeratediagram(context: RpcContext, _: Arguments) -> Any:
    weight = fee_sat = 0
    points = [{"weight": 0, "fee": btc(0)}]
    order = BestFirst(context.node.pool.clusters)
    while (chunk := order.next()) is not None:
        weight, fee_sat = weight + chunk.total.weight, fee_sat + chunk.total.fee_sat
        points.append({"weight": weight, "fee": btc(fee_sat)})
    return points


async def gettxspendingprevout(context: RpcContext, arguments: Arguments) -> Any:
    wanted = arguments.items("outputs")
    if not wanted:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid parameter, outputs are missing")
    options = arguments.options("options")
    only_waiting, with_transaction = _spending_options(options)
    outpoints = [_outpoint(item) for item in wanted]
    found = []
    for item, outpoint in zip(wanted, outpoints, strict=True):
        facts = dict(item)
        spending = await _spender(context, outpoint, only_waiting=only_waiting)
        if spending is not None:
            transaction, place = spending
            facts |= {"spendingtxid": str(transaction.txid)} | place
            if with_transaction:
                facts["spendingtx"] = transaction.serialize().hex()
        found.append(facts)
    return found


async def _spender(
    context: RpcContext, outpoint: Outpoint, *, only_waiting: bool
) -> tuple[Transaction, dict[str, str]] | None:
    """The transaction that spends an output, and the block that holds it if one does."""
    waiting = context.node.pool.spends.get(outpoint)
    if waiting is not None:
        return context.node.pool.entries[waiting].transaction, {}
    spend = None if only_waiting else context.node.chain.index.spender(outpoint)
    found = await context.node.find_transaction(spend.txid) if spend is not None else None
    if found is None or found[1] is None:
        return None
    return found[0], {"blockhash": str(found[1].hash)}


def _spending_options(options: Arguments) -> tuple[bool, bool]:
    names = ("mempool_only", "return_spending_tx")
    for name in names:
        if options.has(name):
            _verify_field(name, options.raw(name), "bool")
    _verify_no_others(options.members(), names)
    return options.flag(names[0], False), options.flag(names[1], False)


def _outpoint(item: Any) -> Outpoint:
    fields = require(item, dict)
    for name, kind in (("txid", "string"), ("vout", "number")):
        if name not in fields:
            raise RpcError(RpcCode.TYPE_ERROR, f"Missing {name}")
        _verify_field(name, fields[name], kind)
    _verify_no_others(fields, ("txid", "vout"))
    txid, index = parse_hash(fields["txid"], "txid", Txid), parse_integer(fields["vout"])
    if index < 0:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid parameter, vout cannot be negative")
    return Outpoint(txid, index)


def _verify_field(name: str, value: Any, kind: str) -> None:
    if json_type(value) != kind:
        found = json_type(value)
        text = f"JSON value of type {found} for field {name} is not of expected type {kind}"
        raise RpcError(RpcCode.TYPE_ERROR, text)


def _verify_no_others(given: Iterable[str], known: Collection[str]) -> None:
    for name in given:
        if name not in known:
            raise RpcError(RpcCode.TYPE_ERROR, f"Unexpected key {name}")


# Priority


async def prioritisetransaction(context: RpcContext, arguments: Arguments) -> Any:
    txid = arguments.hash("txid", Txid)
    dummy = arguments.raw("dummy")
    if dummy is not None and json_type(dummy) != "number":
        raise RpcError(RpcCode.TYPE_ERROR, wrong_type(dummy, "number"))
    if dummy:
        text = "Priority is no longer supported, dummy argument to prioritisetransaction must be 0."
        raise RpcError(RpcCode.INVALID_PARAMETER, text)
    delta_sat = parse_integer(arguments.raw("fee_delta"), INT64)
    entry = context.node.pool.entries.get(txid)
    if entry is not None and dust_outputs(
        entry.transaction, context.node.mempool_policy.dust_feerate_sat_per_kvb
    ):
        text = "Priority is not supported for transactions with dust outputs."
        raise RpcError(RpcCode.INVALID_PARAMETER, text)
    await context.node.prioritise(txid, delta_sat)
    return True


async def getprioritisedtransactions(context: RpcContext, _: Arguments) -> Any:
    pool = context.node.pool
    described: dict[str, Any] = {}
    for txid, delta_sat in sorted(pool.deltas_sat.items()):
        facts: dict[str, Any] = {"fee_delta": delta_sat, "in_mempool": txid in pool}
        if txid in pool:
            facts["modified_fee"] = pool.modified_fee_sat(pool.entries[txid])
        described[str(txid)] = facts
    return described


async def savemempool(_: RpcContext, __: Arguments) -> Any:
    # Core writes mempool.dat; here each accepted transaction is in the journal before it is answered.
    raise NotSupportedError("savemempool", "the mempool is always on disk, in the node's journal")


async def getorphantxs(_: RpcContext, arguments: Arguments) -> Any:
    verbosity = arguments.integer("verbosity")
    if not 0 <= verbosity <= 2:
        raise RpcError(RpcCode.INVALID_PARAMETER, f"Invalid verbosity value {verbosity}")
    return []  # orphans come from peers, of which this node has none


RAW_TRANSACTIONS: Final[dict[str, Method]] = dict(
    [
        method(sendrawtransaction, "hexstring:string", "maxfeerate", "maxburnamount", required=1),
        method(testmempoolaccept, "rawtxs:array", "maxfeerate", required=1),
        method(submitpackage, "package:array", "maxfeerate", "maxburnamount", required=1),
    ]
)
BLOCKCHAIN: Final[dict[str, Method]] = dict(
    [
        method(getmempoolinfo),
        method(getrawmempool, "verbose:bool", "mempool_sequence:bool"),
        method(getmempoolentry, "txid:string", required=1),
        method(getmempoolancestors, "txid:string", "verbose:bool", required=1),
        method(getmempooldescendants, "txid:string", "verbose:bool", required=1),
        method(getmempoolcluster, "txid:string", required=1),
        method(
            gettxspendingprevout,
            "outputs:array",
            "options:object{mempool_only,return_spending_tx}",
            required=1,
        ),
    ]
)
MINING: Final[dict[str, Method]] = dict(
    [
        method(prioritisetransaction, "txid:string", "dummy", "fee_delta:number", required=3),
        method(getprioritisedtransactions),
    ]
)
HIDDEN: Final[dict[str, Method]] = dict(
    [method(getmempoolfeeratediagram), method(getorphantxs, "verbosity"), method(savemempool)]
)

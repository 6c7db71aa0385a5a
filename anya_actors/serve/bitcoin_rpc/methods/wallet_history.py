"""What a wallet has and what happened to it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from anya_actors.domain.bitcoin.address import encode_address
from anya_actors.domain.bitcoin.coin import COINBASE_MATURITY
from anya_actors.domain.bitcoin.hashes import BlockHash, Txid
from anya_actors.domain.bitcoin.transaction import MAX_SEQUENCE_RBF, Outpoint, TxOutput
from anya_actors.serve.bitcoin_rpc.arguments import Arguments
from anya_actors.serve.bitcoin_rpc.context import Method, RpcContext, method
from anya_actors.serve.bitcoin_rpc.describe import NETWORK, btc, describe_transaction
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError
from anya_actors.serve.bitcoin_rpc.making import parse_outpoint
from anya_actors.serve.bitcoin_rpc.methods.wallet_addresses import inferred_descriptor
from anya_actors.serve.bitcoin_rpc.wallets import find_wallet, last_processed, read_address
from anya_actors.services.bitcoin_node.wallets.history import WalletTransaction
from anya_actors.services.bitcoin_node.wallets.records import WalletAbandoned, WalletOutputLocked
from anya_actors.services.bitcoin_node.wallets.wallet import Fund, Wallet

_MOST_CONFIRMATIONS: Final = 9_999_999


async def listunspent(context: RpcContext, arguments: Arguments) -> Any:
    """The unspent outputs of a wallet."""
    wallet = await find_wallet(context)
    least, most = arguments.integer("minconf", 1), arguments.integer("maxconf", _MOST_CONFIRMATIONS)
    wanted = _wanted_scripts(arguments.items("addresses"))
    unsafe, query = arguments.flag("include_unsafe", True), arguments.options("query_options")
    low_sat, high_sat = query.amount_sat("minimumAmount", 0), query.amount_sat("maximumAmount", 0)
    count, enough_sat = query.integer("maximumCount", 0), query.amount_sat("minimumSumAmount", 0)
    found: list[Fund] = []
    for fund in wallet.funds():
        if (
            not least <= fund.confirmations <= most
            or (wanted and fund.own.script_pubkey not in wanted)
            or fund.outpoint in wallet.locked
            or not (fund.is_mature or query.flag("include_immature_coinbase", False))
            or not (fund.is_trusted or unsafe)
            or fund.amount_sat < low_sat
            or (high_sat and fund.amount_sat > high_sat)
        ):
            continue
        found.append(fund)
        if (count and len(found) >= count) or (
            enough_sat and sum(item.amount_sat for item in found) >= enough_sat
        ):
            break
    return [_describe_fund(context, wallet, fund) for fund in found]


def _wanted_scripts(addresses: Iterable[Any]) -> set[bytes]:
    wanted: set[bytes] = set()
    for text in addresses:
        script = read_address(str(text), f"Invalid Bitcoin address: {text}")
        if script in wanted:
            words = f"Invalid parameter, duplicated address: {text}"
            raise RpcError(RpcCode.INVALID_PARAMETER, words)
        wanted.add(script)
    return wanted


def _describe_fund(context: RpcContext, wallet: Wallet, fund: Fund) -> dict[str, Any]:
    own, script = fund.own, fund.own.script_pubkey
    facts: dict[str, Any] = {"txid": str(fund.outpoint.txid), "vout": fund.outpoint.index}
    address = encode_address(script, NETWORK)
    if address is not None:
        facts["address"] = address
    if script in wallet.labels:
        facts["label"] = wallet.labels[script]
    if own.plan.redeem_script is not None:
        facts["redeemScript"] = own.plan.redeem_script.hex()
    if own.plan.witness_script is not None:
        facts["witnessScript"] = own.plan.witness_script.hex()
    facts |= {
        "scriptPubKey": script.hex(),
        "amount": btc(fund.amount_sat),
        "confirmations": fund.confirmations,
    }
    if not fund.confirmations:
        pool = context.node.pool
        entry = pool.entries[fund.outpoint.txid]
        line = [entry, *(pool.entries[txid] for txid in pool.ancestors(entry.transaction))]
        facts |= {
            "ancestorcount": len(line),
            "ancestorsize": sum(item.vsize for item in line),
            "ancestorfees": sum(item.fee_sat for item in line),
        }
    return facts | {
        "spendable": wallet.has_private_keys,
        "solvable": own.source.descriptor.is_solvable,
        "desc": inferred_descriptor(own),
        "parent_descs": [str(own.source.public)],
        "safe": fund.is_trusted,
    }


def confirmations_of(context: RpcContext, item: WalletTransaction) -> int:
    """Blocks from its own to the tip; 0 while it waits, negative where another took its place."""
    tip = context.node.chain.tip.height
    if item.block is not None:
        return tip - item.block.height + 1
    return 0 if item.conflict_height is None else item.conflict_height - tip - 1


def _describe(context: RpcContext, wallet: Wallet, item: WalletTransaction) -> dict[str, Any]:
    """What every listing says of a transaction."""
    facts: dict[str, Any] = {"confirmations": confirmations_of(context, item)}
    if item.transaction.is_coinbase:
        facts["generated"] = True
    sent = wallet.sent.get(item.txid)
    seen_s = sent.sent_unix_ms // 1000 if sent else (item.entered_unix_ms or 0) // 1000
    if item.block is not None:
        seen_s = min(seen_s, item.block.header.time_s) if sent else item.block.header.time_s
        facts |= {
            "blockhash": str(item.block.hash),
            "blockheight": item.block.height,
            "blockindex": item.place,
            "blocktime": item.block.header.time_s,
        }
    else:
        facts["trusted"] = item.is_waiting and wallet.is_own(item.transaction)
    facts |= {
        "txid": str(item.txid),
        "wtxid": str(item.transaction.wtxid),
        "walletconflicts": _conflicts(wallet, item),
        "mempoolconflicts": [str(txid) for txid in context.node.pool.conflicts(item.transaction)]
        if not item.is_waiting
        else [],
    }
    after = next((txid for txid, other in wallet.sent.items() if other.replaces == item.txid), None)
    if after is not None:
        facts["replaced_by_txid"] = str(after)
    if sent is not None and sent.replaces is not None:
        facts["replaces_txid"] = str(sent.replaces)
    if sent is not None and sent.comment:
        facts["comment"] = sent.comment
    if sent is not None and sent.to:
        facts["to"] = sent.to
    signals = any(tx_input.sequence <= MAX_SEQUENCE_RBF for tx_input in item.transaction.inputs)
    state = "no" if item.block is not None or not signals else "yes"
    return facts | {"time": seen_s, "timereceived": seen_s, "bip125-replaceable": state}


def _conflicts(wallet: Wallet, item: WalletTransaction) -> list[str]:
    spends = {tx_input.prevout for tx_input in item.transaction.inputs}
    return [
        str(txid)
        for txid, other in wallet.sent.items()
        if txid != item.txid and any(one.prevout in spends for one in other.transaction.inputs)
    ]


def _details(
    context: RpcContext, wallet: Wallet, item: WalletTransaction, label: str | None
) -> list[dict[str, Any]]:
    """One entry for each output that was sent, and for each that was received."""
    sent: list[dict[str, Any]] = []
    received: list[dict[str, Any]] = []
    fee_sat = item.debit_sat - sum(output.amount_sat for output in item.transaction.outputs)
    for index, output in enumerate(item.transaction.outputs):
        script = output.script_pubkey
        own, named = script in wallet.scripts, wallet.labels.get(script)
        if item.is_from_wallet and own and named is None:
            continue  # change
        if label is not None and named != label:
            continue
        entry = _entry(output)
        if named is not None:
            entry["label"] = named
        if item.is_from_wallet:
            amounts = {"amount": btc(-output.amount_sat), "vout": index, "fee": btc(-fee_sat)}
            abandoned = {"abandoned": item.txid in wallet.abandoned}
            sent.append({**entry, "category": "send", **amounts, **abandoned})
        if own:
            entry |= {"category": _category(context, item), "amount": btc(output.amount_sat), "vout": index}
            entry["parent_descs"] = [str(wallet.scripts[script].source.public)]
            received.append({**entry, "abandoned": item.txid in wallet.abandoned})
    return sent + received


def _entry(output: TxOutput) -> dict[str, Any]:
    address = encode_address(output.script_pubkey, NETWORK)
    return {} if address is None else {"address": address}


def _category(context: RpcContext, item: WalletTransaction) -> str:
    if not item.transaction.is_coinbase:
        return "receive"
    if item.block is None:
        return "orphan"
    return "immature" if context.node.chain.tip.height - item.block.height < COINBASE_MATURITY else "generate"


async def listtransactions(context: RpcContext, arguments: Arguments) -> Any:
    """The last payments to and from a wallet, the oldest first."""
    wallet = await find_wallet(context)
    label = arguments.text("label", "*") if arguments.has("label") else "*"
    if not label:
        text = 'Label argument must be a valid label name or "*".'
        raise RpcError(RpcCode.INVALID_PARAMETER, text)
    count, skip = arguments.integer("count", 10), arguments.integer("skip", 0)
    if count < 0:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Negative count")
    if skip < 0:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Negative from")
    entries: list[dict[str, Any]] = []
    # The newest first, until there are enough: a long history is not described for nothing.
    for item in reversed(await context.node.wallets.histories.of(wallet)):
        told = _details(context, wallet, item, None if label == "*" else label)
        entries += [entry | _describe(context, wallet, item) for entry in reversed(told)]
        if len(entries) >= count + skip:
            break
    return entries[skip : skip + count][::-1]


async def listsinceblock(context: RpcContext, arguments: Arguments) -> Any:
    """Everything that happened to a wallet since a block, and what a reorganisation took back."""
    wallet, tree = await find_wallet(context), context.node.chain.tree
    target = arguments.integer("target_confirmations", 1)
    if target < 1:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid parameter")
    since = -1
    removed: list[dict[str, Any]] = []
    label = arguments.text("label") if arguments.has("label") else None
    if arguments.text("blockhash"):
        node = tree.nodes.get(arguments.hash("blockhash", BlockHash))
        if node is None:
            raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Block not found")
        for found in node.branch():
            since = found.height
            if tree.is_active(found):
                break
            if arguments.flag("include_removed", True):
                block = await context.node.chain.read_block(found)
                txids = {transaction.txid for transaction in block.transactions}
                history = await context.node.wallets.histories.of(wallet)
                for item in (item for item in history if item.txid in txids):
                    facts = _describe(context, wallet, item)
                    removed += [entry | facts for entry in _details(context, wallet, item, label)]
    entries: list[dict[str, Any]] = []
    for item in await context.node.wallets.histories.of(wallet):
        if item.block is None or item.block.height > since:
            told = _details(context, wallet, item, label)
            entries += [entry | _describe(context, wallet, item) for entry in told]
    last = tree.active[max(0, tree.tip.height + 1 - target)]
    answer: dict[str, Any] = {"transactions": entries}
    if arguments.flag("include_removed", True):
        answer["removed"] = removed
    return answer | {"lastblock": str(last.hash)}


async def wallet_transaction(context: RpcContext, wallet: Wallet, txid: Txid) -> WalletTransaction:
    """A transaction of the wallet; raises `RpcError`."""
    item = await context.node.wallets.histories.find(wallet, txid)
    if item is None:
        text = "Invalid or non-wallet transaction id"
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, text)
    return item


async def gettransaction(context: RpcContext, arguments: Arguments) -> Any:
    """One transaction of a wallet: what it gave and took."""
    wallet = await find_wallet(context)
    item = await wallet_transaction(context, wallet, arguments.hash("txid", Txid))
    outputs = item.transaction.outputs
    credit_sat = sum(output.amount_sat for output in outputs if output.script_pubkey in wallet.scripts)
    young = _category(context, item) == "immature"
    fee_sat = item.debit_sat - sum(output.amount_sat for output in outputs) if item.is_from_wallet else 0
    net_sat = (0 if young else credit_sat) - item.debit_sat
    facts: dict[str, Any] = {"amount": btc(net_sat + fee_sat)}
    if item.is_from_wallet:
        facts["fee"] = btc(-fee_sat)
    facts |= _describe(context, wallet, item)
    facts["details"] = _details(context, wallet, item, None)
    facts["hex"] = item.transaction.serialize().hex()
    if arguments.flag("verbose", False):
        facts["decoded"] = describe_transaction(item.transaction, with_hex=False)
    return facts | {"lastprocessedblock": last_processed(context)}


async def abandontransaction(context: RpcContext, arguments: Arguments) -> Any:
    """Give up a transaction that neither waits nor is confirmed, so that its coins are free."""
    wallet = await find_wallet(context)
    item = await wallet_transaction(context, wallet, arguments.hash("txid", Txid))
    if item.is_waiting or item.block is not None:
        text = "Transaction not eligible for abandonment"
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, text)
    record = WalletAbandoned(wallet.name, bytes(item.txid))
    await context.node.in_turn(lambda: context.node.wallets.keep(record))


async def lockunspent(context: RpcContext, arguments: Arguments) -> Any:
    """Keep outputs from being spent, or free them again."""
    wallet = await find_wallet(context)
    unlock, persistent = arguments.flag("unlock", False), arguments.flag("persistent", False)
    if not arguments.has("transactions"):
        if unlock:
            await _change_locks(context, wallet, list(wallet.locked), lock=False, persistent=True)
        return True
    outpoints = [parse_outpoint(item) for item in arguments.items("transactions")]
    for outpoint in outpoints:
        fault = _lock_fault(context, wallet, outpoint, unlock=unlock, persistent=persistent)
        if fault:
            raise RpcError(RpcCode.INVALID_PARAMETER, f"Invalid parameter, {fault}")
    await _change_locks(context, wallet, outpoints, lock=not unlock, persistent=persistent or unlock)
    return True


def _lock_fault(
    context: RpcContext, wallet: Wallet, outpoint: Outpoint, *, unlock: bool, persistent: bool
) -> str:
    entry = context.node.pool.entries.get(outpoint.txid)
    if context.node.chain.index.transaction(outpoint.txid) is None and entry is None:
        return "unknown transaction"
    output = wallet.output(outpoint)
    if outpoint in context.node.pool.spends or output is None:
        return "expected unspent output"
    locked = outpoint in wallet.locked
    if unlock and not locked:
        return "expected locked output"
    if not unlock and locked and not persistent:
        return "output already locked"
    return ""


async def _change_locks(
    context: RpcContext, wallet: Wallet, outpoints: list[Outpoint], *, lock: bool, persistent: bool
) -> None:
    wallets = context.node.wallets
    if lock and not persistent:
        for outpoint in outpoints:
            wallets.lock(wallet, outpoint)
        return
    records = [
        WalletOutputLocked(wallet.name, bytes(outpoint.txid), outpoint.index, lock) for outpoint in outpoints
    ]
    if records:
        await context.node.in_turn(lambda: wallets.keep(*records))


async def listlockunspent(context: RpcContext, _: Arguments) -> Any:
    """The outputs that are kept from being spent; one that was spent all the same is locked no longer."""
    wallet, node = await find_wallet(context), context.node
    unspent = (
        outpoint
        for outpoint in wallet.locked
        if outpoint not in node.pool.spends and node.coin(outpoint) is not None
    )
    return [{"txid": str(outpoint.txid), "vout": outpoint.index} for outpoint in unspent]


METHODS: Final[dict[str, Method]] = dict(
    [
        method(
            listunspent,
            "minconf:number",
            "maxconf:number",
            "addresses:array",
            "include_unsafe:bool",
            "query_options:object{minimumAmount,maximumAmount,maximumCount,minimumSumAmount,"
            "include_immature_coinbase}",
        ),
        method(
            listtransactions, "label|dummy:string", "count:number", "skip:number", "include_watchonly:bool"
        ),
        method(
            listsinceblock,
            "blockhash:string",
            "target_confirmations:number",
            "include_watchonly:bool",
            "include_removed:bool",
            "include_change:bool",
            "label:string",
        ),
        method(gettransaction, "txid:string", "include_watchonly:bool", "verbose:bool", required=1),
        method(abandontransaction, "txid:string", required=1),
        method(lockunspent, "unlock:bool", "transactions:array", "persistent:bool", required=1),
        method(listlockunspent),
    ]
)

"""Replacing a wallet's unconfirmed payments by ones that pay more."""

from __future__ import annotations

from typing import Any, Final

from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.transaction import MAX_SEQUENCE_RBF, Transaction, TxInput, TxOutput
from anya_actors.serve.bitcoin_rpc.arguments import Arguments
from anya_actors.serve.bitcoin_rpc.context import Method, RpcContext, method
from anya_actors.serve.bitcoin_rpc.describe import btc
from anya_actors.serve.bitcoin_rpc.describe_psbt import psbt_text
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError
from anya_actors.serve.bitcoin_rpc.making import parse_outputs
from anya_actors.serve.bitcoin_rpc.methods.wallet_history import wallet_transaction
from anya_actors.serve.bitcoin_rpc.methods.wallet_sending import build, send_payment
from anya_actors.serve.bitcoin_rpc.wallet_terms import Terms, feerate_sat_per_vb
from anya_actors.serve.bitcoin_rpc.wallets import find_wallet
from anya_actors.services.bitcoin_node.wallets.keys import AddressKind
from anya_actors.services.bitcoin_node.wallets.payments import PaymentRequest
from anya_actors.services.bitcoin_node.wallets.wallet import Wallet

_OPTIONS: Final = (
    "options:object{conf_target,fee_rate,replaceable,estimate_mode,outputs,original_change_index}"
)


async def bumpfee(context: RpcContext, arguments: Arguments) -> Any:
    """Replace an unconfirmed payment by one that pays a higher fee."""
    wallet = await find_wallet(context)
    wallet.verify_unlocked()
    old, terms, old_fee_sat = await _bumped(context, wallet, arguments)
    transaction = await send_payment(context, wallet, terms, replaces=old.txid)
    paid_sat = sum(output.amount_sat for output in transaction.outputs)
    spent = [context.node.wallets.histories.output(wallet, one.prevout) for one in transaction.inputs]
    fee_sat = sum(output.amount_sat for output in spent if output is not None) - paid_sat
    answer = {"txid": str(transaction.txid), "origfee": btc(old_fee_sat), "fee": btc(fee_sat)}
    return {**answer, "errors": []}


async def psbtbumpfee(context: RpcContext, arguments: Arguments) -> Any:
    """As ``bumpfee``, but give the replacement back as a PSBT to be signed."""
    wallet = await find_wallet(context)
    _, terms, old_fee_sat = await _bumped(context, wallet, arguments)
    payment = await context.node.in_turn(lambda: build(context, wallet, terms))
    psbt = await context.node.wallets.psbt_of(wallet, payment.transaction)
    answer = {"psbt": psbt_text(psbt), "origfee": btc(old_fee_sat), "fee": btc(payment.fee_sat)}
    return {**answer, "errors": []}


async def _bumped(
    context: RpcContext, wallet: Wallet, arguments: Arguments
) -> tuple[Transaction, Terms, int]:
    """The payment to be replaced, the terms of its successor, and the fee it pays."""
    item = await wallet_transaction(context, wallet, arguments.hash("txid", Txid))
    old, options = item.transaction, arguments.options("options")
    entry = context.node.pool.entries.get(old.txid)
    _verify_bumpable(
        context, wallet, old, is_confirmed=item.block is not None or item.conflict_height is not None
    )
    if entry is None or item.fee_sat is None:
        text = "Transaction contains inputs that don't belong to this wallet"
        raise RpcError(RpcCode.WALLET_ERROR, text)
    # Core's wallet adds 5 sat/vB to what the old one paid; the mempool wants 1 sat/vB more at least.
    old_rate = -(-item.fee_sat // old.vsize)
    asked = options.has("fee_rate") or options.has("conf_target")
    rate = feerate_sat_per_vb(options) if options.has("fee_rate") else old_rate + 5
    if asked and options.has("fee_rate") and rate <= old_rate:
        text = (
            f"Insufficient total fee {rate * old.vsize} sat, must be at least "
            f"{item.fee_sat + old.vsize} sat (oldFee {item.fee_sat} sat + incrementalFee {old.vsize} sat)"
        )
        raise RpcError(RpcCode.INVALID_PARAMETER, text)
    change = next((at for at, output in enumerate(old.outputs) if _is_change(wallet, output)), None)
    outputs = [output for at, output in enumerate(old.outputs) if at != change]
    if options.has("outputs"):
        outputs = parse_outputs(options.raw("outputs"))
    sequence = MAX_SEQUENCE_RBF if options.flag("replaceable", True) else MAX_SEQUENCE_RBF + 1
    inputs = tuple(TxInput(spent.prevout, sequence=sequence) for spent in old.inputs)
    request = PaymentRequest(
        tuple(outputs),
        rate,
        inputs=inputs,
        least_confirmations=1,
        version=old.version,
        lock_time=old.lock_time,
        change_script=b"" if change is None else old.outputs[change].script_pubkey,
        change_place=change if change is not None and change <= len(outputs) else None,
    )
    return old, Terms(request, AddressKind.BECH32), item.fee_sat


def _is_change(wallet: Wallet, output: TxOutput) -> bool:
    return output.script_pubkey in wallet.scripts and output.script_pubkey not in wallet.labels


def _verify_bumpable(context: RpcContext, wallet: Wallet, old: Transaction, *, is_confirmed: bool) -> None:
    if is_confirmed:
        text = "Transaction has been mined, or is conflicted with a mined transaction"
        raise RpcError(RpcCode.WALLET_ERROR, text)
    if context.node.pool.children(old.txid):
        raise RpcError(RpcCode.INVALID_PARAMETER, "Transaction has descendants in the wallet")
    after = next((txid for txid, sent in wallet.sent.items() if sent.replaces == old.txid), None)
    if after is not None:
        text = f"Cannot bump transaction {old.txid} which was already bumped by transaction {after}"
        raise RpcError(RpcCode.WALLET_ERROR, text)
    if all(spent.sequence > MAX_SEQUENCE_RBF for spent in old.inputs):
        raise RpcError(RpcCode.WALLET_ERROR, "Transaction is not BIP 125 replaceable")


METHODS: Final[dict[str, Method]] = dict(
    [
        method(bumpfee, "txid:string", _OPTIONS, required=1),
        method(psbtbumpfee, "txid:string", _OPTIONS, required=1),
    ]
)

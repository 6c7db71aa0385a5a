"""Paying from a wallet, and signing with its keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from anya_actors.domain.bitcoin.coin_selection import (
    DustError,
    InsufficientFundsError,
    TransactionTooLargeError,
)
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.script import is_unspendable
from anya_actors.domain.bitcoin.transaction import Transaction, TxOutput
from anya_actors.serve.bitcoin_rpc.arguments import Arguments
from anya_actors.serve.bitcoin_rpc.context import Method, RpcContext, method
from anya_actors.serve.bitcoin_rpc.describe import btc
from anya_actors.serve.bitcoin_rpc.describe_psbt import psbt_text
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError
from anya_actors.serve.bitcoin_rpc.making import parse_outputs
from anya_actors.serve.bitcoin_rpc.signing import signing_answer, stated_outputs, with_sighash
from anya_actors.serve.bitcoin_rpc.wallet_terms import OPTIONS, Terms, read_terms
from anya_actors.serve.bitcoin_rpc.wallets import find_wallet, read_address
from anya_actors.services.bitcoin_node.wallets.collection import NoKeysError
from anya_actors.services.bitcoin_node.wallets.payments import Payment, PaymentRequest, UnknownInputError
from anya_actors.services.bitcoin_node.wallets.signing import finalized
from anya_actors.services.bitcoin_node.wallets.wallet import Wallet

_OPTIONS: Final = f"options:object{{{OPTIONS}}}"


async def build(context: RpcContext, wallet: Wallet, terms: Terms) -> Payment:
    """A payment without signatures, with Core's words for what cannot be; call it in turn."""
    try:
        payment = await context.node.wallets.build(wallet, terms.request, terms.change)
    except InsufficientFundsError as error:
        raise RpcError(RpcCode.WALLET_INSUFFICIENT_FUNDS, "Insufficient funds") from error
    except DustError as error:
        raise RpcError(RpcCode.WALLET_INSUFFICIENT_FUNDS, "Transaction amount too small") from error
    except TransactionTooLargeError as error:
        raise RpcError(RpcCode.WALLET_ERROR, "Transaction too large") from error
    except UnknownInputError as error:
        text = f"Not found pre-selected input {error.args[0]}"
        raise RpcError(RpcCode.WALLET_ERROR, text) from error
    except NoKeysError as error:
        text = "Transaction needs a change address, but we can't generate it."
        raise RpcError(RpcCode.WALLET_ERROR, text) from error
    if terms.locks_inputs:
        for tx_input in payment.transaction.inputs:
            context.node.wallets.lock(wallet, tx_input.prevout)
    return payment


def is_signed(transaction: Transaction) -> bool:
    """Whether every input holds what may satisfy it."""
    return all(tx_input.script_sig or tx_input.witness for tx_input in transaction.inputs)


async def send_payment(
    context: RpcContext,
    wallet: Wallet,
    terms: Terms,
    *,
    comment: str = "",
    to: str = "",
    replaces: Txid | None = None,
) -> Transaction:
    if not wallet.has_private_keys:
        text = "Error: Private keys are disabled for this wallet"
        raise RpcError(RpcCode.WALLET_ERROR, text)

    async def signed() -> Transaction:
        payment = await build(context, wallet, terms)
        transaction = await context.node.wallets.sign(wallet, payment.transaction)
        if not is_signed(transaction):
            raise RpcError(RpcCode.WALLET_ERROR, "Signing transaction failed")
        return transaction

    return await context.node.send(wallet, signed, comment=comment, to=to, replaces=replaces)


def _answer(transaction: Transaction, arguments: Arguments) -> Any:
    if arguments.flag("verbose", False):
        return {"txid": str(transaction.txid), "fee_reason": "Fallback fee"}
    return str(transaction.txid)


async def sendtoaddress(context: RpcContext, arguments: Arguments) -> Any:
    """Pay an amount to an address."""
    wallet = await find_wallet(context)
    wallet.verify_unlocked()
    script = read_address(arguments.text("address"), "Invalid Bitcoin address")
    amount_sat = arguments.amount_sat("amount")
    if amount_sat <= 0:
        raise RpcError(RpcCode.TYPE_ERROR, "Invalid amount for send")
    payers = (0,) if arguments.flag("subtractfeefromamount", False) else ()
    terms = read_terms(arguments, [TxOutput(amount_sat, script)], fee_payers=payers)
    comment, to = arguments.text("comment"), arguments.text("comment_to")
    transaction = await send_payment(context, wallet, terms, comment=comment, to=to)
    return _answer(transaction, arguments)


async def sendmany(context: RpcContext, arguments: Arguments) -> Any:
    """Pay amounts to several addresses at once."""
    wallet = await find_wallet(context)
    wallet.verify_unlocked()
    if arguments.text("dummy"):
        raise RpcError(RpcCode.INVALID_PARAMETER, 'Dummy value must be set to ""')
    outputs = parse_outputs(arguments.raw("amounts"))
    if not outputs:
        raise RpcError(RpcCode.WALLET_INSUFFICIENT_FUNDS, "Transaction must have at least one recipient")
    names = {output.script_pubkey: at for at, output in enumerate(outputs)}
    payers: list[int] = []
    for text in arguments.items("subtractfeefrom"):
        place = names.get(read_address(str(text), f"Invalid Bitcoin address: {text}"))
        if place is None:
            words = (
                f"Invalid parameter 'subtract fee from output', destination {text} not found in tx outputs"
            )
            raise RpcError(RpcCode.INVALID_PARAMETER, words)
        if place in payers:
            words = f"Invalid parameter 'subtract fee from output', duplicated position: {place}"
            raise RpcError(RpcCode.INVALID_PARAMETER, words)
        payers.append(place)
    terms = read_terms(arguments, outputs, fee_payers=tuple(payers))
    transaction = await send_payment(context, wallet, terms, comment=arguments.text("comment"))
    return _answer(transaction, arguments)


def _options(arguments: Arguments) -> Arguments:
    """The options object with the fee's terms, which may stand beside it."""
    members = dict(arguments.raw("options") or {})
    for name in ("conf_target", "estimate_mode", "fee_rate"):
        if arguments.has(name):
            if name in members:
                text = f"Pass {name} either as an argument or in the options object, but not both"
                raise RpcError(RpcCode.INVALID_PARAMETER, text)
            members[name] = arguments.raw(name)
    return Arguments(members)


async def send(context: RpcContext, arguments: Arguments) -> Any:
    """Pay to several outputs, with full control."""
    wallet, options = await find_wallet(context), _options(arguments)
    outputs = parse_outputs(arguments.raw("outputs"))
    _verify_outputs(outputs)
    return await _finish(context, wallet, read_terms(options, outputs), options)


def _verify_outputs(outputs: Sequence[TxOutput]) -> None:
    if not outputs:
        raise RpcError(RpcCode.INVALID_PARAMETER, "TX must have at least one output")
    for output in outputs:
        if not output.amount_sat and not is_unspendable(output.script_pubkey):
            raise RpcError(RpcCode.WALLET_INSUFFICIENT_FUNDS, "Transaction amount too small")


async def _finish(context: RpcContext, wallet: Wallet, terms: Terms, options: Arguments) -> Any:
    """Send, or give back what would be sent, as the options say, or without signatures if it is locked."""
    as_psbt, has_keys = options.flag("psbt", False), wallet.has_private_keys and not wallet.is_locked
    if options.flag("add_to_wallet", True) and not as_psbt and has_keys:
        transaction = await send_payment(context, wallet, terms)
        return {"complete": True, "txid": str(transaction.txid)}
    payment = await context.node.in_turn(lambda: build(context, wallet, terms))
    wallets = context.node.wallets
    psbt = await wallets.psbt_of(wallet, payment.transaction)
    if not wallet.is_locked:
        psbt = wallets.signed_psbt(wallet, psbt)
    signed = finalized(psbt, payment.transaction)
    facts: dict[str, Any] = {}
    if as_psbt or not is_signed(signed):
        facts["psbt"] = psbt_text(psbt)
    if is_signed(signed):
        facts |= {"txid": str(signed.txid), "hex": signed.serialize().hex()}
    return facts | {"complete": is_signed(signed)}


async def sendall(context: RpcContext, arguments: Arguments) -> Any:
    """Pay everything that a wallet, or these inputs, hold; receivers without an amount share the rest."""
    wallet, options = await find_wallet(context), _options(arguments)
    outputs: list[TxOutput] = []
    for item in arguments.items("recipients"):
        if isinstance(item, str):
            outputs.append(TxOutput(0, read_address(item, f"Invalid Bitcoin address: {item}")))
        else:
            outputs += parse_outputs([item])
    if not any(not output.amount_sat for output in outputs):
        text = "Must provide at least one address without a specified amount"
        raise RpcError(RpcCode.INVALID_PARAMETER, text)
    if len({output.script_pubkey for output in outputs}) != len(outputs):
        raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid parameter, duplicated address")
    terms = read_terms(options, outputs)
    request = terms.request
    everything = PaymentRequest(
        tuple(outputs),
        request.feerate_sat_per_vb,
        (),
        request.inputs,
        adds_inputs=not request.inputs,
        least_confirmations=request.least_confirmations,
        sends_all=True,
        lock_time=request.lock_time,
    )
    return await _finish(context, wallet, Terms(everything, locks_inputs=terms.locks_inputs), options)


async def fundrawtransaction(context: RpcContext, arguments: Arguments) -> Any:
    """Add inputs, and change if need be, until a transaction pays for itself."""
    wallet = await find_wallet(context)
    witness = arguments.flag("iswitness", True) if arguments.has("iswitness") else None
    given = arguments.transaction("hexstring", witness=witness)
    options = (
        Arguments(arguments.raw("options")) if isinstance(arguments.raw("options"), dict) else Arguments({})
    )
    if not given.outputs:
        raise RpcError(RpcCode.INVALID_PARAMETER, "TX must have at least one output")
    terms = read_terms(options, given.outputs, adds_inputs=True, inputs=given.inputs)
    payment = await context.node.in_turn(lambda: build(context, wallet, _like(terms, given)))
    place = payment.change_place
    return {
        "hex": payment.transaction.serialize().hex(),
        "fee": btc(payment.fee_sat),
        "changepos": -1 if place is None else place,
    }


def _like(terms: Terms, given: Transaction) -> Terms:
    """The terms with the version and the lock time of a transaction."""
    request = terms.request
    kept = PaymentRequest(
        request.outputs,
        request.feerate_sat_per_vb,
        request.fee_payers,
        request.inputs,
        adds_inputs=request.adds_inputs,
        with_unsafe=request.with_unsafe,
        least_confirmations=request.least_confirmations,
        replaceable=request.replaceable,
        version=given.version,
        lock_time=given.lock_time,
        change_script=request.change_script,
        change_place=request.change_place,
    )
    return Terms(kept, terms.change, terms.locks_inputs)


async def signrawtransactionwithwallet(context: RpcContext, arguments: Arguments) -> Any:
    """Sign what the wallet's keys can sign of a transaction."""
    wallet = await find_wallet(context)
    transaction = arguments.transaction("hexstring")
    wallet.verify_unlocked()
    stated = stated_outputs(arguments.items("prevtxs"))
    wallets = context.node.wallets
    psbt = await wallets.psbt_of(wallet, transaction, stated.outputs, stated.plans)
    signed = finalized(wallets.signed_psbt(wallet, with_sighash(psbt, arguments)), transaction)
    return await signing_answer(context, signed, stated.outputs)


_FEE_ARGUMENTS: Final = ("replaceable:bool", "conf_target:number", "estimate_mode:string")
METHODS: Final[dict[str, Method]] = dict(
    [
        method(
            sendtoaddress,
            "address:string",
            "amount",
            "comment:string",
            "comment_to:string",
            "subtractfeefromamount:bool",
            *_FEE_ARGUMENTS,
            "avoid_reuse:bool",
            "fee_rate",
            "verbose:bool",
            required=2,
        ),
        method(
            sendmany,
            "dummy:string",
            "amounts:object",
            "minconf:number",
            "comment:string",
            "subtractfeefrom:array",
            *_FEE_ARGUMENTS,
            "fee_rate",
            "verbose:bool",
            required=2,
        ),
        method(
            send,
            "outputs",
            "conf_target:number",
            "estimate_mode:string",
            "fee_rate",
            _OPTIONS,
            "version:number",
            required=1,
        ),
        method(
            sendall,
            "recipients:array",
            "conf_target:number",
            "estimate_mode:string",
            "fee_rate",
            _OPTIONS,
            required=1,
        ),
        method(
            fundrawtransaction, "hexstring:string", f"options:{{{OPTIONS}}}", "iswitness:bool", required=1
        ),
        method(
            signrawtransactionwithwallet,
            "hexstring:string",
            "prevtxs:array",
            "sighashtype:string",
            required=1,
        ),
    ]
)

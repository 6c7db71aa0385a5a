"""PSBTs of a wallet, and raw transactions signed with keys of the call."""

from __future__ import annotations

from typing import Any, Final

from anya_actors.domain.bitcoin.descriptors import ScriptPlan
from anya_actors.domain.bitcoin.psbt import Psbt, PsbtStateError
from anya_actors.domain.bitcoin.psbt.update import update_psbt
from anya_actors.domain.bitcoin.script import hash160, p2sh_script, p2wpkh_script
from anya_actors.domain.bitcoin.transaction import MAX_SEQUENCE_RBF, SEQUENCE_FINAL, Transaction
from anya_actors.serve.bitcoin_rpc.arguments import INT64, Arguments, parse_transaction_argument, require
from anya_actors.serve.bitcoin_rpc.context import Method, RpcContext, method
from anya_actors.serve.bitcoin_rpc.describe import btc
from anya_actors.serve.bitcoin_rpc.describe_psbt import psbt_text
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError
from anya_actors.serve.bitcoin_rpc.making import parse_input, parse_outputs
from anya_actors.serve.bitcoin_rpc.methods.psbt import (
    processed,
    read_psbt,
    with_known_outputs,
    without_signatures,
)
from anya_actors.serve.bitcoin_rpc.methods.util import read_private_key
from anya_actors.serve.bitcoin_rpc.methods.wallet_sending import build
from anya_actors.serve.bitcoin_rpc.signing import parse_sighash, signing_answer, stated_outputs, with_sighash
from anya_actors.serve.bitcoin_rpc.wallet_terms import OPTIONS, Terms, read_terms
from anya_actors.serve.bitcoin_rpc.wallets import find_wallet
from anya_actors.services.bitcoin_node.wallets.payments import PaymentRequest
from anya_actors.services.bitcoin_node.wallets.signing import LocalKeys, as_psbt, finalized
from anya_actors.services.bitcoin_node.wallets.wallet import Wallet


async def walletcreatefundedpsbt(context: RpcContext, arguments: Arguments) -> Any:
    """A PSBT that pays these outputs from a wallet, with its fee and change."""
    wallet, options = await find_wallet(context), arguments.options("options")
    sequence = MAX_SEQUENCE_RBF if options.flag("replaceable", True) else SEQUENCE_FINAL - 1
    inputs = tuple(parse_input(item, sequence) for item in arguments.items("inputs"))
    outputs = parse_outputs(arguments.raw("outputs"))
    if not outputs:
        raise RpcError(RpcCode.INVALID_PARAMETER, "TX must have at least one output")
    terms = read_terms(options, outputs, inputs=inputs)
    request = terms.request
    lock_time = arguments.integer("locktime", 0, INT64)
    if not 0 <= lock_time <= SEQUENCE_FINAL:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid parameter, locktime out of range")
    whole = PaymentRequest(
        request.outputs,
        request.feerate_sat_per_vb,
        request.fee_payers,
        inputs,
        adds_inputs=request.adds_inputs,
        with_unsafe=request.with_unsafe,
        least_confirmations=request.least_confirmations,
        replaceable=request.replaceable,
        version=arguments.integer("version", 2),
        lock_time=lock_time,
        change_script=request.change_script,
        change_place=request.change_place,
    )
    kept = Terms(whole, terms.change, terms.locks_inputs)
    payment = await context.node.in_turn(lambda: build(context, wallet, kept))
    psbt = await context.node.wallets.psbt_of(wallet, payment.transaction)
    place = payment.change_place
    return {
        "psbt": psbt_text(psbt),
        "fee": btc(payment.fee_sat),
        "changepos": -1 if place is None else place,
    }


async def walletprocesspsbt(context: RpcContext, arguments: Arguments) -> Any:
    """Update a PSBT by what a wallet knows, and sign it with the wallet's keys."""
    wallet = await find_wallet(context)
    given = read_psbt(arguments.raw("psbt"))
    if arguments.flag("sign", True):
        wallet.verify_unlocked()
    psbt = await _updated(context, wallet, given, arguments)
    if arguments.flag("sign", True) and wallet.has_private_keys:
        psbt = context.node.wallets.signed_psbt(wallet, with_sighash(psbt, arguments))
    return processed(psbt, finalize=arguments.flag("finalize", True))


async def _updated(context: RpcContext, wallet: Wallet, psbt: Psbt, arguments: Arguments) -> Psbt:
    psbt = await with_known_outputs(context, psbt)
    if not arguments.flag("bip32derivs", True):
        return psbt
    try:
        return update_psbt(psbt, wallet.finder({}))
    except PsbtStateError as error:
        raise RpcError(RpcCode.DESERIALIZATION_ERROR, error.reason) from error


async def signrawtransactionwithkey(context: RpcContext, arguments: Arguments) -> Any:
    """Sign what these private keys can sign of a transaction."""
    transaction = arguments.transaction("hexstring")
    parse_sighash(arguments)
    stated = stated_outputs(arguments.items("prevtxs"))
    keys = LocalKeys()
    plans: dict[bytes, ScriptPlan] = dict(stated.plans)
    try:
        for text in arguments.items("privkeys"):
            key = read_private_key(require(text, str))
            public_key = key.public_key()
            keys.add(public_key, key.secret)
            program = p2wpkh_script(hash160(public_key))
            nested = p2sh_script(hash160(program))
            plans.setdefault(nested, ScriptPlan(nested, (), program))
        previous = await context.node.wallets.histories.previous(transaction)
        outputs = dict(stated.outputs)
        psbt = as_psbt(transaction, previous, outputs, plans.get)
        signed = finalized(keys.sign_psbt(with_sighash(psbt, arguments)), transaction)
    finally:
        keys.wipe()
    return await signing_answer(context, signed, stated.outputs)


async def combinerawtransaction(_: RpcContext, arguments: Arguments) -> Any:
    """One transaction with the signed inputs of several copies of it."""
    given = [parse_transaction_argument(require(text, str)) for text in arguments.items("txs")]
    if not given:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Missing transactions")
    bare = without_signatures(given[0])
    if any(without_signatures(other) != bare for other in given):
        raise RpcError(RpcCode.INVALID_PARAMETER, "The transactions are not copies of one transaction")
    inputs = []
    for place, tx_input in enumerate(bare.inputs):
        signed = [
            other.inputs[place]
            for other in given
            if other.inputs[place].script_sig or other.inputs[place].witness
        ]
        if len(set(signed)) > 1:
            text = "Signatures of several signers in one input can only be combined in a PSBT"
            raise RpcError(RpcCode.MISC_ERROR, text)
        inputs.append(signed[0] if signed else tx_input)
    return Transaction(bare.version, tuple(inputs), bare.outputs, bare.lock_time).serialize().hex()


METHODS: Final[dict[str, Method]] = dict(
    [
        method(
            walletcreatefundedpsbt,
            "inputs:array",
            "outputs",
            "locktime:number",
            f"options:object{{{OPTIONS}}}",
            "bip32derivs:bool",
            "version:number",
            required=2,
        ),
        method(
            walletprocesspsbt,
            "psbt:string",
            "sign:bool",
            "sighashtype:string",
            "bip32derivs:bool",
            "finalize:bool",
            required=1,
        ),
    ]
)
RAW_TRANSACTIONS: Final[dict[str, Method]] = dict(
    [
        method(
            signrawtransactionwithkey,
            "hexstring:string",
            "privkeys:array",
            "prevtxs:array",
            "sighashtype:string",
            required=2,
        ),
        method(combinerawtransaction, "txs:array", required=1),
    ]
)

"""Partially signed transactions that come with the call: reading, joining, completing them."""

from __future__ import annotations

import secrets
from typing import Any, Final

from msgspec.structs import replace

from anya_actors.domain.bitcoin.descriptors import ScriptPlan
from anya_actors.domain.bitcoin.psbt import Psbt, PsbtError, PsbtStateError, parse_psbt_base64
from anya_actors.domain.bitcoin.psbt.finalize import finalize_what_is_complete
from anya_actors.domain.bitcoin.psbt.maps import GlobalMap, InputMap, OutputMap
from anya_actors.domain.bitcoin.psbt.roles import combine_psbts, create_psbt, extract_transaction
from anya_actors.domain.bitcoin.psbt.update import update_psbt, with_utxos, with_witness_utxos
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxInput, TxOutput
from anya_actors.serve.bitcoin_rpc.analyze_psbt import analyze
from anya_actors.serve.bitcoin_rpc.arguments import Arguments, require
from anya_actors.serve.bitcoin_rpc.context import Method, RpcContext, method
from anya_actors.serve.bitcoin_rpc.describe_psbt import describe_psbt, psbt_text
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError
from anya_actors.serve.bitcoin_rpc.making import make_transaction
from anya_actors.serve.bitcoin_rpc.scripts import keys_and_plans
from anya_actors.serve.bitcoin_rpc.signing import with_sighash


def read_psbt(text: Any) -> Psbt:
    """A PSBT in base64; raises `RpcError` with Core's words."""
    try:
        return parse_psbt_base64(require(text, str))
    except PsbtError as error:
        words = f"TX decode failed {error.reason}"
        raise RpcError(RpcCode.DESERIALIZATION_ERROR, words) from error


def _all_psbts(arguments: Arguments) -> list[Psbt]:
    return [read_psbt(text) for text in arguments.items("txs")]


async def createpsbt(_: RpcContext, arguments: Arguments) -> Any:
    """A PSBT that spends these outputs and pays these."""
    replaceable = arguments.flag("replaceable", True) if arguments.has("replaceable") else None
    return psbt_text(create_psbt(make_transaction(arguments, replaceable=replaceable)))


async def converttopsbt(_: RpcContext, arguments: Arguments) -> Any:
    """A PSBT of a transaction; its signatures are left out if that is permitted."""
    witness = arguments.flag("iswitness", True) if arguments.has("iswitness") else None
    given = arguments.transaction("hexstring", witness=witness)
    signed = any(tx_input.script_sig or tx_input.witness for tx_input in given.inputs)
    if signed and not arguments.flag("permitsigdata", False):
        text = "Inputs must not have scriptSigs and scriptWitnesses"
        raise RpcError(RpcCode.DESERIALIZATION_ERROR, text)
    return psbt_text(create_psbt(without_signatures(given)))


def without_signatures(given: Transaction) -> Transaction:
    """The transaction as it was before anybody signed it."""
    inputs = tuple(replace(tx_input, script_sig=b"", witness=()) for tx_input in given.inputs)
    return Transaction(given.version, inputs, given.outputs, given.lock_time)


async def decodepsbt(_: RpcContext, arguments: Arguments) -> Any:
    """Everything a PSBT says."""
    psbt = read_psbt(arguments.raw("psbt"))
    try:
        return describe_psbt(psbt)
    except PsbtStateError as error:
        raise RpcError(RpcCode.DESERIALIZATION_ERROR, str(error)) from error


async def analyzepsbt(_: RpcContext, arguments: Arguments) -> Any:
    """What a PSBT still needs, and who is next."""
    return analyze(read_psbt(arguments.raw("psbt")))


async def combinepsbt(_: RpcContext, arguments: Arguments) -> Any:
    """All that several PSBTs of one transaction say together."""
    psbts = _all_psbts(arguments)
    if not psbts:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Parameter 'txs' cannot be empty")
    try:
        return psbt_text(combine_psbts(psbts))
    except PsbtStateError as error:
        raise RpcError(RpcCode.INVALID_PARAMETER, error.reason) from error


async def finalizepsbt(_: RpcContext, arguments: Arguments) -> Any:
    """Complete the inputs that have all signatures; the transaction if all have."""
    psbt, complete = finalize_what_is_complete(read_psbt(arguments.raw("psbt")))
    if complete and arguments.flag("extract", True):
        return {"hex": extracted(psbt).serialize().hex(), "complete": True}
    return {"psbt": psbt_text(psbt), "complete": complete}


def extracted(psbt: Psbt) -> Transaction:
    """The transaction of a complete PSBT, whatever its fee, as in Core."""
    return extract_transaction(psbt, max_feerate_sat_per_kvb=None)


async def joinpsbts(_: RpcContext, arguments: Arguments) -> Any:
    """One PSBT with the inputs and outputs of several, in an order that tells nothing."""
    psbts = _all_psbts(arguments)
    if len(psbts) < 2:
        text = "At least two PSBTs are required to join PSBTs."
        raise RpcError(RpcCode.INVALID_PARAMETER, text)
    transactions = [psbt.unsigned_transaction for psbt in psbts]
    inputs: list[tuple[TxInput, InputMap]] = []
    outputs: list[tuple[TxOutput, OutputMap]] = []
    seen: set[Outpoint] = set()
    for psbt, transaction in zip(psbts, transactions, strict=True):
        for tx_input, held in zip(transaction.inputs, psbt.inputs, strict=True):
            if tx_input.prevout in seen:
                text = f"Input {tx_input.prevout} exists in multiple PSBTs"
                raise RpcError(RpcCode.INVALID_PARAMETER, text)
            seen.add(tx_input.prevout)
            inputs.append((tx_input, held))
        outputs += zip(transaction.outputs, psbt.outputs, strict=True)
    chance = secrets.SystemRandom()
    chance.shuffle(inputs)
    chance.shuffle(outputs)
    joined = Transaction(
        max(transaction.version for transaction in transactions),
        tuple(tx_input for tx_input, _ in inputs),
        tuple(output for output, _ in outputs),
        min(transaction.lock_time for transaction in transactions),
    )
    made = create_psbt(joined)
    header: GlobalMap = made.globals
    for psbt in psbts:
        header = header.merged(psbt.globals)
    whole = Psbt(header, tuple(held for _, held in inputs), tuple(held for _, held in outputs))
    return psbt_text(whole)


async def with_known_outputs(context: RpcContext, psbt: Psbt) -> Psbt:
    """The PSBT with the outputs that inputs spend, as far as the node knows them."""
    histories = context.node.wallets.histories
    transaction = psbt.unsigned_transaction
    lacking = [
        tx_input
        for tx_input, held in zip(transaction.inputs, psbt.inputs, strict=True)
        if held.non_witness_utxo is None and not held.is_final
    ]
    wanted = Transaction(2, tuple(lacking), ())
    psbt = with_utxos(psbt, await histories.previous(wanted))
    outputs = {}
    for tx_input, held in zip(transaction.inputs, psbt.inputs, strict=True):
        coin = context.node.coin(tx_input.prevout)
        if coin is not None and held.non_witness_utxo is None and held.witness_utxo is None:
            outputs[tx_input.prevout] = coin.output
    return with_witness_utxos(psbt, outputs)


async def utxoupdatepsbt(context: RpcContext, arguments: Arguments) -> Any:
    """Put in the outputs that are spent, and what descriptors tell of inputs and outputs."""
    psbt = read_psbt(arguments.raw("psbt"))
    keys, plans = keys_and_plans(arguments.items("descriptors"))
    keys.wipe()
    return psbt_text(_updated(await with_known_outputs(context, psbt), plans))


def _updated(psbt: Psbt, plans: dict[bytes, ScriptPlan]) -> Psbt:
    try:
        return update_psbt(psbt, plans.get)
    except PsbtStateError as error:
        raise RpcError(RpcCode.DESERIALIZATION_ERROR, error.reason) from error


async def descriptorprocesspsbt(context: RpcContext, arguments: Arguments) -> Any:
    """Update a PSBT by descriptors and sign with the private keys that stand in them."""
    psbt = read_psbt(arguments.raw("psbt"))
    keys, plans = keys_and_plans(arguments.items("descriptors"))
    try:
        psbt = _updated(await with_known_outputs(context, psbt), plans)
        psbt = keys.sign_psbt(with_sighash(psbt, arguments))
    finally:
        keys.wipe()
    return processed(psbt, finalize=arguments.flag("finalize", True))


def processed(psbt: Psbt, *, finalize: bool) -> dict[str, Any]:
    """The answer of the methods that sign a PSBT."""
    final, complete = finalize_what_is_complete(psbt)
    facts = {"psbt": psbt_text(final if finalize else psbt), "complete": complete}
    return {**facts, "hex": extracted(final).serialize().hex()} if complete and finalize else facts


METHODS: Final[dict[str, Method]] = dict(
    [
        method(
            createpsbt,
            "inputs:array",
            "outputs",
            "locktime:number",
            "replaceable:bool",
            "version:number",
            required=2,
        ),
        method(converttopsbt, "hexstring:string", "permitsigdata:bool", "iswitness:bool", required=1),
        method(decodepsbt, "psbt:string", required=1),
        method(analyzepsbt, "psbt:string", required=1),
        method(combinepsbt, "txs:array", required=1),
        method(finalizepsbt, "psbt:string", "extract:bool", required=1),
        method(joinpsbts, "txs:array", required=1),
        method(utxoupdatepsbt, "psbt:string", "descriptors:array", required=1),
        method(
            descriptorprocesspsbt,
            "psbt:string",
            "descriptors:array",
            "sighashtype:string",
            "bip32derivs:bool",
            "finalize:bool",
            required=2,
        ),
    ]
)

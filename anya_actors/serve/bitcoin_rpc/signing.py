"""Signing raw transactions: what callers say of spent outputs, and what the answer says of each input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from anya_actors.domain.bitcoin.coin_index import scripthash
from anya_actors.domain.bitcoin.descriptors import ScriptPlan
from anya_actors.domain.bitcoin.errors import RejectedTransactionError
from anya_actors.domain.bitcoin.psbt import Psbt
from anya_actors.domain.bitcoin.psbt.fields import In
from anya_actors.domain.bitcoin.script import ScriptType, classify, hash160, p2sh_script, witness_script
from anya_actors.domain.bitcoin.sighash import Sighash
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxInput, TxOutput
from anya_actors.serve.bitcoin_rpc.arguments import Arguments, parse_amount_argument, parse_hex, require
from anya_actors.serve.bitcoin_rpc.context import RpcContext
from anya_actors.serve.bitcoin_rpc.describe import SIGHASH_WORDS
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError
from anya_actors.serve.bitcoin_rpc.making import parse_outpoint


@dataclass(slots=True)
class Stated:
    """What a caller says of outputs that are spent, and of the scripts behind them."""

    outputs: dict[Outpoint, TxOutput] = field(default_factory=dict)
    plans: dict[bytes, ScriptPlan] = field(default_factory=dict)


def stated_outputs(items: list[Any]) -> Stated:
    """Outputs with their scripts, as ``prevtxs`` names them; raises `RpcError`."""
    stated = Stated()
    for item in items:
        fields = Arguments(require(item, dict))
        outpoint = parse_outpoint(item)
        script = parse_hex(fields.raw("scriptPubKey"), "scriptPubKey")
        amount_sat = parse_amount_argument(fields.raw("amount")) if fields.has("amount") else 0
        stated.outputs[outpoint] = TxOutput(amount_sat, script)
        redeem = parse_hex(fields.raw("redeemScript"), "redeemScript") if fields.has("redeemScript") else None
        witness = (
            parse_hex(fields.raw("witnessScript"), "witnessScript") if fields.has("witnessScript") else None
        )
        stated.plans[script] = _plan(script, redeem, witness)
    return stated


def _plan(script: bytes, redeem: bytes | None, witness: bytes | None) -> ScriptPlan:
    """The scripts behind an output, each where it belongs; raises `RpcError` if one fits nowhere."""
    kind = classify(script)
    if witness is None and redeem is not None and kind is ScriptType.WITNESS_V0_SCRIPTHASH:
        redeem, witness = None, redeem
    if kind is ScriptType.SCRIPTHASH:
        if witness is None and redeem is None:
            raise RpcError(RpcCode.INVALID_PARAMETER, "Missing redeemScript/witnessScript")
        if witness is not None and redeem is None:
            redeem = witness_script(0, scripthash(witness))
            if p2sh_script(hash160(redeem)) != script:
                redeem, witness = witness, None
        if redeem is not None and p2sh_script(hash160(redeem)) != script:
            nested = witness_script(0, scripthash(redeem))
            if p2sh_script(hash160(nested)) != script:
                raise RpcError(
                    RpcCode.INVALID_PARAMETER, "redeemScript/witnessScript does not match scriptPubKey"
                )
            redeem, witness = nested, redeem
    elif kind is ScriptType.WITNESS_V0_SCRIPTHASH and witness is not None:
        if witness_script(0, scripthash(witness)) != script:
            raise RpcError(
                RpcCode.INVALID_PARAMETER, "redeemScript/witnessScript does not match scriptPubKey"
            )
        redeem = None
    return ScriptPlan(script, (), redeem, witness)


async def signing_answer(
    context: RpcContext, signed: Transaction, outputs: Mapping[Outpoint, TxOutput]
) -> dict[str, Any]:
    """The transaction, whether it is complete, and what is wrong with each input that is not."""
    spent: list[TxOutput] = []
    errors: list[dict[str, Any]] = []
    for tx_input in signed.inputs:
        coin = context.node.coin(tx_input.prevout)
        output = outputs.get(tx_input.prevout) or (coin.output if coin is not None else None)
        if output is None:
            errors.append(_fault(tx_input, "Input not found or already spent"))
        elif not tx_input.script_sig and not tx_input.witness:
            text = "Unable to sign input, invalid stack size (possibly missing key)"
            errors.append(_fault(tx_input, text))
        else:
            spent.append(output)
    if not errors:
        try:
            await context.node.chain.verify_scripts(signed, spent)
        except RejectedTransactionError as error:
            errors += [_fault(tx_input, error.detail or error.reason) for tx_input in signed.inputs]
    answer: dict[str, Any] = {"hex": signed.serialize().hex(), "complete": not errors}
    return answer | ({"errors": errors} if errors else {})


def _fault(tx_input: TxInput, text: str) -> dict[str, Any]:
    return {
        "txid": str(tx_input.prevout.txid),
        "vout": tx_input.prevout.index,
        "witness": [item.hex() for item in tx_input.witness],
        "scriptSig": tx_input.script_sig.hex(),
        "sequence": tx_input.sequence,
        "error": text,
    }


def parse_sighash(arguments: Arguments) -> int | None:
    """The signature type that a call names; raises `RpcError`."""
    if not arguments.has("sighashtype"):
        return None
    text = arguments.text("sighashtype")
    found = next((kind for kind, words in _SIGHASHES.items() if words == text), None)
    if found is None:
        raise RpcError(RpcCode.INVALID_PARAMETER, f"'{text}' is not a valid sighash parameter.")
    return found


def with_sighash(psbt: Psbt, arguments: Arguments) -> Psbt:
    """The PSBT with the type of signatures that the call names; raises `RpcError` if it has another."""
    wanted = parse_sighash(arguments)
    if wanted is None:
        return psbt
    for index, held in enumerate(psbt.inputs):
        if held.is_final or held.sighash_type == wanted:
            continue
        if held.sighash_type is not None:
            text = "Specified sighash value does not match value stored in PSBT"
            raise RpcError(RpcCode.DESERIALIZATION_ERROR, text)
        if wanted not in (Sighash.DEFAULT, Sighash.ALL):
            psbt = psbt.with_input(index, held.with_value(In.SIGHASH_TYPE, wanted.to_bytes(4, "little")))
    return psbt


_SIGHASHES: Final = {0: "DEFAULT", **SIGHASH_WORDS}

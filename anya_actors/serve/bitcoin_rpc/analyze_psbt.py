"""What a PSBT still needs before it is a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import replace

from anya_actors.domain.bitcoin.amount import MAX_MONEY_SAT
from anya_actors.domain.bitcoin.psbt import Psbt, PsbtInputError, PsbtStateError
from anya_actors.domain.bitcoin.psbt.finalize import finalize_input
from anya_actors.domain.bitcoin.psbt.sign import input_requests
from anya_actors.domain.bitcoin.psbt.spending import spending_of
from anya_actors.domain.bitcoin.script import ScriptType, classify, hash160, multisig_of, witness_program
from anya_actors.domain.bitcoin.sighash import Sighash
from anya_actors.domain.bitcoin.transaction import Transaction, TxOutput
from anya_actors.serve.bitcoin_rpc.describe import btc

_ROLES: Final = ("creator", "updater", "signer", "finalizer", "extractor")
_SIGNATURE, _KEY, _SCHNORR = bytes(72), bytes(33), bytes(64)
_ALL: Final = frozenset(Sighash)
_Stack = tuple[bytes, tuple[bytes, ...]]
"""scriptSig and witness."""


def analyze(psbt: Psbt) -> dict[str, Any]:
    """What ``analyzepsbt`` says."""
    inputs: list[dict[str, Any]] = []
    stacks: list[_Stack] = []
    for index in range(len(psbt.inputs)):
        error = _fault(psbt, index)
        if error:
            return {"next": "creator", "error": error}
        facts, stack = _analyze_input(psbt, index)
        inputs.append(facts)
        stacks += [] if stack is None else [stack]
    answer: dict[str, Any] = {"inputs": inputs} if inputs else {}
    outputs_sat = sum(output.amount_sat for output in psbt.unsigned_transaction.outputs)
    if not 0 <= outputs_sat <= MAX_MONEY_SAT:
        return {"next": "creator", "error": "PSBT is not valid. Output amount invalid"}
    fee_sat = psbt.fee_sat()
    if fee_sat is not None:
        if fee_sat < 0:
            return {"next": "creator", "error": "PSBT is not valid. Output amount invalid"}
        if len(stacks) == len(inputs):
            vsize = _weighed(psbt.unsigned_transaction, stacks).vsize
            answer |= {"estimated_vsize": vsize, "estimated_feerate": btc(fee_sat * 1000 // vsize)}
        answer["fee"] = btc(fee_sat)
    roles = [facts["next"] for facts in inputs]
    return answer | {"next": min(roles, key=_ROLES.index, default="extractor")}


def _fault(psbt: Psbt, index: int) -> str:
    try:
        output = psbt.spent_output(index)
    except PsbtStateError:
        return f"PSBT is not valid. Input {index} specifies invalid prevout"
    if output is None:
        return ""
    if not 0 <= output.amount_sat <= MAX_MONEY_SAT:
        return f"PSBT is not valid. Input {index} has invalid value"
    if output.script_pubkey[:1] == b"\x6a":
        return f"PSBT is not valid. Input {index} spends unspendable output"
    return ""


def _analyze_input(psbt: Psbt, index: int) -> tuple[dict[str, Any], _Stack | None]:
    """What an input lacks, and what its scriptSig and witness will be about as long as."""
    held, output = psbt.inputs[index], psbt.spent_output(index)
    facts: dict[str, Any] = {"has_utxo": output is not None, "is_final": held.is_final}
    if held.is_final:
        return {**facts, "next": "extractor"}, (held.final_script_sig or b"", held.final_script_witness or ())
    if output is None:
        return {**facts, "next": "updater"}, None
    try:
        final = finalize_input(psbt, index).inputs[index]
    except PsbtInputError:
        missing, role = _missing(psbt, index, output)
        if missing:
            facts["missing"] = missing
        return {**facts, "next": role}, _dummy(psbt, index, output)
    return {**facts, "next": "finalizer"}, (final.final_script_sig or b"", final.final_script_witness or ())


def _missing(psbt: Psbt, index: int, output: TxOutput) -> tuple[dict[str, Any], str]:
    held, script = psbt.inputs[index], output.script_pubkey
    if classify(script) is ScriptType.SCRIPTHASH:
        if held.redeem_script is None:
            return {"redeemscript": script[2:22].hex()}, "updater"
        script = held.redeem_script
    program = witness_program(script)
    if program is not None and len(program[1]) == 32 and program[0] == 0 and held.witness_script is None:
        return {"witnessscript": program[1].hex()}, "updater"
    try:
        spending_of(psbt, index)
        requests = list(input_requests(psbt, index, lambda *_: True, sighashes=_ALL))
    except PsbtStateError:
        return {}, "updater"
    if requests:
        return {"signatures": [hash160(request.public_key).hex() for request in requests]}, "signer"
    if program is not None and len(program[1]) == 20:
        return {"pubkeys": [program[1].hex()]}, "updater"
    if classify(script) is ScriptType.PUBKEYHASH:
        return {"pubkeys": [script[3:23].hex()]}, "updater"
    multisig = multisig_of(held.witness_script or held.redeem_script or script)
    if multisig is not None:
        lacking = [key for key in multisig[1] if key not in held.partial_signatures]
        return {"signatures": [hash160(key).hex() for key in lacking]}, "signer"
    return {}, "signer"


def _dummy(psbt: Psbt, index: int, output: TxOutput) -> _Stack | None:
    """Something as long as what will satisfy the common scripts."""
    held, script = psbt.inputs[index], output.script_pubkey
    redeem = b""
    if classify(script) is ScriptType.SCRIPTHASH and held.redeem_script is not None:
        script = held.redeem_script
        redeem = bytes(len(script) + 1)
    program = witness_program(script)
    if program is None:
        return (bytes(1 + 72 + 1 + 33), ()) if classify(script) is ScriptType.PUBKEYHASH else None
    if program[0] == 1:
        return redeem, (_SCHNORR,)
    if len(program[1]) == 20:
        return redeem, (_SIGNATURE, _KEY)
    multisig = multisig_of(held.witness_script or b"")
    if multisig is None or held.witness_script is None:
        return None
    return redeem, (b"", *[_SIGNATURE] * multisig[0], held.witness_script)


def _weighed(bare: Transaction, stacks: Sequence[_Stack]) -> Transaction:
    inputs = tuple(
        replace(tx_input, script_sig=script_sig, witness=witness)
        for tx_input, (script_sig, witness) in zip(bare.inputs, stacks, strict=True)
    )
    return Transaction(bare.version, inputs, bare.outputs, bare.lock_time)

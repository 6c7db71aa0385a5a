"""How the output that an input spends is spent: by which scripts, and what its signatures sign."""

from __future__ import annotations

import enum
import hashlib

import msgspec

from anya_actors.domain.bitcoin.psbt.document import Psbt
from anya_actors.domain.bitcoin.psbt.errors import PsbtInputError
from anya_actors.domain.bitcoin.script import hash160, p2pkh_script, witness_program
from anya_actors.domain.bitcoin.sighash import (
    Sighash,
    SighashError,
    legacy_sighash,
    segwit_v0_sighash,
    taproot_key_path_sighash,
    taproot_script_path_sighash,
)
from anya_actors.domain.bitcoin.transaction import TxOutput


class Rules(enum.Enum):
    """Under which rules the input's script runs."""

    LEGACY = "legacy"
    WITNESS_V0 = "witness v0"
    TAPROOT = "taproot"


class Spending(msgspec.Struct, frozen=True):
    """One input's way to its script. Made by `spending_of`, which checks every hash on the way."""

    rules: Rules
    output: TxOutput
    script: bytes
    """What must be satisfied: the output, redeem or witness script. For taproot the output script."""
    script_code: bytes
    is_nested: bool = False
    is_witness_script: bool = False


def spending_of(psbt: Psbt, index: int, step: str = "signed") -> Spending:
    """How input ``index`` is spent; raises `PsbtInputError` for whatever does not fit together."""
    held = psbt.inputs[index]
    output = psbt.spent_output(index)
    if output is None:
        raise PsbtInputError(step, "the output that it spends is not given", index)
    script, is_nested = output.script_pubkey, False
    if len(script) == 23 and script[:2] == b"\xa9\x14" and script[22] == 0x87:
        if held.redeem_script is None:
            raise PsbtInputError(step, "its redeem script is missing", index)
        if hash160(held.redeem_script) != script[2:22]:
            raise PsbtInputError(step, "its redeem script is not that of the output", index)
        script, is_nested = held.redeem_script, True
    program = witness_program(script)
    if program is None:
        if held.non_witness_utxo is None:
            # Without the whole transaction nothing proves the amount, which legacy rules do not sign.
            raise PsbtInputError(step, "it spends no witness output, and has no whole transaction", index)
        return Spending(Rules.LEGACY, output, script, script, is_nested)
    if program[0] == 1 and len(program[1]) == 32 and not is_nested:
        return Spending(Rules.TAPROOT, output, script, b"")
    if program[0] != 0:
        raise PsbtInputError(step, f"witness version {program[0]} has no rules yet", index)
    if len(program[1]) == 20:
        return Spending(Rules.WITNESS_V0, output, script, p2pkh_script(program[1]), is_nested)
    if held.witness_script is None:
        raise PsbtInputError(step, "its witness script is missing", index)
    if hashlib.sha256(held.witness_script).digest() != program[1]:
        raise PsbtInputError(step, "its witness script is not that of the output", index)
    return Spending(
        Rules.WITNESS_V0, output, held.witness_script, held.witness_script, is_nested, is_witness_script=True
    )


def ecdsa_digest(psbt: Psbt, index: int, spending: Spending, sighash: int) -> bytes:
    """What an ECDSA signature of the input signs."""
    transaction = psbt.unsigned_transaction
    if spending.rules is Rules.LEGACY:
        return legacy_sighash(transaction, index, spending.script_code, sighash)
    amount_sat = spending.output.amount_sat
    return segwit_v0_sighash(transaction, index, spending.script_code, amount_sat, sighash)


def schnorr_digest(psbt: Psbt, index: int, sighash: int, leaf_hash: bytes = b"") -> bytes:
    """What a BIP340 signature of the input signs, on the key path or in the script of a leaf.

    Raises `PsbtInputError` while an output that any input spends is unknown: all are signed.
    """
    spent = [output for output in psbt.spent_outputs() if output is not None]
    if len(spent) != len(psbt.inputs):
        raise PsbtInputError("signed", "taproot signs all spent outputs, and not all are given", index)
    try:
        if leaf_hash:
            return taproot_script_path_sighash(psbt.unsigned_transaction, index, spent, leaf_hash, sighash)
        return taproot_key_path_sighash(psbt.unsigned_transaction, index, spent, sighash)
    except SighashError as error:
        raise PsbtInputError("signed", str(error.args[1]), index) from error


def sighash_of(psbt: Psbt, index: int, rules: Rules) -> int:
    """The signature type that the PSBT wants for an input."""
    wanted = psbt.inputs[index].sighash_type
    if wanted is not None:
        return wanted
    return Sighash.DEFAULT if rules is Rules.TAPROOT else Sighash.ALL

"""Counting signature operations, of which a block may hold 80,000 (BIP141's cost)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from anya_actors.domain.bitcoin.script import (
    ScriptEndsError,
    ScriptType,
    classify,
    iterate_operations,
    operations,
    witness_program,
)
from anya_actors.domain.bitcoin.transaction import WITNESS_SCALE, Transaction, TxOutput

MAX_BLOCK_SIGOPS_COST: Final = 80_000
_CHECKSIG, _CHECKSIGVERIFY, _CHECKMULTISIG, _CHECKMULTISIGVERIFY = 0xAC, 0xAD, 0xAE, 0xAF
_MOST_KEYS: Final = 20


def count_sigops(script: bytes, *, accurate: bool) -> int:
    """Signature operations of a script; ``accurate`` reads the number of keys of a multisig."""
    count, last = 0, 0xFF
    try:
        for opcode, _ in iterate_operations(script):
            if opcode in (_CHECKSIG, _CHECKSIGVERIFY):
                count += 1
            elif opcode in (_CHECKMULTISIG, _CHECKMULTISIGVERIFY):
                count += last - 0x50 if accurate and 0x51 <= last <= 0x60 else _MOST_KEYS
            last = opcode
    except ScriptEndsError:
        return count  # a script that ends inside a push counts up to there
    return count


def sigops_cost(transaction: Transaction, spent: Sequence[TxOutput]) -> int:
    """The cost towards a block's limit; ``spent`` in the order of the inputs."""
    legacy = sum(count_sigops(tx_input.script_sig, accurate=False) for tx_input in transaction.inputs)
    legacy += sum(count_sigops(output.script_pubkey, accurate=False) for output in transaction.outputs)
    cost = legacy * WITNESS_SCALE
    for tx_input, output in zip(transaction.inputs, spent, strict=True):
        script = output.script_pubkey
        if classify(script) is ScriptType.SCRIPTHASH:
            script = last_push(tx_input.script_sig)
            cost += count_sigops(script, accurate=True) * WITNESS_SCALE
        cost += _witness_sigops(script, tx_input.witness)
    return cost


def last_push(script_sig: bytes) -> bytes:
    """What a script pushes last: the redeem script of a P2SH input (BIP16); empty if nothing."""
    try:
        steps = operations(script_sig)
    except ScriptEndsError:
        return b""
    if any(opcode > 0x60 for opcode, _ in steps):
        return b""
    return (steps[-1][1] or b"") if steps else b""


def _witness_sigops(script: bytes, witness: tuple[bytes, ...]) -> int:
    program = witness_program(script)
    if program is None or program[0] != 0:
        return 0
    if len(program[1]) == 20:
        return 1
    return count_sigops(witness[-1], accurate=True) if witness and len(program[1]) == 32 else 0

"""Which transactions Core relays, whatever they pay (``policy/policy.cpp``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from anya_actors.domain.bitcoin.errors import RejectedTransactionError
from anya_actors.domain.bitcoin.mempool_policy import (
    DUST_FEERATE_SAT_PER_KVB,
    MAX_DATA_CARRIER_BYTES,
    MAX_STANDARD_WEIGHT,
    fee_at_rate,
)
from anya_actors.domain.bitcoin.script import (
    ScriptEndsError,
    ScriptType,
    classify,
    is_unspendable,
    multisig_of,
    operations,
    witness_program,
)
from anya_actors.domain.bitcoin.sigops import count_sigops, last_push
from anya_actors.domain.bitcoin.transaction import Transaction, TxInput, TxOutput
from anya_actors.domain.bitcoin.wire import compact_size

MAX_DUST_OUTPUTS: Final = 1
MAX_P2SH_SIGOPS: Final = 15
MAX_LEGACY_SIGOPS: Final = 2_500
"""Signature operations outside witnesses that one transaction may execute (BIP54)."""

_NONSTANDARD_INPUTS: Final = "bad-txns-nonstandard-inputs"
_MAX_SCRIPT_SIG: Final = 1650
_LEAST_STRIPPED_SIZE: Final = 65  # CVE-2017-12842: 64 bytes pass for an inner node of a merkle tree
_MAX_P2WSH_SCRIPT, _MAX_P2WSH_ITEMS, _MAX_P2WSH_ITEM, _MAX_TAPSCRIPT_ITEM = 3600, 100, 80, 80
_ANNEX, _LEAF_MASK, _TAPSCRIPT = 0x50, 0xFE, 0xC0
_OP_RESERVED, _MAX_PUSH = 0x50, 520


def dust_threshold_sat(output: TxOutput, feerate_sat_per_kvb: int = DUST_FEERATE_SAT_PER_KVB) -> int:
    """The least amount worth spending: what spending it costs at the dust feerate."""
    script = output.script_pubkey
    if is_unspendable(script):
        return 0
    size = 8 + len(compact_size(len(script))) + len(script)
    spend = 32 + 4 + 1 + (107 // 4 if witness_program(script) else 107) + 4
    return fee_at_rate(size + spend, feerate_sat_per_kvb)


def dust_outputs(transaction: Transaction, feerate_sat_per_kvb: int = DUST_FEERATE_SAT_PER_KVB) -> list[int]:
    """The places of outputs not worth spending."""
    return [
        place
        for place, output in enumerate(transaction.outputs)
        if output.amount_sat < dust_threshold_sat(output, feerate_sat_per_kvb)
    ]


def verify_standard(
    transaction: Transaction,
    *,
    max_data_carrier_bytes: int = MAX_DATA_CARRIER_BYTES,
    dust_feerate_sat_per_kvb: int = DUST_FEERATE_SAT_PER_KVB,
) -> None:
    """Raise `RejectedTransactionError` for what Core does not relay, whatever it spends."""
    if not 1 <= transaction.version & 0xFFFFFFFF <= 3:
        raise RejectedTransactionError("version")
    if transaction.weight > MAX_STANDARD_WEIGHT:
        raise RejectedTransactionError("tx-size")
    for tx_input in transaction.inputs:
        if len(tx_input.script_sig) > _MAX_SCRIPT_SIG:
            raise RejectedTransactionError("scriptsig-size")
        if not pushes_only(tx_input.script_sig):
            raise RejectedTransactionError("scriptsig-not-pushonly")
    _verify_standard_outputs(transaction, max_data_carrier_bytes)
    if len(dust_outputs(transaction, dust_feerate_sat_per_kvb)) > MAX_DUST_OUTPUTS:
        raise RejectedTransactionError("dust")
    if len(transaction.serialize_stripped()) < _LEAST_STRIPPED_SIZE:
        raise RejectedTransactionError("tx-size-small")


def _verify_standard_outputs(transaction: Transaction, data_bytes_left: int) -> None:
    for output in transaction.outputs:
        kind = classify(output.script_pubkey)
        multisig = multisig_of(output.script_pubkey)
        if kind is ScriptType.NONSTANDARD or (multisig is not None and len(multisig[1]) > 3):
            raise RejectedTransactionError("scriptpubkey")
        if kind is ScriptType.NULLDATA:
            data_bytes_left -= len(output.script_pubkey)
            if data_bytes_left < 0:
                raise RejectedTransactionError("datacarrier")


def pushes_only(script: bytes) -> bool:
    """Whether a script does nothing but push (Core, ``IsPushOnly``)."""
    try:
        return all(opcode <= 0x60 for opcode, _ in operations(script))
    except ScriptEndsError:
        return False


def verify_standard_inputs(transaction: Transaction, spent: Sequence[TxOutput]) -> None:
    """Raise for inputs that Core does not relay: unknown scripts, too many signature operations."""
    if _legacy_sigops(transaction, spent) > MAX_LEGACY_SIGOPS:
        raise RejectedTransactionError(_NONSTANDARD_INPUTS, "non-witness sigops exceed bip54 limit")
    for place, (tx_input, output) in enumerate(zip(transaction.inputs, spent, strict=True)):
        kind = classify(output.script_pubkey)
        if kind is ScriptType.NONSTANDARD:
            raise RejectedTransactionError(_NONSTANDARD_INPUTS, f"input {place} script unknown")
        if kind is ScriptType.WITNESS_UNKNOWN:
            detail = f"input {place} witness program is undefined"
            raise RejectedTransactionError(_NONSTANDARD_INPUTS, detail)
        if kind is ScriptType.SCRIPTHASH:
            _verify_redeem_script(place, tx_input)


def _verify_redeem_script(place: int, tx_input: TxInput) -> None:
    # The scriptSig only pushes, as was verified before: its last push is the redeem script.
    steps = operations(tx_input.script_sig)
    malformed = next((_malformed(*step) for step in steps if _malformed(*step)), None)
    if malformed:
        detail = f"p2sh scriptsig malformed (input {place}: {malformed})"
        raise RejectedTransactionError(_NONSTANDARD_INPUTS, detail)
    if not steps:
        raise RejectedTransactionError(_NONSTANDARD_INPUTS, f"input {place} P2SH redeemscript missing")
    sigops = count_sigops(last_push(tx_input.script_sig), accurate=True)
    if sigops > MAX_P2SH_SIGOPS:
        detail = f"p2sh redeemscript sigops exceed limit (input {place}: {sigops} > {MAX_P2SH_SIGOPS})"
        raise RejectedTransactionError(_NONSTANDARD_INPUTS, detail)


def _malformed(opcode: int, data: bytes | None) -> str | None:
    if opcode == _OP_RESERVED:
        return "Opcode missing or not understood"
    return "Push value size limit exceeded" if data is not None and len(data) > _MAX_PUSH else None


def _legacy_sigops(transaction: Transaction, spent: Sequence[TxOutput]) -> int:
    """Signature operations that the inputs may execute outside witnesses, as BIP54 counts them."""
    count = 0
    for tx_input, output in zip(transaction.inputs, spent, strict=True):
        count += count_sigops(tx_input.script_sig, accurate=True)
        script = output.script_pubkey
        if classify(script) is ScriptType.SCRIPTHASH:
            script = last_push(tx_input.script_sig)
        count += count_sigops(script, accurate=True)
    return count


def verify_standard_witness(transaction: Transaction, spent: Sequence[TxOutput]) -> None:
    """Raise for witnesses that Core does not relay: stuffed, oversized, or with an annex."""
    for tx_input, output in zip(transaction.inputs, spent, strict=True):
        if tx_input.witness and not _is_witness_standard(tx_input, output.script_pubkey):
            raise RejectedTransactionError("bad-witness-nonstandard")


def _is_witness_standard(tx_input: TxInput, script: bytes) -> bool:
    kind = classify(script)
    if kind is ScriptType.ANCHOR:
        return False
    is_nested = kind is ScriptType.SCRIPTHASH
    if is_nested:
        script = last_push(tx_input.script_sig)
    program = witness_program(script)
    if program is None:
        return False
    version, data = program
    if version == 0 and len(data) == 32:
        return _is_p2wsh_standard(tx_input.witness)
    if version == 1 and len(data) == 32 and not is_nested:
        return _is_taproot_standard(tx_input.witness)
    return True


def _is_p2wsh_standard(witness: tuple[bytes, ...]) -> bool:
    *stack, script = witness
    return (
        len(script) <= _MAX_P2WSH_SCRIPT
        and len(stack) <= _MAX_P2WSH_ITEMS
        and all(len(item) <= _MAX_P2WSH_ITEM for item in stack)
    )


def _is_taproot_standard(witness: tuple[bytes, ...]) -> bool:
    if len(witness) < 2:
        return True
    *stack, _, control = witness
    if control[:1] == bytes((_ANNEX,)) or not control:
        return False
    is_tapscript = control[0] & _LEAF_MASK == _TAPSCRIPT
    return not is_tapscript or all(len(item) <= _MAX_TAPSCRIPT_ITEM for item in stack)

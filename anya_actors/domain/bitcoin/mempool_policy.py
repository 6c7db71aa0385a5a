"""What this node takes into its mempool beyond the rules of blocks: Core's default policy.

Reasons are those of Bitcoin Core (``policy/policy.cpp``, ``validation.cpp``). Replacement (BIP125)
is not offered yet: a conflicting transaction is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from anya_actors.domain.bitcoin.errors import RejectedTransactionError
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
from anya_actors.domain.bitcoin.transaction import Transaction, TxOutput
from anya_actors.domain.bitcoin.wire import compact_size

MIN_RELAY_FEERATE_SAT_PER_KVB: Final = 100
DUST_FEERATE_SAT_PER_KVB: Final = 3000
MAX_STANDARD_WEIGHT: Final = 400_000
MAX_STANDARD_SIGOPS_COST: Final = 16_000
MAX_DATA_CARRIER_BYTES: Final = 100_000
MAX_P2SH_SIGOPS: Final = 15
MAX_CHAIN: Final = 25
"""Waiting transactions in one line of descent, itself included."""
MAX_CHAIN_VSIZE: Final = 101_000


def fee_at_rate(vsize: int, feerate_sat_per_kvb: int) -> int:
    """The fee of a size at a rate, rounded up as Core's ``CFeeRate`` does."""
    return -(-vsize * feerate_sat_per_kvb // 1000)


def dust_threshold_sat(output: TxOutput) -> int:
    """The least amount worth spending: what spending it costs at the dust feerate."""
    script = output.script_pubkey
    if is_unspendable(script):
        return 0
    size = 8 + len(compact_size(len(script))) + len(script)
    spend = 32 + 4 + 1 + (107 // 4 if witness_program(script) else 107) + 4
    return fee_at_rate(size + spend, DUST_FEERATE_SAT_PER_KVB)


def verify_standard(transaction: Transaction) -> None:
    """Raise `RejectedTransactionError` for what Core does not relay, whatever it spends."""
    if not 1 <= transaction.version <= 3:
        raise RejectedTransactionError("version")
    if transaction.weight > MAX_STANDARD_WEIGHT:
        raise RejectedTransactionError("tx-size")
    for tx_input in transaction.inputs:
        if len(tx_input.script_sig) > 1650:
            raise RejectedTransactionError("scriptsig-size")
        if not _pushes_only(tx_input.script_sig):
            raise RejectedTransactionError("scriptsig-not-pushonly")
    _verify_standard_outputs(transaction)
    if len(transaction.serialize_stripped()) < 65:
        raise RejectedTransactionError("tx-size-small")


def _verify_standard_outputs(transaction: Transaction) -> None:
    data_bytes = dusty = 0
    for output in transaction.outputs:
        kind = classify(output.script_pubkey)
        multisig = multisig_of(output.script_pubkey)
        if kind is ScriptType.NONSTANDARD or (multisig is not None and len(multisig[1]) > 3):
            raise RejectedTransactionError("scriptpubkey")
        if kind is ScriptType.NULLDATA:
            data_bytes += len(output.script_pubkey)
        dusty += output.amount_sat < dust_threshold_sat(output)
    if data_bytes > MAX_DATA_CARRIER_BYTES:
        raise RejectedTransactionError("datacarrier")
    if dusty:
        raise RejectedTransactionError("dust")


def _pushes_only(script: bytes) -> bool:
    try:
        return all(opcode <= 0x60 for opcode, _ in operations(script))
    except ScriptEndsError:
        return False


def verify_standard_inputs(transaction: Transaction, spent: Sequence[TxOutput]) -> None:
    """Raise for inputs that Core does not relay: unknown scripts, too many signature operations."""
    for tx_input, output in zip(transaction.inputs, spent, strict=True):
        kind = classify(output.script_pubkey)
        if kind in (ScriptType.NONSTANDARD, ScriptType.WITNESS_UNKNOWN):
            raise RejectedTransactionError("bad-txns-nonstandard-inputs")
        if kind is ScriptType.SCRIPTHASH:
            redeem = last_push(tx_input.script_sig)
            if not redeem or count_sigops(redeem, accurate=True) > MAX_P2SH_SIGOPS:
                raise RejectedTransactionError("bad-txns-nonstandard-inputs")


def verify_fee(transaction: Transaction, fee_sat: int) -> None:
    """Raise if the fee is under the minimum relay fee."""
    least_sat = fee_at_rate(transaction.vsize, MIN_RELAY_FEERATE_SAT_PER_KVB)
    if fee_sat < least_sat:
        raise RejectedTransactionError("min relay fee not met", f"{fee_sat} < {least_sat}")

"""The other roles of BIP174 and BIP370: creator, constructor, combiner, extractor; and both versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from anya_actors.domain.bitcoin.psbt.document import Psbt
from anya_actors.domain.bitcoin.psbt.errors import AbsurdFeeError, PsbtInputError, PsbtStateError
from anya_actors.domain.bitcoin.psbt.fields import Global, In, Out
from anya_actors.domain.bitcoin.psbt.maps import GlobalMap, InputMap, OutputMap
from anya_actors.domain.bitcoin.transaction import SEQUENCE_FINAL, Transaction, TxInput, TxOutput
from anya_actors.domain.bitcoin.wire import compact_size, i32, i64, u32

MAX_FEERATE_SAT_PER_KVB: Final = 10_000_000
"""0.10 BTC per 1,000 vbytes: above it Core's ``sendrawtransaction`` takes a fee for a mistake."""

_V2_GLOBALS: Final = (
    Global.TX_VERSION,
    Global.FALLBACK_LOCKTIME,
    Global.INPUT_COUNT,
    Global.OUTPUT_COUNT,
    Global.TX_MODIFIABLE,
    Global.SP_ECDH_SHARE,
    Global.SP_DLEQ,
    Global.VERSION,
)
_V2_INPUTS: Final = (
    In.PREVIOUS_TXID,
    In.OUTPUT_INDEX,
    In.SEQUENCE,
    In.REQUIRED_TIME_LOCKTIME,
    In.REQUIRED_HEIGHT_LOCKTIME,
    In.SP_ECDH_SHARE,
    In.SP_DLEQ,
)


def create_psbt(transaction: Transaction, version: int = 0, *, modifiable: int = 0) -> Psbt:
    """A PSBT of an unsigned transaction; raises `PsbtStateError` if it is signed.

    ``modifiable`` are the flags of version 2: 1 inputs, 2 outputs.
    """
    if any(spent.script_sig or spent.witness for spent in transaction.inputs):
        raise PsbtStateError("created", "the transaction is signed already")
    header = GlobalMap({bytes((Global.UNSIGNED_TX,)): transaction.serialize_stripped()})
    inputs = tuple(InputMap() for _ in transaction.inputs)
    psbt = Psbt(header, inputs, tuple(OutputMap() for _ in transaction.outputs))
    if version == 0:
        return psbt
    psbt = to_version_2(psbt)
    if not modifiable:
        return psbt
    flags = psbt.globals.with_value(Global.TX_MODIFIABLE, bytes((modifiable,)))
    return Psbt(flags, psbt.inputs, psbt.outputs)


def to_version_2(psbt: Psbt) -> Psbt:
    """The same in version 2 (BIP370)."""
    if psbt.version == 2:
        return psbt
    transaction = psbt.unsigned_transaction
    header = psbt.globals.without(Global.UNSIGNED_TX, Global.VERSION)
    header = header.with_value(Global.TX_VERSION, i32(transaction.version))
    if transaction.lock_time:
        header = header.with_value(Global.FALLBACK_LOCKTIME, u32(transaction.lock_time))
    inputs = [_as_v2_input(held, spent) for held, spent in zip(psbt.inputs, transaction.inputs, strict=True)]
    outputs = [
        _as_v2_output(held, output) for held, output in zip(psbt.outputs, transaction.outputs, strict=True)
    ]
    header = header.with_value(Global.VERSION, u32(2))
    return _counted(Psbt(header, tuple(inputs), tuple(outputs)))


def _as_v2_input(held: InputMap, spent: TxInput) -> InputMap:
    held = held.with_value(In.PREVIOUS_TXID, bytes(spent.prevout.txid))
    held = held.with_value(In.OUTPUT_INDEX, u32(spent.prevout.index))
    return held if spent.sequence == SEQUENCE_FINAL else held.with_value(In.SEQUENCE, u32(spent.sequence))


def _as_v2_output(held: OutputMap, output: TxOutput) -> OutputMap:
    return held.with_value(Out.AMOUNT, i64(output.amount_sat)).with_value(Out.SCRIPT, output.script_pubkey)


def _counted(psbt: Psbt) -> Psbt:
    header = psbt.globals.with_value(Global.INPUT_COUNT, compact_size(len(psbt.inputs)))
    header = header.with_value(Global.OUTPUT_COUNT, compact_size(len(psbt.outputs)))
    return Psbt(header, psbt.inputs, psbt.outputs)


def to_version_0(psbt: Psbt) -> Psbt:
    """The same in version 0; raises `PsbtStateError` for what version 0 has no fields for."""
    if psbt.version == 0:
        return psbt
    if any(held.value(Out.SP_V0_INFO) is not None for held in psbt.outputs):
        raise PsbtStateError("turned into version 0", "it pays to silent payment addresses (BIP375)")
    header = psbt.globals.without(*_V2_GLOBALS)
    header = header.with_value(Global.UNSIGNED_TX, psbt.unsigned_transaction.serialize_stripped())
    inputs = tuple(held.without(*_V2_INPUTS) for held in psbt.inputs)
    return Psbt(header, inputs, tuple(held.without(Out.AMOUNT, Out.SCRIPT) for held in psbt.outputs))


def add_input(psbt: Psbt, spent: TxInput, held: InputMap | None = None) -> Psbt:
    """The constructor's step (BIP370): one more input; raises `PsbtStateError` if none may be added."""
    _check_modifiable(psbt, 1, "inputs")
    if spent.prevout in [psbt.prevout(index) for index in range(len(psbt.inputs))]:
        raise PsbtStateError("extended", f"it spends {spent.prevout} already")
    grown = Psbt(psbt.globals, (*psbt.inputs, _as_v2_input(held or InputMap(), spent)), psbt.outputs)
    if any(_is_signed(other) for other in psbt.inputs) and grown.lock_time != psbt.lock_time:
        raise PsbtStateError("extended", "the input would change the lock time that signatures sign")
    return _counted(grown)


def add_output(psbt: Psbt, output: TxOutput, held: OutputMap | None = None) -> Psbt:
    """The constructor's step (BIP370): one more output; raises `PsbtStateError` if none may be added."""
    _check_modifiable(psbt, 2, "outputs")
    return _counted(
        Psbt(psbt.globals, psbt.inputs, (*psbt.outputs, _as_v2_output(held or OutputMap(), output)))
    )


def _check_modifiable(psbt: Psbt, flag: int, name: str) -> None:
    if psbt.version == 0:
        raise PsbtStateError("extended", "version 0 is fixed from its beginning")
    if not psbt.globals.tx_modifiable & flag:
        raise PsbtStateError("extended", f"its {name} are fixed (BIP370, TX_MODIFIABLE)")
    if psbt.globals.tx_modifiable & 4:
        raise PsbtStateError("extended", "a SIGHASH_SINGLE signature pairs inputs with outputs")


def _is_signed(held: InputMap) -> bool:
    signatures = (held.partial_signatures, held.tap_key_signature, held.tap_script_signatures)
    return held.is_final or any(signatures)


def combine_psbts(psbts: Sequence[Psbt]) -> Psbt:
    """All fields of several PSBTs of one transaction; raises `PsbtStateError` for another one's.

    Where two disagree on a field the first wins, as in Core.
    """
    if not psbts:
        raise PsbtStateError("combined", "there is none")
    first, *others = psbts
    for other in others:
        if other.version != first.version or other.unique_id != first.unique_id:
            raise PsbtStateError("combined", "PSBTs not compatible (different transactions)")
        first = _merged(first, other)
    return first.in_order()


def _merged(first: Psbt, other: Psbt) -> Psbt:
    header = first.globals.merged(other.globals)
    flags = [psbt.globals.value(Global.TX_MODIFIABLE) for psbt in (first, other)]
    if flags[0] is not None and flags[1] is not None:
        # Whoever signed has closed something: what either holds closed is closed.
        both = flags[0][0] & flags[1][0] & 3 | (flags[0][0] | flags[1][0]) & ~3
        header = header.with_value(Global.TX_MODIFIABLE, bytes((both,)))
    inputs = [held.merged(theirs) for held, theirs in zip(first.inputs, other.inputs, strict=True)]
    outputs = [held.merged(theirs) for held, theirs in zip(first.outputs, other.outputs, strict=True)]
    return Psbt(header, tuple(inputs), tuple(outputs))


def extract_transaction(
    psbt: Psbt, *, max_feerate_sat_per_kvb: int | None = MAX_FEERATE_SAT_PER_KVB
) -> Transaction:
    """The signed transaction of a PSBT whose inputs are all final; raises `PsbtInputError` otherwise.

    Raises `AbsurdFeeError` above the limit, `PsbtStateError` if the fee cannot be known or is below
    zero. None as limit looks at no fee.
    """
    transaction = psbt.unsigned_transaction
    inputs = []
    for index, (held, spent) in enumerate(zip(psbt.inputs, transaction.inputs, strict=True)):
        if not held.is_final:
            raise PsbtInputError("extracted", "it is not finalised", index)
        inputs.append(
            msgspec.structs.replace(
                spent, script_sig=held.final_script_sig or b"", witness=held.final_script_witness or ()
            )
        )
    signed = msgspec.structs.replace(transaction, inputs=tuple(inputs))
    if max_feerate_sat_per_kvb is not None:
        check_fee(psbt.fee_sat(), signed.vsize, max_feerate_sat_per_kvb)
    return signed


def check_fee(fee_sat: int | None, vsize: int, limit_sat_per_kvb: int) -> None:
    """Raise `AbsurdFeeError` or `PsbtStateError` unless the fee is known, not negative and not absurd."""
    if fee_sat is None:
        raise PsbtStateError("extracted", "its fee is not known: an input lacks the output that it spends")
    if fee_sat < 0:
        raise PsbtStateError("extracted", "its outputs are greater than its inputs")
    feerate = fee_sat * 1000 // vsize
    if feerate > limit_sat_per_kvb:
        raise AbsurdFeeError(fee_sat, feerate, limit_sat_per_kvb)

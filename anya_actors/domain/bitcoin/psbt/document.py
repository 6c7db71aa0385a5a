"""A partially signed transaction, version 0 (BIP174) or 2 (BIP370). Immutable; every role gives a new one."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import cached_property
from typing import Final

import msgspec

from anya_actors.domain.bitcoin.psbt.errors import PsbtError, PsbtInputError, PsbtStateError
from anya_actors.domain.bitcoin.psbt.fields import Global, In
from anya_actors.domain.bitcoin.psbt.maps import GlobalMap, InputMap, OutputMap
from anya_actors.domain.bitcoin.transaction import (
    SEQUENCE_FINAL,
    Outpoint,
    Transaction,
    TxInput,
    TxOutput,
    read_stripped_transaction,
)
from anya_actors.domain.bitcoin.wire import Reader

MAGIC: Final = b"psbt\xff"


class Psbt(msgspec.Struct, frozen=True, dict=True):
    """The three parts of a PSBT. Made by `parse_psbt` or `create_psbt`, which check it."""

    globals: GlobalMap
    inputs: tuple[InputMap, ...]
    outputs: tuple[OutputMap, ...]

    @property
    def version(self) -> int:
        return self.globals.version

    @cached_property
    def unsigned_transaction(self) -> Transaction:
        """The transaction without signatures; raises `PsbtStateError` if it is not settled yet."""
        held = self.globals.value(Global.UNSIGNED_TX)
        if held is not None:
            return read_stripped_transaction(Reader(held))
        return self._assembled(self.lock_time)

    @cached_property
    def lock_time(self) -> int:
        """The lock time that the inputs require together (BIP370); raises `PsbtStateError`."""
        if self.version == 0:
            return self.unsigned_transaction.lock_time
        return determine_lock_time(self.inputs, self.globals.number(Global.FALLBACK_LOCKTIME) or 0)

    def _assembled(self, lock_time: int, *, identifying: bool = False) -> Transaction:
        outputs = []
        for index, output in enumerate(self.outputs):
            script = output.silent_payment_script if identifying else output.script
            if script is None:
                raise PsbtStateError("turned into a transaction", f"output {index} has no script yet")
            outputs.append(TxOutput(output.amount_sat or 0, script))
        inputs = tuple(
            TxInput(self.prevout(index), b"", SEQUENCE_FINAL if held.sequence is None else held.sequence)
            for index, held in enumerate(self.inputs)
        )
        version = int.from_bytes(self.globals.value(Global.TX_VERSION) or b"", "little", signed=True)
        return Transaction(version, inputs, tuple(outputs), lock_time)

    @cached_property
    def unique_id(self) -> bytes:
        """What two PSBTs of one transaction share, whatever their sequences and lock times (BIP370)."""
        if self.version == 0:
            return self.unsigned_transaction.txid
        assembled = self._assembled(0, identifying=True)
        inputs = tuple(TxInput(spent.prevout, b"", 0) for spent in assembled.inputs)
        return Transaction(assembled.version, inputs, assembled.outputs, 0).txid

    def prevout(self, index: int) -> Outpoint:
        """What input ``index`` spends."""
        if self.version == 0:
            return self.unsigned_transaction.inputs[index].prevout
        held = self.inputs[index]
        if held.previous_txid is None:
            raise PsbtError("Previous TXID is required in PSBTv2")
        return Outpoint(held.previous_txid, held.number(In.OUTPUT_INDEX) or 0)

    def previous_output(self, index: int) -> TxOutput | None:
        """The spent output from the whole previous transaction, if the PSBT holds that.

        Raises `PsbtInputError` if it is another transaction or has no such output.
        """
        whole, prevout = self.inputs[index].non_witness_utxo, self.prevout(index)
        if whole is None:
            return None
        if whole.txid != prevout.txid:
            raise PsbtInputError("signed", "Non-witness UTXO does not match outpoint hash", index)
        if prevout.index >= len(whole.outputs):
            raise PsbtInputError("signed", "Input specifies output index that does not exist", index)
        return whole.outputs[prevout.index]

    def spent_output(self, index: int) -> TxOutput | None:
        """The output that input ``index`` spends, or None if the PSBT does not hold it.

        Raises `PsbtInputError` if whole transaction and output are both there and do not agree:
        whoever signs would sign a wrong amount.
        """
        output, stated = self.previous_output(index), self.inputs[index].witness_utxo
        if output is not None and stated is not None and stated != output:
            raise PsbtInputError("signed", "witness UTXO and non-witness UTXO do not agree", index)
        return stated if output is None else output

    def spent_outputs(self) -> list[TxOutput | None]:
        return [self.spent_output(index) for index in range(len(self.inputs))]

    def fee_sat(self) -> int | None:
        """Inputs less outputs; None while a spent output is unknown."""
        total = 0
        for output in self.spent_outputs():
            if output is None:
                return None
            total += output.amount_sat
        return total - sum(output.amount_sat for output in self.unsigned_transaction.outputs)

    def with_input(self, index: int, changed: InputMap) -> Psbt:
        inputs = (*self.inputs[:index], changed, *self.inputs[index + 1 :])
        return self._with_maps(inputs, self.outputs)

    def with_output(self, index: int, changed: OutputMap) -> Psbt:
        outputs = (*self.outputs[:index], changed, *self.outputs[index + 1 :])
        return self._with_maps(self.inputs, outputs)

    def _with_maps(self, inputs: tuple[InputMap, ...], outputs: tuple[OutputMap, ...]) -> Psbt:
        changed = Psbt(self.globals, inputs, outputs)
        if self.version == 0 and "unsigned_transaction" in self.__dict__:
            # In version 0 no input or output map can change the transaction: spare its parsing.
            changed.__dict__["unsigned_transaction"] = self.unsigned_transaction
        return changed

    def in_order(self) -> Psbt:
        """The same PSBT with its fields where Core would write them."""
        inputs = tuple(held.in_order() for held in self.inputs)
        return Psbt(self.globals.in_order(), inputs, tuple(held.in_order() for held in self.outputs))

    def serialize(self) -> bytes:
        maps = (self.globals, *self.inputs, *self.outputs)
        return MAGIC + b"".join(held.serialize() for held in maps)

    def to_base64(self) -> str:
        return base64.b64encode(self.serialize()).decode("ascii")


def determine_lock_time(inputs: Sequence[InputMap], fallback: int) -> int:
    """BIP370's rule: heights win over times where every input allows them; raises `PsbtStateError`."""
    times = [held.number(In.REQUIRED_TIME_LOCKTIME) for held in inputs]
    heights = [held.number(In.REQUIRED_HEIGHT_LOCKTIME) for held in inputs]
    requiring = [pair for pair in zip(times, heights, strict=True) if pair != (None, None)]
    if not requiring:
        return fallback
    if all(height is not None for _, height in requiring):
        return max(height for _, height in requiring if height is not None)
    if all(time is not None for time, _ in requiring):
        return max(time for time, _ in requiring if time is not None)
    raise PsbtStateError(
        "turned into a transaction", "one input requires a time and another a height as lock time"
    )

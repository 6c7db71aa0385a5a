"""Reading PSBTs strictly, as Core does, from bytes or base64."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Final

from anya_actors.domain.bitcoin.psbt.checks import (
    GLOBAL_CHECKS,
    INPUT_CHECKS,
    OUTPUT_CHECKS,
    Check,
    check_field,
)
from anya_actors.domain.bitcoin.psbt.document import MAGIC, Psbt
from anya_actors.domain.bitcoin.psbt.errors import PsbtError, PsbtInputError
from anya_actors.domain.bitcoin.psbt.fields import Global, In, Out
from anya_actors.domain.bitcoin.psbt.maps import GlobalMap, InputMap, OutputMap
from anya_actors.domain.bitcoin.wire import Reader, TruncatedError

_V2_GLOBALS: Final = {
    Global.TX_VERSION: "PSBT_GLOBAL_TX_VERSION",
    Global.FALLBACK_LOCKTIME: "PSBT_GLOBAL_FALLBACK_LOCKTIME",
    Global.INPUT_COUNT: "PSBT_GLOBAL_INPUT_COUNT",
    Global.OUTPUT_COUNT: "PSBT_GLOBAL_OUTPUT_COUNT",
    Global.TX_MODIFIABLE: "PSBT_GLOBAL_TX_MODIFIABLE",
}
_V2_REQUIRED: Final = (Global.TX_VERSION, Global.INPUT_COUNT, Global.OUTPUT_COUNT)
_V2_INPUTS: Final = {
    In.PREVIOUS_TXID: "Previous txid",
    In.OUTPUT_INDEX: "Previous output's index",
    In.SEQUENCE: "Sequence",
    In.REQUIRED_TIME_LOCKTIME: "Required time based locktime",
    In.REQUIRED_HEIGHT_LOCKTIME: "Required height based locktime",
}
_V2_OUTPUTS: Final = {
    Out.AMOUNT: "Output amount",
    Out.SCRIPT: "Output script",
    Out.SP_V0_INFO: "Output silent payment info",
    Out.SP_V0_LABEL: "Output silent payment label",
}


def parse_psbt(data: bytes) -> Psbt:
    """Read exactly one PSBT of version 0 or 2; raises `PsbtError` with Core's reason."""
    if data[: len(MAGIC)] != MAGIC:
        raise PsbtError("Invalid PSBT magic bytes")
    reader = Reader(data, len(MAGIC))
    header = GlobalMap(_read_map(reader, GLOBAL_CHECKS, "global", "the global"))
    _check_version(header)
    input_count, output_count = _counts(header)
    inputs = _read_maps(reader, INPUT_CHECKS[header.version], input_count, "input")
    outputs = _read_maps(reader, OUTPUT_CHECKS[header.version], output_count, "output")
    psbt = Psbt(header, tuple(map(InputMap, inputs)), tuple(map(OutputMap, outputs)))
    _check_inputs(psbt)
    _check_outputs(psbt)
    if reader.left:
        raise PsbtError("extra data after PSBT")
    return psbt


def parse_psbt_base64(text: str) -> Psbt:
    """Read exactly one PSBT in base64; raises `PsbtError`."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (ValueError, binascii.Error):
        raise PsbtError("invalid base64") from None
    return parse_psbt(data)


def _read_maps(
    reader: Reader, checks: Mapping[int, Check], count: int, name: str
) -> list[dict[bytes, bytes]]:
    # Each map has one byte at least: an absurd count ends here, before anything is built for it.
    if count > reader.left:
        raise PsbtError(f"{name.title()}s provided does not match the number of {name}s in transaction.")
    return [_read_map(reader, checks, name, f"an {name}") for _ in range(count)]


def _read_map(reader: Reader, checks: Mapping[int, Check], name: str, phrase: str) -> dict[bytes, bytes]:
    fields: dict[bytes, bytes] = {}
    try:
        while reader.left:
            key = reader.prefixed()
            if not key:
                return fields
            if key in fields:
                raise PsbtError(f'Duplicate Key, {name} key "{key.hex()}" already provided')
            fields[key] = reader.prefixed()
            check_field(key, fields[key], checks)
    except TruncatedError as error:
        raise PsbtError(f"{phrase} map cannot be read: {error}") from error
    raise PsbtError(f"Separator is missing at the end of {phrase} map")


def _check_version(header: GlobalMap) -> None:
    has_transaction = header.value(Global.UNSIGNED_TX) is not None
    if header.version > 2:
        raise PsbtError("Unsupported version number")
    if header.version == 1:
        raise PsbtError("There is no PSBT version 1")
    if header.version == 0:
        if not has_transaction:
            raise PsbtError("No unsigned transaction was provided")
        for key in header.fields:
            if len(key) == 1 and key[0] in _V2_GLOBALS:
                raise PsbtError(f"{_V2_GLOBALS[key[0]]} is not allowed in PSBTv0")
        return
    for kind in _V2_REQUIRED:
        if header.value(kind) is None:
            raise PsbtError(f"{_V2_GLOBALS[kind]} is required in PSBTv2")
    if has_transaction:
        raise PsbtError("PSBT_GLOBAL_UNSIGNED_TX is not allowed in PSBTv2")


def _counts(header: GlobalMap) -> tuple[int, int]:
    if header.version == 0:
        transaction = Psbt(header, (), ()).unsigned_transaction
        return len(transaction.inputs), len(transaction.outputs)
    values = (header.value(Global.INPUT_COUNT), header.value(Global.OUTPUT_COUNT))
    first, second = (Reader(value or b"\x00").compact_size() for value in values)
    return first, second


def _check_inputs(psbt: Psbt) -> None:
    for index, held in enumerate(psbt.inputs):
        if psbt.version == 0:
            _refuse(held.fields, _V2_INPUTS)
        elif held.value(In.PREVIOUS_TXID) is None:
            raise PsbtError("Previous TXID is required in PSBTv2")
        elif held.value(In.OUTPUT_INDEX) is None:
            raise PsbtError("Previous output's index is required in PSBTv2")
        try:
            psbt.previous_output(index)
        except PsbtInputError as error:
            raise PsbtError(error.reason) from error


def _check_outputs(psbt: Psbt) -> None:
    for held in psbt.outputs:
        if psbt.version == 0:
            _refuse(held.fields, _V2_OUTPUTS)
            continue
        if held.value(Out.AMOUNT) is None:
            raise PsbtError("Output amount is required in PSBTv2")
        is_silent = held.value(Out.SP_V0_INFO) is not None
        if held.script is None and not is_silent:
            raise PsbtError("Output script is required in PSBTv2")
        if held.value(Out.SP_V0_LABEL) is not None and not is_silent:
            raise PsbtError("Output silent payment label without its info (BIP375)")
        if held.script is not None and is_silent and psbt.globals.tx_modifiable & 3:
            raise PsbtError("Output silent payment script is set while inputs or outputs may change (BIP375)")


def _refuse(fields: Mapping[bytes, bytes], names: dict[int, str]) -> None:
    for key in fields:
        if len(key) == 1 and key[0] in names:
            raise PsbtError(f"{names[key[0]]} is not allowed in PSBTv0")

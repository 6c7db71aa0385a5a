"""Transactions put together from a call's inputs and outputs."""

from __future__ import annotations

from typing import Any, Final

from anya_actors.domain.bitcoin.address import parse_address
from anya_actors.domain.bitcoin.errors import AddressError
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.script import null_data_script
from anya_actors.domain.bitcoin.transaction import (
    MAX_SEQUENCE_RBF,
    SEQUENCE_FINAL,
    Outpoint,
    Transaction,
    TxInput,
    TxOutput,
)
from anya_actors.serve.bitcoin_rpc.arguments import (
    INT64,
    Arguments,
    parse_amount_argument,
    parse_hash,
    parse_hex,
    parse_integer,
    require,
)
from anya_actors.serve.bitcoin_rpc.describe import NETWORK
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError
from anya_actors.serve.bitcoin_rpc.signature import json_type

_VERSIONS: Final = range(1, 4)
_DEFAULT_VERSION: Final = 2


def _invalid(text: str) -> RpcError:
    return RpcError(RpcCode.INVALID_PARAMETER, f"Invalid parameter, {text}")


def make_transaction(arguments: Arguments, *, replaceable: bool | None) -> Transaction:
    """The transaction of ``inputs``, ``outputs``, ``locktime`` and ``version``, unsigned.

    ``replaceable`` None: signalled, but a caller's own sequence numbers need not agree.
    """
    lock_time = arguments.integer("locktime", 0, INT64)
    if not 0 <= lock_time <= SEQUENCE_FINAL:
        raise _invalid("locktime out of range")
    version = arguments.integer("version", _DEFAULT_VERSION)
    if version not in _VERSIONS:
        raise _invalid("version out of range(1~3)")
    signals = replaceable is None or replaceable
    default = MAX_SEQUENCE_RBF if signals else SEQUENCE_FINAL - bool(lock_time)
    inputs = tuple(parse_input(item, default) for item in arguments.items("inputs"))
    outputs = tuple(parse_outputs(arguments.raw("outputs")))
    if replaceable and inputs and not any(found.sequence <= MAX_SEQUENCE_RBF for found in inputs):
        text = "Invalid parameter combination: Sequence number(s) contradict replaceable option"
        raise RpcError(RpcCode.INVALID_PARAMETER, text)
    return Transaction(version, inputs, outputs, lock_time)


def parse_input(item: Any, default_sequence: int) -> TxInput:
    """An input of a transaction to be made; raises `RpcError`."""
    fields = Arguments(require(item, dict))
    outpoint = parse_outpoint(item)
    sequence = default_sequence
    if json_type(fields.raw("sequence")) == "number":
        sequence = fields.integer("sequence", within=INT64)
        if not 0 <= sequence <= SEQUENCE_FINAL:
            raise _invalid("sequence number is out of range")
    return TxInput(outpoint, sequence=sequence)


def parse_outpoint(item: Any) -> Outpoint:
    """``txid`` and ``vout`` of an object; raises `RpcError`."""
    fields = require(item, dict)
    txid = parse_hash(fields.get("txid"), "txid", Txid)
    if json_type(fields.get("vout")) != "number":
        raise _invalid("missing vout key")
    index = parse_integer(fields["vout"])
    if index < 0:
        raise _invalid("vout cannot be negative")
    return Outpoint(txid, index)


def parse_outputs(given: Any) -> list[TxOutput]:
    """Outputs by address or ``data``, as one object or as a list of objects of one member each."""
    outputs: list[TxOutput] = []
    names: set[str] = set()
    scripts: set[bytes] = set()
    for name, value in _pairs(given):
        if name == "data":
            if name in names:
                raise _invalid("duplicate key: data")
            text = value if isinstance(value, str) else str(value)
            outputs.append(TxOutput(0, null_data_script(parse_hex(text, "Data"))))
        else:
            outputs.append(_payment(name, value, scripts))
        names.add(name)
    return outputs


def _payment(address: str, value: Any, known: set[bytes]) -> TxOutput:
    amount_sat = parse_amount_argument(value)
    try:
        script = parse_address(address, NETWORK)
    except AddressError as error:
        text = f"Invalid Bitcoin address: {address[:200]}"
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, text) from error
    if script in known:
        raise _invalid(f"duplicated address: {address}")
    known.add(script)
    return TxOutput(amount_sat, script)


def _pairs(given: Any) -> list[tuple[str, Any]]:
    if given is None:
        raise _invalid("output argument must be non-null")
    if isinstance(given, dict):
        return list(given.items())
    pairs: list[tuple[str, Any]] = []
    for item in require(given, list):
        if not isinstance(item, dict):
            raise _invalid("key-value pair not an object as expected")
        if len(item) != 1:
            raise _invalid("key-value pair must contain exactly one key")
        pairs += item.items()
    return pairs

"""The terms of a wallet's payment: fee rates, change and inputs, as options name them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from anya_actors.domain.bitcoin.transaction import MAX_SEQUENCE_RBF, SEQUENCE_FINAL, TxInput, TxOutput
from anya_actors.serve.bitcoin_rpc.arguments import INT64, Arguments, parse_integer
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError
from anya_actors.serve.bitcoin_rpc.making import parse_input
from anya_actors.serve.bitcoin_rpc.signature import json_type
from anya_actors.serve.bitcoin_rpc.wallets import parse_kind, read_address
from anya_actors.services.bitcoin_node.wallets.keys import AddressKind
from anya_actors.services.bitcoin_node.wallets.payments import FALLBACK_FEERATE_SAT_PER_VB, PaymentRequest

OPTIONS: Final = (
    "add_inputs,include_unsafe,minconf,maxconf,change_address,changeAddress,change_position,changePosition,"
    "change_type,fee_rate,feeRate,conf_target,estimate_mode,replaceable,inputs,locktime,lock_unspents,"
    "lockUnspents,subtract_fee_from_outputs,subtractFeeFromOutputs,psbt,add_to_wallet,version,"
    "include_watching,includeWatching,send_max,input_weights,max_tx_weight,solving_data"
)
_NOT_SUPPORTED: Final = ("maxconf", "input_weights", "max_tx_weight", "solving_data")
_MODES: Final = ("unset", "economical", "conservative")


@dataclass(frozen=True, slots=True)
class Terms:
    """A request, and what kind of script its change goes to."""

    request: PaymentRequest
    change: AddressKind = AddressKind.BECH32
    locks_inputs: bool = False


def _invalid(text: str) -> RpcError:
    return RpcError(RpcCode.INVALID_PARAMETER, text)


def feerate_sat_per_vb(options: Arguments) -> int:
    """The fee rate, whole satoshis per virtual byte, rounded up; the fallback where none is named."""
    rate, old = options.raw("fee_rate"), options.raw("feeRate")
    target, mode = options.raw("conf_target"), options.text("estimate_mode", "unset").lower()
    if rate is not None and target is not None:
        raise _invalid(
            "Cannot specify both conf_target and fee_rate. Please provide either a confirmation target in "
            "blocks for automatic fee estimation, or an explicit fee rate."
        )
    if rate is not None and mode != "unset":
        raise _invalid("Cannot specify both estimate_mode and fee_rate")
    if rate is not None and old is not None:
        raise _invalid("Cannot specify both fee_rate (sat/vB) and feeRate (BTC/kvB)")
    if mode not in _MODES:
        words = ", ".join(f'"{name}"' for name in _MODES)
        raise _invalid(f"Invalid estimate_mode parameter, must be one of: {words}")
    if target is not None and not 1 <= parse_integer(target) <= 1008:
        raise _invalid("Invalid conf_target, must be between 1 and 1008")
    if rate is None and old is None:
        return FALLBACK_FEERATE_SAT_PER_VB
    per_kvb = _decimal(rate) * 1000 if rate is not None else _decimal(old) * 100_000_000
    if per_kvb != per_kvb.to_integral_value():
        raise RpcError(RpcCode.TYPE_ERROR, "Invalid amount")
    if per_kvb < 1000:
        text = "is lower than the minimum fee rate setting (1.000 sat/vB)"
        raise RpcError(RpcCode.WALLET_ERROR, f"Fee rate ({per_kvb / 1000:.3f} sat/vB) {text}")
    return int(-(-per_kvb // 1000))


def _decimal(value: Any) -> Decimal:
    if json_type(value) not in ("number", "string"):
        raise RpcError(RpcCode.TYPE_ERROR, "Amount is not a number or string")
    try:
        found = Decimal(str(value))
    except ArithmeticError:
        raise RpcError(RpcCode.TYPE_ERROR, "Invalid amount") from None
    if not found.is_finite():
        raise RpcError(RpcCode.TYPE_ERROR, "Invalid amount")
    if not 0 <= found < 21_000_000:
        raise RpcError(RpcCode.TYPE_ERROR, "Amount out of range")
    return found


def _first(options: Arguments, *names: str) -> Any:
    return next((options.raw(name) for name in names if options.has(name)), None)


def read_terms(
    options: Arguments,
    outputs: Sequence[TxOutput],
    *,
    adds_inputs: bool | None = None,
    inputs: tuple[TxInput, ...] | None = None,
    fee_payers: tuple[int, ...] | None = None,
) -> Terms:
    """The terms that an options object names; raises `RpcError`."""
    _refuse_unsupported(options)
    replaceable = options.flag("replaceable", True)
    sequence = MAX_SEQUENCE_RBF if replaceable else SEQUENCE_FINAL - 1
    if inputs is None:
        inputs = tuple(parse_input(item, sequence) for item in options.items("inputs"))
    if fee_payers is None:
        fee_payers = _fee_payers(
            _first(options, "subtract_fee_from_outputs", "subtractFeeFromOutputs"), outputs
        )
    change = _first(options, "change_address", "changeAddress")
    script = (
        b"" if change is None else read_address(str(change), "Change address must be a valid bitcoin address")
    )
    if script and options.has("change_type"):
        raise _invalid("Cannot specify both change address and address type options")
    place = _first(options, "change_position", "changePosition")
    place = None if place is None or place == -1 else parse_integer(place)
    if place is not None and not 0 <= place <= len(outputs):
        raise _invalid("changePosition out of bounds")
    default_adds = not inputs if adds_inputs is None else adds_inputs
    lock_time = options.integer("locktime", within=INT64) if options.has("locktime") else None
    if lock_time is not None and not 0 <= lock_time <= SEQUENCE_FINAL:
        raise _invalid("Invalid parameter, locktime out of range")
    request = PaymentRequest(
        tuple(outputs),
        feerate_sat_per_vb(options),
        fee_payers,
        inputs,
        adds_inputs=options.flag("add_inputs", default_adds),
        with_unsafe=options.flag("include_unsafe", False),
        least_confirmations=options.integer("minconf", 0),
        replaceable=replaceable,
        lock_time=lock_time,
        change_script=script,
        change_place=place,
    )
    kind = parse_kind(options.text("change_type", AddressKind.BECH32.value))
    return Terms(request, kind, bool(_first(options, "lock_unspents", "lockUnspents")))


def _refuse_unsupported(options: Arguments) -> None:
    for name in _NOT_SUPPORTED:
        if options.has(name):
            raise _invalid(f"{name} is not supported by this node")


def _fee_payers(given: Any, outputs: Sequence[TxOutput]) -> tuple[int, ...]:
    if given is None:
        return ()
    if not isinstance(given, list):
        raise RpcError(RpcCode.TYPE_ERROR, "JSON value is not an array as expected")
    places: list[int] = []
    for item in given:
        place = parse_integer(item)
        if place in places:
            raise _invalid(f"Invalid parameter, duplicated position: {place}")
        if place < 0:
            raise _invalid(f"Invalid parameter, negative position: {place}")
        if place >= len(outputs):
            raise _invalid(f"Invalid parameter, position too large: {place}")
        places.append(place)
    return tuple(places)

"""Payments of the node's wallets: choosing coins, making change, signing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from anya_actors.domain.bitcoin.coin_selection import (
    Candidate,
    InsufficientFundsError,
    Selection,
    Target,
    select_coins,
)
from anya_actors.domain.bitcoin.script import witness_program
from anya_actors.domain.bitcoin.transaction import (
    MAX_SEQUENCE_RBF,
    SEQUENCE_FINAL,
    Outpoint,
    Transaction,
    TxInput,
    TxOutput,
)
from anya_actors.domain.machine import AnyaError
from anya_actors.services.bitcoin_node.wallets.keys import OwnScript
from anya_actors.services.bitcoin_node.wallets.wallet import Wallet

FALLBACK_FEERATE_SAT_PER_VB: Final = 5
"""Paid when no rate is named: regtest has no market to estimate one from."""

_WITNESS_INPUT_WEIGHT: Final = 41 * 4 + 1
_LEGACY_INPUT_WEIGHT: Final = 43 * 4
_UNKNOWN_WEIGHT: Final = 41 * 4 + 1 + 107
_ORDINARY_CHANGE_WEIGHT: Final = 272


class UnknownInputError(AnyaError):
    """An input that the caller chose and whose output is not known."""

    code = "unknown-input"
    message = "the output {} is not known or spent"
    remedy = "Choose unspent outputs of this wallet."

    def __init__(self, outpoint: str) -> None:
        super().__init__(outpoint)


@dataclass(frozen=True, slots=True)
class PaymentRequest:
    """What is to be paid, and how. ``fee_payers`` are places of outputs that the fee comes from.

    ``inputs`` must be spent; others are added if ``adds_inputs``. With ``sends_all`` the outputs share
    everything that is spent, with no change.
    """

    outputs: tuple[TxOutput, ...]
    feerate_sat_per_vb: int = FALLBACK_FEERATE_SAT_PER_VB
    fee_payers: tuple[int, ...] = ()
    inputs: tuple[TxInput, ...] = ()
    adds_inputs: bool = True
    with_unsafe: bool = False
    least_confirmations: int = 0
    sends_all: bool = False
    replaceable: bool = True
    version: int = 2
    lock_time: int | None = None
    change_script: bytes = b""
    change_place: int | None = None


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment that is made up. ``change_place`` None: it makes no change."""

    transaction: Transaction
    spent: tuple[TxOutput, ...]
    fee_sat: int
    change_place: int | None


def input_weight(own: OwnScript | None) -> int:
    """The greatest weight of the input that spends an output of the wallet."""
    if own is None:
        return _UNKNOWN_WEIGHT
    satisfaction = own.source.descriptor.max_satisfaction_weight(high_r=True)
    if satisfaction is None:
        return _UNKNOWN_WEIGHT
    is_witness = witness_program(own.plan.redeem_script or own.script_pubkey) is not None
    return (_WITNESS_INPUT_WEIGHT if is_witness else _LEGACY_INPUT_WEIGHT) + satisfaction


def make_payment(
    wallet: Wallet, request: PaymentRequest, known: Sequence[TxOutput | None], height: int, seed: bytes
) -> Payment:
    """A payment without signatures; ``known`` are the outputs that ``request.inputs`` spend.

    Raises `InsufficientFundsError`, `DustError`, `UnknownInputError` and more.
    """
    chosen = {tx_input.prevout for tx_input in request.inputs}
    required: list[tuple[Outpoint, TxOutput]] = []
    for tx_input, output in zip(request.inputs, known, strict=True):
        if output is None:
            raise UnknownInputError(str(tx_input.prevout))
        required.append((tx_input.prevout, output))
    free = [
        (fund.outpoint, fund.coin.output)
        for fund in wallet.spendable(with_unsafe=request.with_unsafe)
        if fund.outpoint not in chosen and fund.confirmations >= request.least_confirmations
    ]
    coins = required + (free if request.adds_inputs else [])
    candidates = [
        Candidate(output.amount_sat, input_weight(wallet.scripts.get(output.script_pubkey)))
        for _, output in coins
    ]
    target = Target(
        request.outputs,
        request.feerate_sat_per_vb,
        request.change_script,
        _ORDINARY_CHANGE_WEIGHT,
        required=tuple(range(len(required))),
        only_required=not request.adds_inputs,
        subtract_fee=bool(request.fee_payers),
        send_all=request.sends_all,
    )
    selection = select_coins(wallet.name, candidates, target, seed)
    return _assembled(request, [coins[at] for at in selection.chosen], selection, height, seed)


def _assembled(
    request: PaymentRequest,
    coins: Sequence[tuple[Outpoint, TxOutput]],
    selection: Selection,
    height: int,
    seed: bytes,
) -> Payment:
    given = {tx_input.prevout: tx_input for tx_input in request.inputs}
    sequence = MAX_SEQUENCE_RBF if request.replaceable else SEQUENCE_FINAL - 1
    inputs = tuple(given.get(outpoint) or TxInput(outpoint, sequence=sequence) for outpoint, _ in coins)
    outputs = list(_paid(request, selection))
    place: int | None = None
    if selection.change_sat:
        place = request.change_place
        if place is None:
            # At a random place, so that it tells nothing.
            place = int.from_bytes(seed[:4], "big") % (len(outputs) + 1)
        outputs.insert(place, TxOutput(selection.change_sat, request.change_script))
    lock_time = height if request.lock_time is None else request.lock_time
    transaction = Transaction(request.version, inputs, tuple(outputs), lock_time)
    return Payment(transaction, tuple(output for _, output in coins), selection.fee_sat, place)


def _paid(request: PaymentRequest, selection: Selection) -> Sequence[TxOutput]:
    """The outputs with what each gets after the fee."""
    if request.sends_all:
        return _shared(request.outputs, sum(selection.sent_sat))
    if not request.fee_payers:
        amounts = selection.sent_sat
        return [replace(output, amount_sat=sat) for output, sat in zip(request.outputs, amounts, strict=True)]
    paid_sat = sum(output.amount_sat for output in request.outputs)
    due_sat = paid_sat - sum(selection.sent_sat)
    each, left = divmod(due_sat, len(request.fee_payers))
    shares = {at: each + (left if at == request.fee_payers[0] else 0) for at in request.fee_payers}
    return [
        replace(output, amount_sat=output.amount_sat - shares.get(at, 0))
        for at, output in enumerate(request.outputs)
    ]


def _shared(outputs: Sequence[TxOutput], total_sat: int) -> Sequence[TxOutput]:
    """Outputs without an amount share what those with one leave; raises `InsufficientFundsError`."""
    open_places = [at for at, output in enumerate(outputs) if not output.amount_sat]
    fixed_sat = sum(output.amount_sat for output in outputs)
    left_sat = total_sat - fixed_sat
    if left_sat <= 0 or not open_places:
        raise InsufficientFundsError("the wallet", fixed_sat, total_sat)
    each, more = divmod(left_sat, len(open_places))
    shares = {at: each + (more if at == open_places[0] else 0) for at in open_places}
    return [
        replace(output, amount_sat=shares[at]) if at in shares else output
        for at, output in enumerate(outputs)
    ]

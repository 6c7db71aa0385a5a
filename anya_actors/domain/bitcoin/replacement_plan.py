"""Raising the fee of a payment under way, or taking it back, by replacing its transaction (BIP125)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from anya_actors.domain.bitcoin.coin_selection import Candidate, Selection, Target, select_coins
from anya_actors.domain.bitcoin.lost_coins import OutpointKey, lost_inputs
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.payment import RESERVING, Payment, PaymentInput, Phase, Version, recipients_of
from anya_actors.domain.bitcoin.payment_order import check_feerate, verify_fee
from anya_actors.domain.bitcoin.payment_plan import bare_transaction, inputs_of
from anya_actors.domain.bitcoin.payment_signing import estimated_vsize
from anya_actors.domain.bitcoin.silent_sending import has_silent
from anya_actors.domain.bitcoin.transaction import TxOutput, parse_transaction
from anya_actors.domain.bitcoin.wallet import ChangeOutput, Wallet, change_script_of
from anya_actors.domain.bitcoin.wallet_scripts import change_form, input_weight, weight_of_input
from anya_actors.domain.machine import AnyaError, InvalidInputError

INCREMENTAL_FEERATE_SAT_PER_VB: Final = 1
"""What a replacement must pay on top for its own relay (BIP125, rule 4)."""


class NotReplaceableError(AnyaError):
    """A payment that cannot be replaced as it stands."""

    code = "not-replaceable"
    message = "the payment {} cannot be replaced: {}"
    remedy = "Only a payment that waits in the mempool can be; look at its phase."

    def __init__(self, payment_id: str, reason: str) -> None:
        super().__init__(payment_id, reason)


class ReplacementFeeError(AnyaError):
    """A replacement that no node would take, because it pays too little more."""

    code = "replacement-fee-too-low"
    message = "the replacement would pay {} sat, but has to pay at least {} sat"
    remedy = "Give a higher feerate, or none to have the least that is taken."

    def __init__(self, fee_sat: int, least_sat: int) -> None:
        super().__init__(fee_sat, least_sat)


@dataclass(frozen=True, slots=True)
class ReplacementPlan:
    """A version that may replace the present one. ``change_script`` empty: change needs a new one."""

    payment: Payment
    inputs: tuple[PaymentInput, ...]
    selection: Selection
    feerate_sat_per_vb: int
    outputs: tuple[TxOutput, ...]
    change_script: bytes
    cancels: bool

    @property
    def needs_change(self) -> bool:
        """Whether a change output must be made for it."""
        return (self.cancels or self.selection.change_sat > 0) and not self.change_script

    def version(self, change: ChangeOutput | None) -> Version:
        """The version with its unsigned transaction."""
        change_sat = self.selection.sent_sat[0] if self.cancels else self.selection.change_sat
        script, place = self.change_script, self.payment.change_place
        if not script and change is not None:
            script, place = change.script_pubkey, change.place
        outputs = list(() if self.cancels else self.outputs)
        if change_sat:
            if not script:
                raise InvalidInputError("change", "this replacement has change")
            outputs.append(TxOutput(change_sat, script))
        transaction = bare_transaction(self.inputs, outputs)
        return Version(
            transaction.serialize(),
            bytes(transaction.txid),
            self.inputs,
            self.feerate_sat_per_vb,
            self.selection.fee_sat,
            change_sat,
            script if change_sat else b"",
            self.cancels,
            change_place=place if change_sat else -1,
        )


def plan_replacement(
    wallet: Wallet, payment: Payment, feerate_sat_per_vb: int | None, max_fee_sat: int | None, *, cancel: bool
) -> ReplacementPlan:
    """Plan a version with a higher fee; without a feerate, with the least that nodes take.

    It spends every coin of the payment that is still there (see ``lost_coins``).

    Raises `NotReplaceableError`, `ReplacementFeeError`, `InsufficientFundsError`,
    `FeeCapMissingError`, `AbsurdFeeError`, `InvalidInputError`.
    """
    lost = lost_inputs(wallet, payment)
    _verify_replaceable(wallet, payment, lost)
    if lost and not cancel and has_silent(payment.recipients):
        raise NotReplaceableError(payment.payment_id, "a coin of its silent payment is gone: cancel it")
    cancel = cancel or payment.cancels  # what is being taken back pays no one again
    kept = [one for one in payment.inputs if one.outpoint not in lost]
    explicit = feerate_sat_per_vb is not None
    feerate = check_feerate(feerate_sat_per_vb or payment.feerate_sat_per_vb + INCREMENTAL_FEERATE_SAT_PER_VB)
    while True:
        plan = _planned(wallet, payment, feerate, kept, cancel=cancel)
        vsize = estimated_vsize_of(wallet, plan)
        least_sat = payment.fee_sat + vsize * INCREMENTAL_FEERATE_SAT_PER_VB
        fee_sat = plan.selection.fee_sat
        if fee_sat >= least_sat and feerate > payment.feerate_sat_per_vb:
            break
        if explicit:
            raise ReplacementFeeError(fee_sat, least_sat)
        feerate = check_feerate(feerate + max(1, -(-(least_sat - fee_sat) // vsize)))
    verify_fee(Network(wallet.network), plan.selection.fee_sat, max_fee_sat)
    return plan


def estimated_vsize_of(wallet: Wallet, plan: ReplacementPlan) -> int:
    """Virtual bytes of the planned version with signatures of the greatest length."""
    change_script, _ = change_form(wallet)
    version = plan.version(ChangeOutput(change_script))
    return estimated_vsize(
        parse_transaction(version.transaction), [weight_of_input(wallet, one) for one in plan.inputs]
    )


def _verify_replaceable(wallet: Wallet, payment: Payment, lost: Collection[OutpointKey]) -> None:
    if payment.phase is not Phase.BROADCAST:
        raise NotReplaceableError(payment.payment_id, f"it is {payment.phase.value}")
    if len(lost) == len(payment.inputs):
        raise NotReplaceableError(payment.payment_id, "none of the coins that it spends is there any more")
    if payment.cancels and not lost:
        raise NotReplaceableError(payment.payment_id, "it is being taken back already")
    for other in wallet.payments:
        if other.phase in RESERVING and any(txid in payment.txids for txid, _ in other.outpoints):
            raise NotReplaceableError(payment.payment_id, f"payment {other.payment_id} spends its change")


def _planned(
    wallet: Wallet, payment: Payment, feerate: int, kept: Sequence[PaymentInput], *, cancel: bool
) -> ReplacementPlan:
    old = [Candidate(one.amount_sat, weight_of_input(wallet, one)) for one in kept]
    # BIP125, rule 2: a replacement brings no unconfirmed coins that the original did not spend.
    # Other coins would give a silent payment another output, which the receiver could not find.
    coins = [] if cancel or has_silent(payment.recipients) else wallet.spendable()
    candidates = old + [Candidate(coin.amount_sat, input_weight(wallet, coin)) for coin in coins]
    change_script, change_weight = change_form(wallet)
    outputs = _paying_outputs(payment)
    target = Target(
        (TxOutput(0, change_script),) if cancel else outputs,
        feerate,
        change_script,
        change_weight,
        required=tuple(range(len(old))),
        only_required=cancel,
        send_all=cancel,
    )
    selection = select_coins(wallet.name, candidates, target)
    added = [coins[at - len(old)] for at in selection.chosen if at >= len(old)]
    inputs = sorted((*kept, *inputs_of(wallet, added)), key=lambda one: (one.txid[::-1], one.index))
    return ReplacementPlan(
        payment, tuple(inputs), selection, feerate, outputs, change_script_of(wallet, payment), cancel
    )


def _paying_outputs(payment: Payment) -> tuple[TxOutput, ...]:
    """What the recipients get: all outputs but the change."""
    if payment.recipients:
        return tuple(TxOutput(one.amount_sat, one.script_pubkey) for one in recipients_of(payment))
    # Stored before recipients were: its one recipient stands in the transaction beside the change.
    outputs = parse_transaction(payment.transaction).outputs
    paying = [one for one in outputs if one.amount_sat == payment.amount_sat]
    return tuple(paying[:1])

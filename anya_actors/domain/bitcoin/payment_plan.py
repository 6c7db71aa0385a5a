"""From "pay this much to that address" to one transaction, with every refusal money deserves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from anya_actors.domain.bitcoin.coin_selection import (
    Candidate,
    InsufficientFundsError,
    Selection,
    Target,
    select_coins,
)
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.payment import Payment, PaymentInput, Phase, Recipient
from anya_actors.domain.bitcoin.payment_order import PaymentOrder, check_feerate, verify_fee
from anya_actors.domain.bitcoin.script import push
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxInput, TxOutput
from anya_actors.domain.bitcoin.wallet import (
    ChangeOutput,
    CoinNotSpendableError,
    Wallet,
    WalletCoin,
)
from anya_actors.domain.bitcoin.wallet_scripts import (
    change_form,
    input_weight,
    payment_input,
    verify_signs_alone,
)
from anya_actors.domain.machine import InvalidInputError


@dataclass(frozen=True, slots=True)
class PaymentPlan:
    """A choice of coins that pays the order and keeps the fee cap."""

    order: PaymentOrder
    recipients: tuple[Recipient, ...]
    inputs: tuple[PaymentInput, ...]
    selection: Selection

    @property
    def needs_change(self) -> bool:
        return self.selection.change_sat > 0

    def payment(self, change: ChangeOutput | None) -> Payment:
        """The payment with its unsigned transaction, ordered as BIP69 says."""
        outputs = [TxOutput(one.amount_sat, one.script_pubkey) for one in self.recipients]
        change_script, change_place = b"", -1
        if self.needs_change:
            if change is None:
                raise InvalidInputError("change", "this payment has change")
            change_script, change_place = change.script_pubkey, change.place
            outputs.append(TxOutput(self.selection.change_sat, change_script))
        transaction = bare_transaction(self.inputs, outputs)
        order = self.order
        return Payment(
            payment_id=order.payment_id,
            phase=Phase.REQUESTED,
            address=self.recipients[0].address,
            amount_sat=sum(one.amount_sat for one in self.recipients),
            feerate_sat_per_vb=order.feerate_sat_per_vb,
            fee_sat=self.selection.fee_sat,
            change_sat=self.selection.change_sat,
            inputs=self.inputs,
            transaction=transaction.serialize(),
            txid=bytes(transaction.txid),
            final_confirmations=order.final_confirmations,
            requested_unix_ms=order.requested_unix_ms,
            recipients=self.recipients,
            change_script=change_script,
            change_place=change_place,
        )


def plan_payment(wallet: Wallet, order: PaymentOrder, *, alone: bool = True) -> PaymentPlan:
    """Choose coins for the order: confirmed ones, and own unconfirmed change where they are too few.

    ``alone``: the platform's keys must be enough to sign it.

    Raises `AmountError`, `DustError`, `InsufficientFundsError`, `TransactionTooLargeError`,
    `CoinNotSpendableError`, `NotSupportedError`, `FeeCapMissingError`, `AbsurdFeeError`, or
    `InvalidInputError` for a feerate that is none.
    """
    if alone:
        verify_signs_alone(wallet)
    check_feerate(order.feerate_sat_per_vb)
    confirmed, unconfirmed = wallet.spendable(), wallet.spendable_change()
    if order.inputs or order.send_all:
        chosen, selection = _select(wallet, order, [*confirmed, *unconfirmed])
    else:
        try:
            chosen, selection = _select(wallet, order, confirmed)
        except InsufficientFundsError:
            if not unconfirmed:
                raise
            chosen, selection = _select(wallet, order, [*confirmed, *unconfirmed])
    verify_fee(Network(wallet.network), selection.fee_sat, order.max_fee_sat)
    recipients = tuple(
        replace(one, amount_sat=sent) for one, sent in zip(order.recipients, selection.sent_sat, strict=True)
    )
    return PaymentPlan(order, recipients, inputs_of(wallet, chosen), selection)


def _select(
    wallet: Wallet, order: PaymentOrder, coins: Sequence[WalletCoin]
) -> tuple[list[WalletCoin], Selection]:
    places = {coin.outpoint: at for at, coin in enumerate(coins)}
    missing = [one for one in order.inputs if one not in places]
    if missing:
        raise CoinNotSpendableError(str(Outpoint(Txid(missing[0][0]), missing[0][1])))
    change_script, change_weight = change_form(wallet)
    target = Target(
        tuple(TxOutput(one.amount_sat, one.script_pubkey) for one in order.recipients),
        order.feerate_sat_per_vb,
        change_script,
        change_weight,
        required=tuple(places[one] for one in order.inputs),
        only_required=order.only_inputs,
        subtract_fee=order.subtract_fee,
        send_all=order.send_all,
    )
    candidates = [Candidate(coin.amount_sat, input_weight(wallet, coin)) for coin in coins]
    selection = select_coins(wallet.name, candidates, target, order.seed)
    return [coins[at] for at in selection.chosen], selection


def inputs_of(wallet: Wallet, coins: Sequence[WalletCoin]) -> tuple[PaymentInput, ...]:
    """What spends these coins, in BIP69's order."""
    ordered = sorted(coins, key=lambda coin: (coin.txid[::-1], coin.index))
    return tuple(payment_input(wallet, coin) for coin in ordered)


def bare_transaction(inputs: Sequence[PaymentInput], outputs: Sequence[TxOutput]) -> Transaction:
    """The transaction without signatures, its outputs in BIP69's order; it may be replaced (BIP125)."""
    ordered = sorted(outputs, key=lambda output: (output.amount_sat, output.script_pubkey))
    # What a P2SH output hides is known before it is signed, so it counts in the txid from the start.
    spent = tuple(
        TxInput(Outpoint(Txid(one.txid), one.index), push(one.redeem_script) if one.redeem_script else b"")
        for one in inputs
    )
    return Transaction(2, spent, tuple(ordered))

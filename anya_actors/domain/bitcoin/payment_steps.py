"""Life of one payment: from the promise of its coins to its burial under blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from msgspec.structs import replace

from anya_actors.domain.bitcoin.events import (
    BitcoinPaymentBroadcast,
    BitcoinPaymentConfirmed,
    BitcoinPaymentConflicted,
    BitcoinPaymentRejected,
    BitcoinPaymentReorged,
    BitcoinPaymentReplaced,
    BitcoinPaymentSettled,
)
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.payment import (
    BroadcastPayment,
    Payment,
    PaymentBroadcast,
    PaymentConfirmed,
    PaymentConflicted,
    PaymentRefused,
    PaymentReplaced,
    PaymentSettled,
    PaymentSigned,
    PaymentSigningRefused,
    PaymentUnconfirmed,
    PaymentVanished,
    Phase,
    SignPayment,
    Version,
)
from anya_actors.domain.machine import Event, IllegalTransitionError, InvalidInputError, Step


def _requested_signed(payment: Payment, event: PaymentSigned) -> Step[Payment]:
    signed = replace(payment, phase=Phase.SIGNED, transaction=event.transaction)
    return _owing_broadcast(signed)


def _owing_broadcast(payment: Payment) -> Step[Payment]:
    if payment.broadcast_owed:
        return Step(payment)
    owing = replace(payment, broadcast_owed=True, broadcasts=payment.broadcasts + 1)
    return Step(owing, (BroadcastPayment(payment.payment_id, payment.transaction),))


def _to_rejected(payment: Payment, event: PaymentSigningRefused | PaymentRefused) -> Step[Payment]:
    reason, before = event.reason, _alive(payment.others)
    if before is not None:
        # The refused one was to replace a version that a node has taken: that one still pays.
        signed = isinstance(event, PaymentRefused)
        by_it = _by(payment, before, alive=signed)
        return Step(replace(by_it, phase=Phase.BROADCAST, reason=reason, broadcast_owed=False))
    rejected = replace(payment, phase=Phase.REJECTED, reason=reason, broadcast_owed=False)
    published = BitcoinPaymentRejected(payment.wallet, payment.payment_id, payment.txid_hex, reason)
    return Step(rejected, events=(published,))


def _to_broadcast(payment: Payment, _: PaymentBroadcast) -> Step[Payment]:
    taken = replace(payment, phase=Phase.BROADCAST, accepted=True, broadcast_owed=False, reason="")
    if payment.accepted:
        return Step(taken)
    published = BitcoinPaymentBroadcast(payment.wallet, payment.payment_id, payment.txid_hex)
    return Step(taken, events=(published,))


def _broadcast_refused(payment: Payment, event: PaymentRefused) -> Step[Payment]:
    # A node had it once, so others may still have it: its coins stay reserved, and the next block
    # is the next chance to have it taken again.
    return Step(replace(payment, broadcast_owed=False, reason=event.reason, refused_height=event.tip_height))


def _broadcast_vanished(payment: Payment, _: PaymentVanished) -> Step[Payment]:
    return _owing_broadcast(payment)


def _to_confirmed(payment: Payment, event: PaymentConfirmed) -> Step[Payment]:
    found = next((other for other in payment.others if other.txid == event.version), payment.version)
    # Every version spends the same coins, so this block has ended the others, unless it is undone.
    by_it = _by(payment, found)
    others = tuple(replace(other, alive=False) for other in by_it.others)
    confirmed = replace(
        by_it, phase=Phase.CONFIRMED, height=event.height, accepted=True, reason="", others=others
    )
    published = BitcoinPaymentConfirmed(
        payment.wallet, payment.payment_id, confirmed.txid_hex, event.height, confirmed.cancels
    )
    return Step(confirmed, events=(published,))


def _to_unconfirmed(payment: Payment, _: PaymentUnconfirmed) -> Step[Payment]:
    outcome = _owing_broadcast(replace(payment, phase=Phase.BROADCAST, height=None))
    published = BitcoinPaymentReorged(payment.wallet, payment.payment_id, payment.txid_hex)
    return Step(outcome.state, outcome.commands, (published,))


def _confirmed_settled(payment: Payment, _: PaymentSettled) -> Step[Payment]:
    published = BitcoinPaymentSettled(
        payment.wallet, payment.payment_id, payment.txid_hex, payment.height or 0
    )
    return Step(replace(payment, phase=Phase.SETTLED), events=(published,))


def _to_conflicted(payment: Payment, event: PaymentConflicted) -> Step[Payment]:
    versions = [*payment.others, payment.version]
    spent = set(event.spent)
    left = [one if spent and not spent & one.outpoints else replace(one, alive=False) for one in versions]
    before = _alive(left)
    if before is not None:
        return _without_the_dead(payment, left, before)
    other = Txid(event.txid).hex_reversed()
    conflicted = replace(payment, phase=Phase.CONFLICTED, reason=f"{other} spent one of its coins")
    published = BitcoinPaymentConflicted(payment.wallet, payment.payment_id, payment.txid_hex, other)
    return Step(conflicted, events=(published,))


def _without_the_dead(payment: Payment, versions: Sequence[Version], alive: Version) -> Step[Payment]:
    """The payment goes on by a version whose coins are all still there."""
    others = tuple(one for one in versions if one.txid != payment.txid)
    if alive.txid == payment.txid:
        return Step(replace(payment, others=others))
    return _owing_broadcast(
        replace(_by(replace(payment, others=others), alive, alive=False), phase=Phase.BROADCAST)
    )


def _broadcast_replaced(payment: Payment, event: PaymentReplaced) -> Step[Payment]:
    version = event.replacement
    # A coin that a reorganisation took cannot be spent again, so not all of them need be shared: one
    # with each version lets the chain hold at most one of them.
    if any(one.outpoints.isdisjoint(version.outpoints) for one in (payment.version, *payment.others)):
        raise InvalidInputError("replacement", "it spends no coin of what it replaces")
    replaced = replace(
        _by(payment, version), phase=Phase.REQUESTED, reason="", broadcast_owed=False, refused_height=-1
    )
    command = SignPayment(payment.payment_id, version.transaction, version.inputs)
    published = BitcoinPaymentReplaced(
        payment.wallet,
        payment.payment_id,
        payment.txid_hex,
        replaced.txid_hex,
        version.fee_sat,
        version.cancels,
    )
    return Step(replaced, (command,), (published,))


def _alive(versions: Sequence[Version]) -> Version | None:
    """The newest version that can still be in the chain."""
    return next((one for one in reversed(versions) if one.alive), None)


def _by(payment: Payment, version: Version, *, alive: bool = True) -> Payment:
    """The payment as ``version`` makes it; the version that made it joins the others, ``alive`` or not."""
    if version.txid == payment.txid:
        return payment
    others = tuple(one for one in payment.others if one.txid != version.txid)
    return replace(
        payment,
        transaction=version.transaction,
        txid=version.txid,
        inputs=version.inputs,
        feerate_sat_per_vb=version.feerate_sat_per_vb,
        fee_sat=version.fee_sat,
        change_sat=version.change_sat,
        change_script=version.change_script,
        change_place=version.change_place,
        cancels=version.cancels,
        others=(*others, replace(payment.version, alive=alive)),
    )


def _late_signed(payment: Payment, event: PaymentSigned) -> Step[Payment]:
    # A block held it before we knew of the signatures: a backup was restored.
    signed = replace(payment, transaction=event.transaction)
    return _owing_broadcast(signed) if payment.phase is Phase.BROADCAST else Step(signed)


def _late(payment: Payment, event: Event) -> Step[Payment]:
    # What a command led to arrives after a block has decided already.
    if isinstance(event, PaymentBroadcast | PaymentRefused):
        return Step(replace(payment, broadcast_owed=False))
    return Step(payment)


_OF_ONE_VERSION: Final = (
    PaymentSigned,
    PaymentSigningRefused,
    PaymentBroadcast,
    PaymentRefused,
    PaymentVanished,
)

Transition = Callable[[Payment, Any], Step[Payment]]

TRANSITIONS: Final[Mapping[tuple[Phase, type[Event]], Transition]] = {
    (Phase.REQUESTED, PaymentSigned): _requested_signed,
    (Phase.REQUESTED, PaymentSigningRefused): _to_rejected,
    (Phase.REQUESTED, PaymentConfirmed): _to_confirmed,
    (Phase.REQUESTED, PaymentConflicted): _to_conflicted,
    (Phase.SIGNED, PaymentBroadcast): _to_broadcast,
    (Phase.SIGNED, PaymentRefused): _to_rejected,
    (Phase.SIGNED, PaymentConfirmed): _to_confirmed,
    (Phase.SIGNED, PaymentConflicted): _to_conflicted,
    (Phase.BROADCAST, PaymentReplaced): _broadcast_replaced,
    (Phase.BROADCAST, PaymentSigned): _late_signed,
    (Phase.BROADCAST, PaymentSigningRefused): _late,
    (Phase.BROADCAST, PaymentBroadcast): _to_broadcast,
    (Phase.BROADCAST, PaymentRefused): _broadcast_refused,
    (Phase.BROADCAST, PaymentVanished): _broadcast_vanished,
    (Phase.BROADCAST, PaymentConfirmed): _to_confirmed,
    (Phase.BROADCAST, PaymentConflicted): _to_conflicted,
    (Phase.CONFIRMED, PaymentSigned): _late_signed,
    (Phase.CONFIRMED, PaymentSigningRefused): _late,
    (Phase.CONFIRMED, PaymentBroadcast): _late,
    (Phase.CONFIRMED, PaymentRefused): _late,
    (Phase.CONFIRMED, PaymentUnconfirmed): _to_unconfirmed,
    (Phase.CONFIRMED, PaymentSettled): _confirmed_settled,
    (Phase.SETTLED, PaymentSigned): _late_signed,
    (Phase.SETTLED, PaymentSigningRefused): _late,
    (Phase.SETTLED, PaymentBroadcast): _late,
    (Phase.SETTLED, PaymentRefused): _late,
    (Phase.SETTLED, PaymentUnconfirmed): _to_unconfirmed,
    (Phase.REJECTED, PaymentConfirmed): _to_confirmed,
    (Phase.CONFLICTED, PaymentSigned): _late,
    (Phase.CONFLICTED, PaymentSigningRefused): _late,
    (Phase.CONFLICTED, PaymentBroadcast): _late,
    (Phase.CONFLICTED, PaymentRefused): _late,
    (Phase.CONFLICTED, PaymentConfirmed): _to_confirmed,
}


def step(payment: Payment, event: Event) -> Step[Payment]:
    """Apply one event; raise `IllegalTransitionError` and change nothing if it is not in the table."""
    if isinstance(event, _OF_ONE_VERSION) and event.version not in (b"", payment.txid):
        # What a command led to for a version by which the payment no longer stands, in whatever phase
        # the next version is: refusing it would have the command performed again for ever.
        return Step(payment)
    transition = TRANSITIONS.get((payment.phase, type(event)))
    if transition is None:
        raise IllegalTransitionError(payment.phase.value, type(event).__name__)
    return transition(payment, event)

"""Life of one payment: from the promise of its coins to its burial under blocks.

A P2WPKH transaction's txid does not depend on its signatures (BIP141), and signatures are
deterministic (RFC 6979), so inputs, outputs, fee and txid are fixed in the very commit that
accepts a payment. From then on there is one transaction that can make it, and broadcasting that
transaction again pays nothing twice. Two rules keep this so: the signed bytes are committed before
any node sees them, and a coin that a payment reserved is free again only once the payment is
rejected or conflicted, after which we never broadcast it again ourselves. Whatever we believed, a
block decides: a payment found in a block is confirmed from every phase in which its transaction
exists.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from anya_actors.domain.bitcoin.events import (
    BitcoinPaymentBroadcast,
    BitcoinPaymentConfirmed,
    BitcoinPaymentConflicted,
    BitcoinPaymentRejected,
    BitcoinPaymentReorged,
    BitcoinPaymentSettled,
)
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.views import PaymentView
from anya_actors.domain.machine import Command, Event, IllegalTransitionError, Step


class Phase(enum.Enum):
    """Where a payment stands. Its coins are reserved in the first three."""

    REQUESTED = "requested"  # transaction fixed, signatures owed
    SIGNED = "signed"  # signed bytes committed, broadcast owed
    BROADCAST = "broadcast"  # a node took it; watched until a block holds it
    CONFIRMED = "confirmed"  # in a block
    SETTLED = "settled"  # in a block with as many confirmations as asked for
    REJECTED = "rejected"  # never taken by a node; its coins are free
    CONFLICTED = "conflicted"  # a block holds another transaction that spends one of its coins


RESERVING: Final = frozenset((Phase.REQUESTED, Phase.SIGNED, Phase.BROADCAST))


class PaymentInput(msgspec.Struct, frozen=True):
    """A coin to spend and the HSM key that can."""

    txid: bytes
    index: int
    amount_sat: int
    key: str
    public_key: bytes


class Payment(msgspec.Struct, frozen=True):
    """One payment. ``transaction`` is serialised, without witnesses until it is signed.

    It is emptied once the payment is over and buried; ``txid`` (wire order) stays.
    """

    payment_id: str
    phase: Phase
    address: str
    amount_sat: int
    feerate_sat_per_vb: int
    fee_sat: int
    change_sat: int
    inputs: tuple[PaymentInput, ...]
    transaction: bytes
    txid: bytes
    final_confirmations: int
    requested_unix_ms: int
    height: int | None = None
    reason: str = ""
    accepted: bool = False
    broadcast_owed: bool = False
    broadcasts: int = 0
    refused_height: int = -1

    @property
    def wallet(self) -> str:
        return self.payment_id.rpartition(".")[0]

    @property
    def txid_hex(self) -> str:
        return Txid(self.txid).hex_reversed()

    @property
    def outpoints(self) -> frozenset[tuple[bytes, int]]:
        return frozenset((spent.txid, spent.index) for spent in self.inputs)

    def confirmations(self, tip_height: int) -> int:
        """How many blocks hold it or stand on the one that does, with the tip at this height."""
        return 0 if self.height is None else tip_height - self.height + 1


class SignPayment(Command, frozen=True):
    """Sign each input of the transaction with its key. Signing again gives the same bytes."""

    payment_id: str
    transaction: bytes
    inputs: tuple[PaymentInput, ...]


class BroadcastPayment(Command, frozen=True):
    """Hand the signed transaction to the node. Doing so again changes nothing."""

    payment_id: str
    transaction: bytes


class PaymentSigned(Event, frozen=True):
    """Every input carries a signature that has been verified."""

    payment_id: str
    transaction: bytes


class PaymentSigningRefused(Event, frozen=True):
    """The HSM will never sign this."""

    payment_id: str
    reason: str


class PaymentBroadcast(Event, frozen=True):
    """A node has the transaction."""

    payment_id: str


class PaymentRefused(Event, frozen=True):
    """The node rejected the transaction while its tip stood at ``tip_height``."""

    payment_id: str
    reason: str
    tip_height: int


class PaymentVanished(Event, frozen=True):
    """The transaction is neither in the node's mempool nor in its chain."""

    payment_id: str


class PaymentConfirmed(Event, frozen=True):
    """A block at ``height`` holds the payment's transaction."""

    payment_id: str
    height: int


class PaymentUnconfirmed(Event, frozen=True):
    """The block that held it was disconnected."""

    payment_id: str


class PaymentSettled(Event, frozen=True):
    """So many blocks are on top of the payment that it is no longer watched."""

    payment_id: str


class PaymentConflicted(Event, frozen=True):
    """A block holds ``txid`` (wire order), which spends one of the payment's coins."""

    payment_id: str
    txid: bytes


def _requested_signed(payment: Payment, event: PaymentSigned) -> Step[Payment]:
    signed = replace(payment, phase=Phase.SIGNED, transaction=event.transaction)
    return _owing_broadcast(signed)


def _owing_broadcast(payment: Payment) -> Step[Payment]:
    if payment.broadcast_owed:
        return Step(payment)
    owing = replace(payment, broadcast_owed=True, broadcasts=payment.broadcasts + 1)
    return Step(owing, (BroadcastPayment(payment.payment_id, payment.transaction),))


def _requested_rejected(payment: Payment, event: PaymentSigningRefused) -> Step[Payment]:
    return _reject(payment, event.reason)


def _signed_rejected(payment: Payment, event: PaymentRefused) -> Step[Payment]:
    return _reject(payment, event.reason)


def _reject(payment: Payment, reason: str) -> Step[Payment]:
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
    confirmed = replace(payment, phase=Phase.CONFIRMED, height=event.height, accepted=True, reason="")
    published = BitcoinPaymentConfirmed(payment.wallet, payment.payment_id, payment.txid_hex, event.height)
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
    other = Txid(event.txid).hex_reversed()
    conflicted = replace(payment, phase=Phase.CONFLICTED, reason=f"{other} spent one of its coins")
    published = BitcoinPaymentConflicted(payment.wallet, payment.payment_id, payment.txid_hex, other)
    return Step(conflicted, events=(published,))


def _late_signed(payment: Payment, event: PaymentSigned) -> Step[Payment]:
    # A block held it before we knew of the signatures: a backup was restored.
    signed = replace(payment, transaction=event.transaction)
    return _owing_broadcast(signed) if payment.phase is Phase.BROADCAST else Step(signed)


def _late(payment: Payment, event: Event) -> Step[Payment]:
    # What a command led to arrives after a block has decided already.
    if isinstance(event, PaymentBroadcast | PaymentRefused):
        return Step(replace(payment, broadcast_owed=False))
    return Step(payment)


Transition = Callable[[Payment, Any], Step[Payment]]

TRANSITIONS: Final[Mapping[tuple[Phase, type[Event]], Transition]] = {
    (Phase.REQUESTED, PaymentSigned): _requested_signed,
    (Phase.REQUESTED, PaymentSigningRefused): _requested_rejected,
    (Phase.REQUESTED, PaymentConfirmed): _to_confirmed,
    (Phase.REQUESTED, PaymentConflicted): _to_conflicted,
    (Phase.SIGNED, PaymentBroadcast): _to_broadcast,
    (Phase.SIGNED, PaymentRefused): _signed_rejected,
    (Phase.SIGNED, PaymentConfirmed): _to_confirmed,
    (Phase.SIGNED, PaymentConflicted): _to_conflicted,
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
    transition = TRANSITIONS.get((payment.phase, type(event)))
    if transition is None:
        raise IllegalTransitionError(payment.phase.value, type(event).__name__)
    return transition(payment, event)


def view_of(payment: Payment, tip_height: int) -> PaymentView:
    """The payment as the outside sees it, with the wallet's tip at ``tip_height``."""
    return PaymentView(
        payment_id=payment.payment_id,
        wallet=payment.wallet,
        phase=payment.phase.value,
        address=payment.address,
        amount_sat=payment.amount_sat,
        feerate_sat_per_vb=payment.feerate_sat_per_vb,
        fee_sat=payment.fee_sat,
        change_sat=payment.change_sat,
        txid=payment.txid_hex,
        height=payment.height,
        confirmations=payment.confirmations(tip_height),
        reason=payment.reason,
        requested_unix_ms=payment.requested_unix_ms,
    )

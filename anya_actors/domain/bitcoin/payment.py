"""What a payment is, what may happen to it and what it owes. Its transitions: ``payment_steps``.

A segwit transaction's txid does not depend on its signatures (BIP141), so inputs, outputs, fee and
txid are fixed in the very commit that accepts a payment. From then on there is one transaction
that can make it, and broadcasting that transaction again pays nothing twice. Two rules keep this
so: the signed bytes are committed before any node sees them, and a coin that a payment reserved is
free again only once the payment is rejected or conflicted, after which we never broadcast it again
ourselves. A replacement (BIP125) is another version of the same payment: every version spends the
coins of the first, so at most one of them is ever in the chain, and the payment is made once.
Whatever we believed, a block decides: a payment of which any version is found in a block is
confirmed, by that version.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.views import PaymentView, RecipientView
from anya_actors.domain.machine import Command, Event


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
    """A coin to spend and the HSM key that can.

    ``script_pubkey`` is empty for the P2WPKH of ``public_key``. In a wallet of descriptors,
    ``branch`` and ``place`` say which script of which descriptor it is; ``redeem_script`` is what a
    P2SH output hides. ``tweak`` is that of a coin of a silent payment.
    """

    txid: bytes
    index: int
    amount_sat: int
    key: str
    public_key: bytes
    script_pubkey: bytes = b""
    branch: int = -1
    place: int = -1
    redeem_script: bytes = b""
    tweak: bytes = b""

    @property
    def outpoint(self) -> tuple[bytes, int]:
        return self.txid, self.index


class Recipient(msgspec.Struct, frozen=True):
    """Who is paid how much."""

    address: str
    amount_sat: int
    script_pubkey: bytes


class Version(msgspec.Struct, frozen=True):
    """One transaction that makes a payment, or takes it back (``cancels``).

    ``transaction`` is serialised, without witnesses until it is signed; ``txid`` in wire order.
    A version that is not ``alive`` can never be in the chain, as another one was when last seen.
    """

    transaction: bytes
    txid: bytes
    inputs: tuple[PaymentInput, ...]
    feerate_sat_per_vb: int
    fee_sat: int
    change_sat: int
    change_script: bytes = b""
    cancels: bool = False
    alive: bool = True
    change_place: int = -1

    @property
    def outpoints(self) -> frozenset[tuple[bytes, int]]:
        return frozenset(spent.outpoint for spent in self.inputs)


class Payment(msgspec.Struct, frozen=True):
    """One payment, by its newest version, or the one in a block; ``others`` are its other versions.

    ``transaction`` is emptied once the payment is over and buried; ``txid`` (wire order) stays.
    ``address`` is that of the first recipient, ``amount_sat`` what all of them get.
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
    recipients: tuple[Recipient, ...] = ()
    others: tuple[Version, ...] = ()
    change_script: bytes = b""
    cancels: bool = False
    change_place: int = -1

    @property
    def version(self) -> Version:
        """The version by which the payment stands now."""
        return Version(
            self.transaction,
            self.txid,
            self.inputs,
            self.feerate_sat_per_vb,
            self.fee_sat,
            self.change_sat,
            self.change_script,
            self.cancels,
            change_place=self.change_place,
        )

    @property
    def txids(self) -> frozenset[bytes]:
        """The txid of every version, in wire order."""
        return frozenset((self.txid, *(other.txid for other in self.others)))

    @property
    def wallet(self) -> str:
        return self.payment_id.rpartition(".")[0]

    @property
    def txid_hex(self) -> str:
        return Txid(self.txid).hex_reversed()

    @property
    def outpoints(self) -> frozenset[tuple[bytes, int]]:
        """What any version that may still be in the chain spends."""
        alive = (other.outpoints for other in self.others if other.alive)
        return frozenset(spent.outpoint for spent in self.inputs).union(*alive)

    def confirmations(self, tip_height: int) -> int:
        """How many blocks hold it or stand on the one that does, with the tip at this height."""
        return 0 if self.height is None else max(0, tip_height - self.height + 1)


class SignPayment(Command, frozen=True):
    """Sign each input of the transaction with its key. Signing again gives the same bytes."""

    payment_id: str
    transaction: bytes
    inputs: tuple[PaymentInput, ...]


class BroadcastPayment(Command, frozen=True):
    """Hand the signed transaction to the node. Doing so again changes nothing."""

    payment_id: str
    transaction: bytes


# Below, ``version`` is the txid (wire order) of the version that an event is about.


class PaymentSigned(Event, frozen=True):
    """Every input carries a signature that has been verified."""

    payment_id: str
    transaction: bytes
    version: bytes = b""


class PaymentSigningRefused(Event, frozen=True):
    """The HSM will never sign this."""

    payment_id: str
    reason: str
    version: bytes = b""


class PaymentBroadcast(Event, frozen=True):
    """A node has the transaction."""

    payment_id: str
    version: bytes = b""


class PaymentRefused(Event, frozen=True):
    """The node rejected the transaction while its tip stood at ``tip_height``."""

    payment_id: str
    reason: str
    tip_height: int
    version: bytes = b""


class PaymentVanished(Event, frozen=True):
    """The transaction is neither in the node's mempool nor in its chain."""

    payment_id: str
    version: bytes = b""


class PaymentConfirmed(Event, frozen=True):
    """A block at ``height`` holds the payment's transaction."""

    payment_id: str
    height: int
    version: bytes = b""


class PaymentUnconfirmed(Event, frozen=True):
    """The block that held it was disconnected."""

    payment_id: str


class PaymentSettled(Event, frozen=True):
    """So many blocks are on top of the payment that it is no longer watched."""

    payment_id: str


class PaymentConflicted(Event, frozen=True):
    """A block holds ``txid`` (wire order), which spends one of the payment's coins.

    ``spent`` are the outpoints that can no longer be spent; empty means all.
    """

    payment_id: str
    txid: bytes
    spent: tuple[tuple[bytes, int], ...] = ()


class PaymentReplaced(Event, frozen=True):
    """A version has been built that pays a higher fee, or takes the payment back (BIP125)."""

    payment_id: str
    replacement: Version


def recipients_of(payment: Payment) -> tuple[Recipient, ...]:
    """Whom the payment pays; one stored before there could be several names its only one."""
    return payment.recipients or (Recipient(payment.address, payment.amount_sat, b""),)


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
        recipients=tuple(RecipientView(one.address, one.amount_sat) for one in recipients_of(payment)),
        txids=tuple(sorted(Txid(txid).hex_reversed() for txid in payment.txids)),
        cancels=payment.cancels,
    )

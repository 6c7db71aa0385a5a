"""Durable subscriptions: who waits for a transaction, a payment to a script, or an outpoint to be spent.

One watchlist holds them all with a cursor of its own, so each is told exactly once and in order: a
transaction is *seen* when it waits in the mempool or comes in a block, *confirmed* when it has as
many confirmations as were asked for, *reorged* when its block leaves the chain, and then confirmed
anew. What lies deeper than the cursor remembers is final and forgotten.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec.structs import replace

from anya_actors.domain.bitcoin.block import Block
from anya_actors.domain.bitcoin.chain_follower import RETAINED_BLOCKS, BlockRef, ChainCursor, block_ref
from anya_actors.domain.bitcoin.events import (
    BitcoinTransactionConfirmed,
    BitcoinTransactionReorged,
    BitcoinTransactionSeen,
)
from anya_actors.domain.bitcoin.hashes import BlockHash, Txid
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction
from anya_actors.domain.bitcoin.views import SightingView, SubscriptionView
from anya_actors.domain.machine import AnyaError, Event, Step, SystemEvent

MAX_SUBSCRIPTIONS: Final = 1000
MAX_SIGHTINGS: Final = 1000
"""Of one subscription at a time; a script that is paid more often is told of the rest in blocks alone."""

MAX_CONFIRMATIONS: Final = RETAINED_BLOCKS // 2


class SubscriptionLimitError(AnyaError):
    """So many subscriptions that each block would take too long."""

    code = "subscription-limit"
    message = "there are {} subscriptions, the most there may be"
    remedy = "Delete those that are no longer needed."

    def __init__(self, count: int) -> None:
        super().__init__(count)


class UnknownSubscriptionError(AnyaError):
    """No subscription has this id."""

    code = "unknown-subscription"
    message = "there is no subscription {}"
    remedy = "List the subscriptions; one that was deleted does not come back."

    def __init__(self, subscription_id: str) -> None:
        super().__init__(subscription_id)


class Subject(enum.Enum):
    """What a subscription is about; ``value`` of the `Subscription` is the txid, script or outpoint."""

    TRANSACTION = "transaction"
    SCRIPT = "script"
    OUTPOINT = "outpoint"


class Sighting(msgspec.Struct, frozen=True):
    """A transaction that a subscription is about; ``height`` is None while no block holds it."""

    txid: bytes
    received_sat: int = 0
    height: int | None = None
    block_hash: bytes = b""
    confirmed_told: bool = False


class Subscription(msgspec.Struct, frozen=True):
    """``value`` is in wire order: a txid, a script, or a txid followed by a 4-byte index."""

    subscription_id: str
    subject: Subject
    value: bytes
    confirmations: int
    created_unix_ms: int
    sightings: tuple[Sighting, ...] = ()

    def received_by(self, transaction: Transaction, txid: bytes) -> int | None:
        """What the transaction pays to the script watched (0 for other subjects), or None if it does
        not concern the subscription."""
        if self.subject is Subject.TRANSACTION:
            return 0 if txid == self.value else None
        if self.subject is Subject.OUTPOINT:
            spends = any(outpoint_bytes(spent.prevout) == self.value for spent in transaction.inputs)
            return 0 if spends else None
        paid = [one.amount_sat for one in transaction.outputs if one.script_pubkey == self.value]
        return sum(paid) if paid else None


class Watchlist(msgspec.Struct, frozen=True, tag=True):
    """Every subscription, and how far the chain has been followed for them."""

    cursor: ChainCursor
    subscriptions: tuple[Subscription, ...] = ()
    follow_count: int = 0

    def find(self, subscription_id: str) -> Subscription:
        """Raises `UnknownSubscriptionError`."""
        for one in self.subscriptions:
            if one.subscription_id == subscription_id:
                return one
        raise UnknownSubscriptionError(subscription_id)


class Found(msgspec.Struct, frozen=True):
    """A transaction that concerns one subscription."""

    subscription_id: str
    txid: bytes
    received_sat: int


class WatchedBlock(msgspec.Struct, frozen=True):
    """A block and what of it concerns subscriptions."""

    block: BlockRef
    found: tuple[Found, ...] = ()


class WatchlistBegun(Event, frozen=True):
    """The chain as it stood before the first subscription."""

    cursor: ChainCursor


class SubscriptionAdded(Event, frozen=True):
    """A subscription, with what the chain held of it already."""

    subscription: Subscription


class SubscriptionRemoved(Event, frozen=True):
    """Nobody waits any more."""

    subscription_id: str


class WatchedBlocksConnected(Event, frozen=True):
    """Blocks that joined the chain, oldest first."""

    blocks: tuple[WatchedBlock, ...]


class WatchedBlocksDisconnected(Event, frozen=True):
    """Blocks that left the chain, newest first; hashes in wire order."""

    hashes: tuple[bytes, ...]


class WatchedTransactionsSeen(Event, frozen=True):
    """What waits in the mempool."""

    found: tuple[Found, ...]


class WatchlistRemembered(Event, frozen=True):
    """Ancestors of the oldest block that the cursor knew, lowest first; hashes in wire order."""

    hashes: tuple[bytes, ...]


def outpoint_bytes(outpoint: Outpoint) -> bytes:
    """An outpoint as a subscription's value."""
    return bytes(outpoint.txid) + outpoint.index.to_bytes(4, "little")


class Watcher:
    """Picks out of transactions what concerns the subscriptions as they stand now."""

    def __init__(self, watchlist: Watchlist) -> None:
        self._subscriptions = watchlist.subscriptions
        self._values = {one.value for one in watchlist.subscriptions}

    def find(self, transactions: Iterable[Transaction]) -> tuple[Found, ...]:
        """What of these transactions concerns whom, in their order."""
        return tuple(found for transaction in transactions for found in self._of(transaction))

    def find_in_block(self, block: Block, height: int) -> WatchedBlock:
        return WatchedBlock(block_ref(block, height), self.find(block.transactions))

    def _of(self, transaction: Transaction) -> list[Found]:
        txid = bytes(transaction.txid)
        touched = {txid, *(one.script_pubkey for one in transaction.outputs)}
        touched.update(outpoint_bytes(spent.prevout) for spent in transaction.inputs)
        if touched.isdisjoint(self._values):
            return []
        found = ((one, one.received_by(transaction, txid)) for one in self._subscriptions)
        return [Found(one.subscription_id, txid, sat) for one, sat in found if sat is not None]


def begin(event: WatchlistBegun) -> Step[Watchlist]:
    return Step(Watchlist(event.cursor))


def add(watchlist: Watchlist, event: SubscriptionAdded) -> Step[Watchlist]:
    """Take a subscription; raises `SubscriptionLimitError`."""
    if len(watchlist.subscriptions) >= MAX_SUBSCRIPTIONS:
        raise SubscriptionLimitError(len(watchlist.subscriptions))
    change = _Change(replace(watchlist, subscriptions=(*watchlist.subscriptions, event.subscription)))
    for sighting in event.subscription.sightings:
        change.tell_seen(event.subscription, sighting)
    change.tell_confirmed()
    return change.finished(moved=False)


def remove(watchlist: Watchlist, event: SubscriptionRemoved) -> Step[Watchlist]:
    left = tuple(one for one in watchlist.subscriptions if one.subscription_id != event.subscription_id)
    return Step(replace(watchlist, subscriptions=left))


def remember(watchlist: Watchlist, event: WatchlistRemembered) -> Step[Watchlist]:
    cursor = watchlist.cursor.lengthen(event.hashes)
    return Step(replace(watchlist, cursor=cursor, follow_count=watchlist.follow_count + 1))


def connect_blocks(watchlist: Watchlist, event: WatchedBlocksConnected) -> Step[Watchlist]:
    """Raises `BlockOutOfOrderError`."""
    change = _Change(watchlist)
    for block in event.blocks:
        change.connect(block)
    change.forget_buried()
    return change.finished()


def disconnect_blocks(watchlist: Watchlist, event: WatchedBlocksDisconnected) -> Step[Watchlist]:
    """Raises `BlockOutOfOrderError`, `ReorgTooDeepError`."""
    change = _Change(watchlist)
    for block_hash in event.hashes:
        change.disconnect(block_hash)
    return change.finished()


def see_transactions(watchlist: Watchlist, event: WatchedTransactionsSeen) -> Step[Watchlist]:
    change = _Change(watchlist)
    for found in event.found:
        change.sight(found, None)
    return change.finished()


class _Change:
    """A watchlist in the middle of one event."""

    def __init__(self, watchlist: Watchlist) -> None:
        self._watchlist = watchlist
        self._by_id = {one.subscription_id: one for one in watchlist.subscriptions}
        self._cursor = watchlist.cursor
        self._events: list[SystemEvent] = []

    def connect(self, block: WatchedBlock) -> None:
        self._cursor = self._cursor.connect(block.block)
        for found in block.found:
            self.sight(found, block.block)
        self.tell_confirmed()

    def sight(self, found: Found, block: BlockRef | None) -> None:
        subscription = self._by_id.get(found.subscription_id)
        if subscription is None:
            return
        known = {one.txid: one for one in subscription.sightings}
        sighting = known.get(found.txid)
        if sighting is None:
            if block is None and len(known) >= MAX_SIGHTINGS:
                return
            sighting = Sighting(found.txid, found.received_sat)
            self.tell_seen(subscription, sighting)
        if block is not None:
            sighting = replace(sighting, height=block.height, block_hash=block.hash)
        self._keep(subscription, known | {found.txid: sighting})

    def disconnect(self, block_hash: bytes) -> None:
        height = self._cursor.height
        self._cursor = self._cursor.disconnect(block_hash)
        for subscription in list(self._by_id.values()):
            gone = [one for one in subscription.sightings if one.height == height]
            self._events += [
                BitcoinTransactionReorged("", _text(one.txid), height, subscription.subscription_id)
                for one in gone
            ]
            back = {one.txid: Sighting(one.txid, one.received_sat) for one in gone}
            self._keep(subscription, {one.txid: one for one in subscription.sightings} | back)

    def tell_seen(self, subscription: Subscription, sighting: Sighting) -> None:
        self._events.append(
            BitcoinTransactionSeen(
                "", _text(sighting.txid), sighting.received_sat, subscription.subscription_id
            )
        )

    def tell_confirmed(self) -> None:
        """Publish what has become deep enough; in the order of subscriptions, then of sightings."""
        for subscription in list(self._by_id.values()):
            told = {}
            for one in subscription.sightings:
                deep = one.height is not None and self._confirmations(one) >= subscription.confirmations
                if deep and not one.confirmed_told:
                    self._tell_confirmed(subscription, one)
                    one = replace(one, confirmed_told=True)
                told[one.txid] = one
            self._keep(subscription, told)

    def _tell_confirmed(self, subscription: Subscription, sighting: Sighting) -> None:
        self._events.append(
            BitcoinTransactionConfirmed(
                "",
                _text(sighting.txid),
                sighting.height or 0,
                str(BlockHash(sighting.block_hash)),
                sighting.received_sat,
                0,
                subscription.subscription_id,
                self._confirmations(sighting),
            )
        )

    def _confirmations(self, sighting: Sighting) -> int:
        return 0 if sighting.height is None else self._cursor.height - sighting.height + 1

    def forget_buried(self) -> None:
        """Let go of what can never be reorganised: but a transaction asked for by name stays known."""
        oldest = self._cursor.oldest_height
        for subscription in list(self._by_id.values()):
            if subscription.subject is Subject.SCRIPT:
                kept = {
                    one.txid: one
                    for one in subscription.sightings
                    if one.height is None or one.height >= oldest or not one.confirmed_told
                }
                self._keep(subscription, kept)

    def _keep(self, subscription: Subscription, sightings: dict[bytes, Sighting]) -> None:
        kept = tuple(sightings.values())
        if kept != subscription.sightings:
            self._by_id[subscription.subscription_id] = replace(subscription, sightings=kept)

    def finished(self, *, moved: bool = True) -> Step[Watchlist]:
        watchlist = replace(
            self._watchlist,
            cursor=self._cursor,
            subscriptions=tuple(self._by_id.values()),
            follow_count=self._watchlist.follow_count + moved,
        )
        return Step(watchlist, events=tuple(self._events))


def _text(txid: bytes) -> str:
    return Txid(txid).hex_reversed()


def view_of(watchlist: Watchlist, subscription: Subscription) -> SubscriptionView:
    """A subscription as the outside sees it."""
    height = watchlist.cursor.height
    return SubscriptionView(
        subscription_id=subscription.subscription_id,
        subject=subscription.subject.value,
        value=_value_text(subscription),
        confirmations=subscription.confirmations,
        created_unix_ms=subscription.created_unix_ms,
        synced_height=height,
        sightings=tuple(
            SightingView(
                _text(one.txid),
                one.received_sat,
                one.height,
                0 if one.height is None else height - one.height + 1,
                one.confirmed_told,
            )
            for one in subscription.sightings
        ),
    )


def _value_text(subscription: Subscription) -> str:
    value = subscription.value
    match subscription.subject:
        case Subject.TRANSACTION:
            return _text(value)
        case Subject.OUTPOINT:
            return str(Outpoint(Txid(value[:32]), int.from_bytes(value[32:], "little")))
        case Subject.SCRIPT:
            return value.hex()

"""The use cases of subscriptions: who is told when a transaction comes, is deep enough, or goes."""

from __future__ import annotations

import hashlib

from anya_actors.domain.bitcoin.address import parse_address
from anya_actors.domain.bitcoin.chain_follower import ChainCursor
from anya_actors.domain.bitcoin.hashes import HashError, Txid
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.subscriptions import (
    MAX_CONFIRMATIONS,
    Sighting,
    Subject,
    Subscription,
    SubscriptionAdded,
    SubscriptionRemoved,
    Watchlist,
    WatchlistBegun,
    outpoint_bytes,
    view_of,
)
from anya_actors.domain.bitcoin.transaction import Outpoint
from anya_actors.domain.bitcoin.views import SubscriptionView
from anya_actors.domain.machine import InvalidInputError, UnavailableError
from anya_actors.ports.bitcoin_rpc import BitcoinRpc, TransactionNotFoundError
from anya_actors.ports.clock import Clock
from anya_actors.services.bitcoin.follower import Follower
from anya_actors.services.bitcoin.ledger import SUBSCRIPTIONS_KEY, Ledger
from anya_actors.services.durable import IdempotencyConflictError


class Subscriptions:
    """Made, listed and ended here; the follower tells of them."""

    def __init__(
        self, ledger: Ledger, rpc: BitcoinRpc, follower: Follower, clock: Clock, network: Network
    ) -> None:
        self._ledger = ledger
        self._rpc = rpc
        self._follower = follower
        self._clock = clock
        self._network = network

    async def subscribe(
        self, subject: str, value: str, confirmations: int, *, message_id: str
    ) -> SubscriptionView:
        """Wait for a ``transaction`` (txid), a payment to an ``address`` or ``script`` (hex), or the
        spending of an ``outpoint`` (``txid:index``); events carry the subscription's id.

        A transaction that waits or is confirmed already is told at once; scripts and outpoints are
        watched from the present tip on. ``confirmations``: 1 to 144, when "confirmed" is told.
        Raises `InvalidInputError`, `SubscriptionLimitError`.
        """
        about, value_bytes = _subject(subject, value, self._network)
        if isinstance(confirmations, bool) or not 1 <= confirmations <= MAX_CONFIRMATIONS:
            raise InvalidInputError("confirmations", f"it is not a number from 1 to {MAX_CONFIRMATIONS}")
        request = ("subscribe", subject, value, confirmations)
        engine, call = self._ledger.engine, f"call/{message_id}"
        async with self._ledger.locks(SUBSCRIPTIONS_KEY):
            answered = await engine.answered(SUBSCRIPTIONS_KEY, call, request)
            if isinstance(answered, SubscriptionView):
                return answered
            watchlist = await self._begun()
            subscription_id = hashlib.sha256(message_id.encode()).hexdigest()[:24]
            made = next(
                (one for one in watchlist.subscriptions if one.subscription_id == subscription_id), None
            )
            if made is not None:
                return _same_subscription(watchlist, made, (about, value_bytes, confirmations), message_id)
            subscription = Subscription(
                subscription_id,
                about,
                value_bytes,
                confirmations,
                self._clock.now_unix_ms(),
                await self._known(about, value_bytes, watchlist.cursor),
            )
            event = SubscriptionAdded(subscription)
            answer = await engine.handle(SUBSCRIPTIONS_KEY, event, message_id=call, request=request)
        self._follower.look_again()
        if not isinstance(answer, SubscriptionView):
            raise InvalidInputError("message_id", "it was used for another kind of call")
        return answer

    async def unsubscribe(self, subscription_id: str, *, message_id: str) -> None:
        """Stop telling. One that is not there (any more) is no error: nobody is told either way."""
        event = SubscriptionRemoved(subscription_id)
        if await self._ledger.watchlist() is not None:
            await self._ledger.engine.handle(SUBSCRIPTIONS_KEY, event, message_id=f"call/{message_id}")

    async def subscriptions(self) -> list[SubscriptionView]:
        """All of them, oldest first."""
        watchlist = await self._ledger.watchlist()
        if watchlist is None:
            return []
        return [view_of(watchlist, one) for one in watchlist.subscriptions]

    async def subscription(self, subscription_id: str) -> SubscriptionView:
        """One of them, with what was seen; raises `UnknownSubscriptionError`."""
        watchlist = await self._ledger.watchlist() or Watchlist(ChainCursor(0, (bytes(32),)))
        return view_of(watchlist, watchlist.find(subscription_id))

    async def _begun(self) -> Watchlist:
        watchlist = await self._ledger.watchlist()
        if watchlist is None:
            chain = await self._ledger.chain()
            if chain is None:
                raise UnavailableError("the Bitcoin node", "its chain has not been read yet")
            await self._ledger.engine.handle(
                SUBSCRIPTIONS_KEY, WatchlistBegun(chain.cursor), message_id="follow/subscriptions/begun"
            )
            watchlist = await self._ledger.watchlist()
        if watchlist is None:
            raise UnavailableError("the subscriptions", "they have just been begun")
        return watchlist

    async def _known(self, about: Subject, value: bytes, cursor: ChainCursor) -> tuple[Sighting, ...]:
        """What the node has of a transaction asked for by its txid, as of the cursor."""
        if about is not Subject.TRANSACTION:
            return ()
        try:
            found = await self._rpc.transaction(Txid(value))
        except TransactionNotFoundError:
            return ()
        if found.block_hash is None:
            return (Sighting(value),)
        home = await self._rpc.header(found.block_hash)
        ours = cursor.hash_at(home.height)
        if home.confirmations < 1 or home.height > cursor.height or ours not in (None, found.block_hash):
            return ()  # the follower will come to the block, or it has left the chain
        return (Sighting(value, height=home.height, block_hash=bytes(found.block_hash)),)


def _same_subscription(
    watchlist: Watchlist, made: Subscription, asked: tuple[Subject, bytes, int], message_id: str
) -> SubscriptionView:
    """Made so long ago that the engine has forgotten its answer; two of one id would be told twice."""
    if (made.subject, made.value, made.confirmations) != asked:
        raise IdempotencyConflictError(message_id)
    return view_of(watchlist, made)


def _subject(subject: str, value: str, network: Network) -> tuple[Subject, bytes]:
    match subject:
        case "transaction":
            return Subject.TRANSACTION, bytes(Txid.from_hex(value))
        case "address":
            return Subject.SCRIPT, parse_address(value, network)
        case "script":
            return Subject.SCRIPT, _script(value)
        case "outpoint":
            return Subject.OUTPOINT, outpoint_bytes(_outpoint(value))
    raise InvalidInputError("subject", "it is none of transaction, address, script, outpoint")


def _script(text: str) -> bytes:
    try:
        script = bytes.fromhex(text)
    except ValueError:
        raise InvalidInputError("value", "it is not hexadecimal") from None
    if not 1 <= len(script) <= 10_000:
        raise InvalidInputError("value", "a script has 1 to 10000 bytes")
    return script


def _outpoint(text: str) -> Outpoint:
    txid, _, index = text.partition(":")
    if not index.isascii() or not index.isdigit() or len(index) > 10 or int(index) > 0xFFFFFFFE:
        raise InvalidInputError("value", "an outpoint is written txid:index")
    try:
        return Outpoint(Txid.from_hex(txid), int(index))
    except HashError:
        raise InvalidInputError("value", "an outpoint is written txid:index") from None

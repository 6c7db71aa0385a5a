"""The whole machine of the ``bitcoin`` actor: which event may happen to which kind of state.

A key is ``chain``, ``subscriptions``, ``wallet/<name>`` or ``generation/<tag>``; nothing is there
until its first event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from anya_actors.domain.bitcoin import (
    generation,
    payment,
    silent_receiving,
    subscriptions,
    wallet,
    wallet_blocks,
    wallet_views,
)
from anya_actors.domain.bitcoin.chain_follower import (
    ChainConnected,
    ChainDisconnected,
    ChainFollowed,
    ChainRemembered,
    FollowedChain,
    connect_chain,
    disconnect_chain,
    remember_chain,
)
from anya_actors.domain.bitcoin.coin_reservation import CoinsReserved, ReservedPsbt, reserve
from anya_actors.domain.bitcoin.events import BitcoinSystemEvent
from anya_actors.domain.bitcoin.generation import Generation
from anya_actors.domain.bitcoin.payment import BroadcastPayment, SignPayment
from anya_actors.domain.bitcoin.subscriptions import Watchlist
from anya_actors.domain.bitcoin.views import (
    AddressView,
    GenerationView,
    PaymentView,
    SubscriptionView,
    WalletView,
)
from anya_actors.domain.bitcoin.wallet import Wallet
from anya_actors.domain.encoding import Schema
from anya_actors.domain.machine import Command, Event, IllegalTransitionError, Step, SystemEvent


class Nothing(msgspec.Struct, frozen=True, tag=True):
    """A key before its first event."""


BitcoinState = Nothing | FollowedChain | Wallet | Generation | Watchlist
BitcoinAnswer = (
    WalletView | AddressView | PaymentView | GenerationView | SubscriptionView | ReservedPsbt | None
)

STATE: Final[Schema[BitcoinState]] = Schema("bitcoin state", BitcoinState)
COMMAND: Final[Schema[Command]] = Schema("bitcoin command", SignPayment | BroadcastPayment)
EVENT: Final[Schema[SystemEvent]] = Schema("bitcoin event", BitcoinSystemEvent)
ANSWER: Final[Schema[BitcoinAnswer]] = Schema("bitcoin answer", BitcoinAnswer)


def _payment_event(state: Wallet, event: Any) -> Step[Wallet]:
    return wallet.advance_payment(state, event.payment_id, event)


Transition = Callable[[Any, Any], Step[Any]]

TRANSITIONS: Final[Mapping[tuple[type, type[Event]], Transition]] = {
    (Nothing, ChainFollowed): lambda _, event: Step(FollowedChain(event.cursor)),
    (FollowedChain, ChainConnected): connect_chain,
    (FollowedChain, ChainDisconnected): disconnect_chain,
    (FollowedChain, ChainRemembered): remember_chain,
    (Nothing, wallet.WalletCreated): lambda _, event: wallet.create(event),
    (Wallet, wallet.AddressAdded): wallet.add_address,
    (Wallet, wallet.LabelsSet): wallet.set_labels,
    (Wallet, CoinsReserved): reserve,
    (Wallet, silent_receiving.SilentReceivingBegun): silent_receiving.begin,
    (Wallet, wallet.WalletRescanned): wallet_blocks.rescan,
    (Wallet, wallet.PaymentRequested): wallet.request_payment,
    (Wallet, wallet.ReplacementRequested): wallet.request_replacement,
    (Wallet, payment.PaymentSigned): _payment_event,
    (Wallet, payment.PaymentSigningRefused): _payment_event,
    (Wallet, payment.PaymentBroadcast): _payment_event,
    (Wallet, payment.PaymentRefused): _payment_event,
    (Wallet, payment.PaymentVanished): _payment_event,
    (Wallet, wallet_blocks.BlocksConnected): wallet_blocks.connect_blocks,
    (Wallet, wallet_blocks.BlocksDisconnected): wallet_blocks.disconnect_blocks,
    (Wallet, wallet_blocks.TransactionsSeen): wallet_blocks.see_transactions,
    (Wallet, wallet_blocks.TransactionsVanished): wallet_blocks.lose_transactions,
    (Nothing, generation.GenerationBegun): lambda _, event: generation.begin(event),
    (Generation, generation.GenerationBegun): generation.begin_again,
    (Generation, generation.GenerationFinished): generation.finish,
    (Generation, generation.GenerationFailed): generation.fail,
    (Nothing, subscriptions.WatchlistBegun): lambda _, event: subscriptions.begin(event),
    (Watchlist, subscriptions.SubscriptionAdded): subscriptions.add,
    (Watchlist, subscriptions.SubscriptionRemoved): subscriptions.remove,
    (Watchlist, subscriptions.WatchedBlocksConnected): subscriptions.connect_blocks,
    (Watchlist, subscriptions.WatchedBlocksDisconnected): subscriptions.disconnect_blocks,
    (Watchlist, subscriptions.WatchedTransactionsSeen): subscriptions.see_transactions,
    (Watchlist, subscriptions.WatchlistRemembered): subscriptions.remember,
}


def initial(_: str) -> BitcoinState:
    return Nothing()


def step(state: BitcoinState, event: Event) -> Step[BitcoinState]:
    """Apply one event; raise and change nothing if the table or the rule refuses it."""
    transition = TRANSITIONS.get((type(state), type(event)))
    if transition is None:
        raise IllegalTransitionError(type(state).__name__, type(event).__name__)
    return transition(state, event)


def answer(state: BitcoinState, event: Event) -> BitcoinAnswer:
    """What the call that brought this event returns, and its repetitions again."""
    match state, event:
        case Wallet(), wallet.WalletCreated():
            return wallet_views.view_of(state)
        case Wallet(), wallet.AddressAdded():
            return wallet_views.address_view_of(state, event)
        case Wallet(), silent_receiving.SilentReceivingBegun():
            return silent_receiving.address_view(state)
        case Wallet(), CoinsReserved():
            return ReservedPsbt(event.psbt)
        case Wallet(), wallet.PaymentRequested():
            return payment.view_of(event.payment, state.cursor.height)
        case Watchlist(), subscriptions.SubscriptionAdded():
            added = state.find(event.subscription.subscription_id)
            return subscriptions.view_of(state, added)
        case Wallet(), wallet.ReplacementRequested():
            return payment.view_of(state.payment(event.payment_id), state.cursor.height)
        case Generation(), _:
            return generation.view_of(state)
        case _:
            return None

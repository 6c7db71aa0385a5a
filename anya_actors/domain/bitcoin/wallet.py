"""The rules of one wallet: its keys, its coins, its payments, and what may be spent.

One key of the HSM stands for one address (P2WPKH, BIP141); every address and every change output
has its own. A wallet is born at the tip of the chain, because no one can have paid a key before it
was made. What blocks do to it stands in ``wallet_blocks``; the life of a payment in ``payment``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec.structs import replace

from anya_actors.domain.bitcoin.address import p2wpkh_address
from anya_actors.domain.bitcoin.chain_follower import ChainCursor
from anya_actors.domain.bitcoin.coin import COINBASE_MATURITY
from anya_actors.domain.bitcoin.events import BitcoinPaymentRequested, BitcoinWalletCreated
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.payment import (
    RESERVING,
    Payment,
    PaymentInput,
    PaymentReplaced,
    Phase,
    SignPayment,
    Version,
)
from anya_actors.domain.bitcoin.payment_steps import step as step_payment
from anya_actors.domain.bitcoin.script import hash160, p2wpkh_script
from anya_actors.domain.bitcoin.transaction import Outpoint, parse_transaction
from anya_actors.domain.bitcoin.views import AddressView, BalanceView, WalletView
from anya_actors.domain.machine import AnyaError, Event, InvalidInputError, Step

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?", re.ASCII)


class UnknownWalletError(AnyaError):
    """No wallet of this name."""

    code = "unknown-wallet"
    message = "there is no wallet {}"
    remedy = "Create it first, or correct its name."

    def __init__(self, wallet: str) -> None:
        super().__init__(wallet)


class WalletExistsError(AnyaError):
    """A wallet of this name is there already."""

    code = "wallet-exists"
    message = "the wallet {} exists already"
    remedy = "Use it, or choose another name."

    def __init__(self, wallet: str) -> None:
        super().__init__(wallet)


class UnknownPaymentError(AnyaError):
    """No payment of this id."""

    code = "unknown-payment"
    message = "there is no payment {}"
    remedy = "Use the payment_id that send answered."

    def __init__(self, payment_id: str) -> None:
        super().__init__(payment_id)


class CoinNotSpendableError(AnyaError):
    """A payment names a coin that is not there, not mature, or reserved by another payment."""

    code = "coin-not-spendable"
    message = "the coin {} cannot be spent now"
    remedy = "Send the call again; it chooses among the coins that are left."

    def __init__(self, outpoint: str) -> None:
        super().__init__(outpoint)


class WalletKey(msgspec.Struct, frozen=True):
    """An HSM key (by name), its compressed public key, and whether it takes change."""

    name: str
    public_key: bytes
    change: bool = False

    @property
    def script_pubkey(self) -> bytes:
        return p2wpkh_script(hash160(self.public_key))


UNCONFIRMED: Final = -1
"""The height of a coin that no block holds yet."""


class WalletCoin(msgspec.Struct, frozen=True):
    """An output to one of the wallet's keys in a block. ``txid`` in wire order.

    ``spent_height`` and ``spent_by`` tell of the block and transaction that spent it.
    """

    txid: bytes
    index: int
    amount_sat: int
    script_pubkey: bytes
    height: int
    coinbase: bool
    spent_height: int | None = None
    spent_by: bytes = b""

    @property
    def outpoint(self) -> tuple[bytes, int]:
        return self.txid, self.index


class PendingTransaction(msgspec.Struct, frozen=True):
    """A transaction of the mempool that pays the wallet; ``txid`` in wire order."""

    txid: bytes
    received_sat: int


class Wallet(msgspec.Struct, frozen=True, tag=True):
    """One wallet. ``follow_count`` numbers the changes that the follower made."""

    name: str
    network: str
    created_unix_ms: int
    cursor: ChainCursor
    keys: tuple[WalletKey, ...]
    coins: tuple[WalletCoin, ...] = ()
    payments: tuple[Payment, ...] = ()
    pending: tuple[PendingTransaction, ...] = ()
    follow_count: int = 0

    def payment(self, payment_id: str) -> Payment:
        """The payment of this id; raises `UnknownPaymentError`."""
        for payment in self.payments:
            if payment.payment_id == payment_id:
                return payment
        raise UnknownPaymentError(payment_id)

    def reserved(self) -> set[tuple[bytes, int]]:
        """The outpoints promised to payments under way."""
        under_way = (payment.outpoints for payment in self.payments if payment.phase in RESERVING)
        return set().union(*under_way)

    def spendable(self) -> list[WalletCoin]:
        """Coins that a new payment may spend, in a fixed order."""
        reserved = self.reserved()
        free = [coin for coin in self.unspent() if coin.outpoint not in reserved]
        return sorted((coin for coin in free if self.is_mature(coin)), key=lambda coin: coin.outpoint)

    def spendable_change(self) -> list[WalletCoin]:
        """Own change in the mempool, of payments that a node has taken, in a fixed order."""
        reserved = self.reserved()
        found = (unconfirmed_change(self, payment) for payment in self.payments)
        free = [coin for coin in found if coin is not None and coin.outpoint not in reserved]
        return sorted(free, key=lambda coin: coin.outpoint)

    def unspent(self) -> Iterable[WalletCoin]:
        return (coin for coin in self.coins if coin.spent_height is None)

    def is_mature(self, coin: WalletCoin) -> bool:
        """Whether a new payment may spend the coin.

        As Core's wallet counts: one block later than consensus allows, so that a coinbase is
        spendable with 101 confirmations.
        """
        return not coin.coinbase or self.cursor.height + 1 - coin.height > COINBASE_MATURITY

    def key_of(self, script_pubkey: bytes) -> WalletKey | None:
        return next((key for key in self.keys if key.script_pubkey == script_pubkey), None)


class WalletCreated(Event, frozen=True):
    """A wallet with its first key begins to follow the chain at ``cursor``."""

    name: str
    network: str
    key: WalletKey
    cursor: ChainCursor
    created_unix_ms: int


class AddressAdded(Event, frozen=True):
    """The HSM made a key for a new receiving address."""

    key: WalletKey


class ChangeOutput(msgspec.Struct, frozen=True):
    """Where change goes that has never been used: a key of its own."""

    script_pubkey: bytes
    key: WalletKey | None = None


class PaymentRequested(Event, frozen=True):
    """A payment whose transaction has been built from spendable coins of this wallet."""

    payment: Payment
    change: ChangeOutput | None


class ReplacementRequested(Event, frozen=True):
    """A version of a payment has been built that is to replace the present one."""

    payment_id: str
    replacement: Version
    change: ChangeOutput | None


def check_wallet_name(name: str) -> str:
    """The name itself if a wallet may have it; raises `InvalidInputError`."""
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise InvalidInputError("wallet", "a name has 1 to 64 of a-z, 0-9, - and _, not - or _ at an end")
    return name


def create(event: WalletCreated) -> Step[Wallet]:
    wallet = Wallet(event.name, event.network, event.created_unix_ms, event.cursor, (event.key,))
    return Step(wallet, events=(BitcoinWalletCreated(event.name, address_of(wallet, event.key)),))


def add_address(wallet: Wallet, event: AddressAdded) -> Step[Wallet]:
    return Step(replace(wallet, keys=(*wallet.keys, event.key)))


def request_payment(wallet: Wallet, event: PaymentRequested) -> Step[Wallet]:
    """Reserve the coins and owe the signatures; raises `CoinNotSpendableError`."""
    payment = event.payment
    _verify_spendable(wallet, payment.inputs)
    promised = replace(_with_change(wallet, event.change), payments=(*wallet.payments, payment))
    command = SignPayment(payment.payment_id, payment.transaction, payment.inputs)
    published = BitcoinPaymentRequested(
        wallet.name, payment.payment_id, payment.txid_hex, payment.amount_sat, payment.fee_sat
    )
    return Step(promised, (command,), (published,))


def request_replacement(wallet: Wallet, event: ReplacementRequested) -> Step[Wallet]:
    """Replace a payment's version; raises `CoinNotSpendableError` and what `payment_steps` raises."""
    payment, version = wallet.payment(event.payment_id), event.replacement
    own = payment.version.outpoints
    _verify_spendable(wallet, [one for one in version.inputs if one.outpoint not in own])
    replaced = PaymentReplaced(event.payment_id, version)
    return advance_payment(_with_change(wallet, event.change), event.payment_id, replaced)


def _verify_spendable(wallet: Wallet, inputs: Iterable[PaymentInput]) -> None:
    spendable = {coin.outpoint for coin in (*wallet.spendable(), *wallet.spendable_change())}
    for spent in inputs:
        if spent.outpoint not in spendable:
            raise CoinNotSpendableError(str(Outpoint(Txid(spent.txid), spent.index)))


def _with_change(wallet: Wallet, change: ChangeOutput | None) -> Wallet:
    if change is None or change.key is None:
        return wallet
    return replace(wallet, keys=(*wallet.keys, change.key))


def advance_payment(wallet: Wallet, payment_id: str, event: Event) -> Step[Wallet]:
    """Let an event happen to one payment; raises what `payment.step` raises."""
    outcome = step_payment(wallet.payment(payment_id), event)
    payments = tuple(
        outcome.state if payment.payment_id == payment_id else payment for payment in wallet.payments
    )
    return Step(replace(wallet, payments=payments), outcome.commands, outcome.events)


def change_script_of(wallet: Wallet, payment: Payment) -> bytes:
    """The script that the payment's change goes to, empty where there is none."""
    if payment.change_script or not payment.change_sat:
        return payment.change_script
    # Stored before its script was: its key is the wallet's.
    outputs = parse_transaction(payment.transaction).outputs
    keys = {key.script_pubkey for key in wallet.keys if key.change}
    return next((one.script_pubkey for one in outputs if one.script_pubkey in keys), b"")


def unconfirmed_change(wallet: Wallet, payment: Payment) -> WalletCoin | None:
    """The change of a payment that waits in the mempool, as a coin of no block."""
    waits = payment.phase is Phase.BROADCAST and payment.refused_height < 0 and not payment.broadcast_owed
    if not waits or not payment.change_sat:
        return None
    script = change_script_of(wallet, payment)
    for index, output in enumerate(parse_transaction(payment.transaction).outputs):
        if output.script_pubkey == script:
            return WalletCoin(payment.txid, index, output.amount_sat, script, UNCONFIRMED, coinbase=False)
    return None


def payment_input(wallet: Wallet, coin: WalletCoin) -> PaymentInput:
    """The coin with the key that spends it; raises `CoinNotSpendableError` for a foreign coin."""
    key = wallet.key_of(coin.script_pubkey)
    if key is None:
        raise CoinNotSpendableError(str(Outpoint(Txid(coin.txid), coin.index)))
    return PaymentInput(coin.txid, coin.index, coin.amount_sat, key.name, key.public_key)


def address_of(wallet: Wallet, key: WalletKey) -> str:
    return p2wpkh_address(key.public_key, Network(wallet.network))


def view_of(wallet: Wallet) -> WalletView:
    """What callers see of the wallet."""
    return WalletView(
        name=wallet.name,
        network=wallet.network,
        address=address_of(wallet, wallet.keys[0]),
        created_unix_ms=wallet.created_unix_ms,
        synced_height=wallet.cursor.height,
        synced_hash=str(wallet.cursor.tip_hash),
    )


def address_view_of(wallet: Wallet, key: WalletKey) -> AddressView:
    return AddressView(wallet.name, address_of(wallet, key), key.name)


def balance_of(wallet: Wallet) -> BalanceView:
    """The wallet's money at its tip."""
    reserved = wallet.reserved()
    unspent = list(wallet.unspent())
    confirmed_sat = sum(coin.amount_sat for coin in unspent if wallet.is_mature(coin))
    immature_sat = sum(coin.amount_sat for coin in unspent if not wallet.is_mature(coin))
    promised = [coin for coin in unspent if coin.outpoint in reserved and wallet.is_mature(coin)]
    return BalanceView(
        wallet=wallet.name,
        confirmed_sat=confirmed_sat,
        reserved_sat=sum(coin.amount_sat for coin in promised),
        spendable_sat=sum(coin.amount_sat for coin in wallet.spendable()),
        spendable_change_sat=sum(coin.amount_sat for coin in wallet.spendable_change()),
        immature_sat=immature_sat,
        pending_sat=sum(pending.received_sat for pending in wallet.pending),
        height=wallet.cursor.height,
    )

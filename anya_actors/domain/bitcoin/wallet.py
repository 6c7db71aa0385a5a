"""The rules of one wallet: its keys, its coins, its payments, and what may be spent.

Addresses come from an account's descriptors (``account``), whose key the HSM holds; wallets made
before there were accounts have one key of the HSM for each address (P2WPKH, BIP141). A wallet with
a new key is born at the tip of the chain, because no one can have paid a key before it was made.
What blocks do to it stands in ``wallet_blocks``; the life of a payment in ``payment_steps``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec.structs import replace

from anya_actors.domain.bitcoin.account import CHANGE, Account
from anya_actors.domain.bitcoin.chain_follower import ChainCursor
from anya_actors.domain.bitcoin.coin import COINBASE_MATURITY
from anya_actors.domain.bitcoin.events import BitcoinPaymentRequested, BitcoinWalletCreated
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.labels import MAX_LABELS
from anya_actors.domain.bitcoin.orders import Label
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
from anya_actors.domain.bitcoin.silent_keys import SilentKeys
from anya_actors.domain.bitcoin.told_chain import ToldChain
from anya_actors.domain.bitcoin.transaction import Outpoint, parse_outpoint, parse_transaction
from anya_actors.domain.machine import AnyaError, Event, IllegalTransitionError, InvalidInputError, Step

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
    """An output to one of the wallet's scripts in a block. ``txid`` in wire order.

    ``branch`` and ``place`` say where its script stands in the account, -1 outside of it. ``tweak``
    (32 bytes) is what a silent payment adds to the spend key, empty for other coins.

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
    branch: int = -1
    place: int = -1
    tweak: bytes = b""

    @property
    def outpoint(self) -> tuple[bytes, int]:
        return self.txid, self.index

    @property
    def name(self) -> str:
        """``txid:index`` as people write it."""
        return str(Outpoint(Txid(self.txid), self.index))


class PendingTransaction(msgspec.Struct, frozen=True):
    """A transaction of the mempool that pays the wallet; ``txid`` in wire order."""

    txid: bytes
    received_sat: int


class Wallet(msgspec.Struct, frozen=True, tag=True):
    """One wallet. ``follow_count`` numbers the changes that the follower made.

    ``keys`` are those of wallets made before there were accounts, one key for each address. Up to
    the block ``told_height`` events have been published; a rescan repeats none of them. With
    ``silent`` keys it looks for silent payments too.
    """

    name: str
    network: str
    created_unix_ms: int
    cursor: ChainCursor
    keys: tuple[WalletKey, ...]
    coins: tuple[WalletCoin, ...] = ()
    payments: tuple[Payment, ...] = ()
    pending: tuple[PendingTransaction, ...] = ()
    follow_count: int = 0
    account: Account | None = None
    labels: tuple[Label, ...] = ()
    birth_height: int = -1
    told_height: int = -1
    silent: SilentKeys | None = None
    before_rescan: ToldChain | None = None

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

    def frozen(self) -> set[tuple[bytes, int]]:
        """The outpoints whose label says that they are not to be spent."""
        names = (one.ref for one in self.labels if one.kind == "output" and one.spendable is False)
        found = (parse_outpoint(name) for name in names)
        return {(bytes(one.txid), one.index) for one in found}

    def spendable(self) -> list[WalletCoin]:
        """Coins that a new payment may spend, in a fixed order."""
        kept = self.reserved() | self.frozen()
        free = [coin for coin in self.unspent() if coin.outpoint not in kept]
        return sorted((coin for coin in free if self.is_mature(coin)), key=lambda coin: coin.outpoint)

    def spendable_change(self) -> list[WalletCoin]:
        """Own change in the mempool, of payments that a node has taken, in a fixed order."""
        kept = self.reserved() | self.frozen()
        found = (unconfirmed_change(self, payment) for payment in self.payments)
        free = [coin for coin in found if coin is not None and coin.outpoint not in kept]
        return sorted(free, key=lambda coin: coin.outpoint)

    def unspent(self) -> Iterable[WalletCoin]:
        return (coin for coin in self.coins if coin.spent_height is None)

    def is_mature(self, coin: WalletCoin) -> bool:
        """Whether a new payment may spend the coin.

        As Core's wallet counts: one block later than consensus allows, so that a coinbase is
        spendable with 101 confirmations.
        """
        return not coin.coinbase or self.cursor.height + 1 - coin.height > COINBASE_MATURITY


class WalletCreated(Event, frozen=True):
    """A wallet begins to follow the chain at ``cursor``, the block before it was born."""

    name: str
    network: str
    cursor: ChainCursor
    created_unix_ms: int
    address: str
    key: WalletKey | None = None
    account: Account | None = None


class AddressAdded(Event, frozen=True):
    """The next receiving address is given out: the account's next, or that of a key made for it."""

    key: WalletKey | None = None
    place: int = -1
    branch: int = 0


class LabelsSet(Event, frozen=True):
    """The labels of these references are these now; one that says nothing is taken away."""

    labels: tuple[Label, ...]


class WalletRescanned(Event, frozen=True):
    """The wallet follows the chain again from ``cursor``; ``reorged``: its own blocks left the chain."""

    cursor: ChainCursor
    reorged: bool = False


class ChangeOutput(msgspec.Struct, frozen=True):
    """Where change goes that has never been used: a key of its own, or a place of the account."""

    script_pubkey: bytes
    key: WalletKey | None = None
    place: int = -1


class PaymentRequested(Event, frozen=True):
    """A payment whose transaction has been built from spendable coins of this wallet.

    ``incoming`` are coins of the mempool that others made: only a child that pays for its parent
    spends them.
    """

    payment: Payment
    change: ChangeOutput | None
    incoming: tuple[tuple[bytes, int], ...] = ()


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
    """A wallet at the block it was born on."""
    wallet = Wallet(
        event.name,
        event.network,
        event.created_unix_ms,
        event.cursor,
        () if event.key is None else (event.key,),
        account=event.account,
        birth_height=event.cursor.height,
    )
    return Step(wallet, events=(BitcoinWalletCreated(event.name, event.address),))


def add_address(wallet: Wallet, event: AddressAdded) -> Step[Wallet]:
    """Give out the next address; raises `IllegalTransitionError` if it is not the next."""
    if event.key is not None:
        return Step(replace(wallet, keys=(*wallet.keys, event.key)))
    if wallet.account is None or event.place != wallet.account.next_place(event.branch):
        raise IllegalTransitionError("another place", "AddressAdded")
    return Step(replace(wallet, account=wallet.account.reached(event.branch, event.place)))


def set_labels(wallet: Wallet, event: LabelsSet) -> Step[Wallet]:
    """Keep these labels instead of those of the same references; raises `InvalidInputError`.

    One that does not say whether its output is to be spent leaves that as it was: naming a frozen
    coin does not thaw it.
    """
    changed = {(one.kind, one.ref): one for one in wallet.labels}
    for one in event.labels:
        before = changed.get((one.kind, one.ref))
        if before is not None and one.spendable is None:
            one = replace(one, spendable=before.spendable)
        changed[one.kind, one.ref] = one
    kept = tuple(one for one in changed.values() if one.label or one.spendable is False)
    if len(kept) > MAX_LABELS:
        raise InvalidInputError("labels", f"a wallet keeps at most {MAX_LABELS}")
    return Step(replace(wallet, labels=kept))


def request_payment(wallet: Wallet, event: PaymentRequested) -> Step[Wallet]:
    """Reserve the coins and owe the signatures; raises `CoinNotSpendableError`."""
    payment = event.payment
    incoming = set(event.incoming) - wallet.reserved() - wallet.frozen()
    _verify_spendable(wallet, [one for one in payment.inputs if one.outpoint not in incoming])
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
    if change is not None and change.key is not None:
        return replace(wallet, keys=(*wallet.keys, change.key))
    if change is not None and wallet.account is not None:
        return replace(wallet, account=wallet.account.reached(CHANGE, change.place))
    return wallet


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
            return WalletCoin(
                payment.txid,
                index,
                output.amount_sat,
                script,
                UNCONFIRMED,
                coinbase=False,
                branch=-1 if wallet.account is None else CHANGE,
                place=payment.change_place,
            )
    return None

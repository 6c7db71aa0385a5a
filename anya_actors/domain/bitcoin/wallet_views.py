"""What callers see of a wallet."""

from __future__ import annotations

from anya_actors.domain.bitcoin.account import CHANGE, RECEIVE, address_at, branch_of
from anya_actors.domain.bitcoin.address import encode_address, p2wpkh_address
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.orders import Label
from anya_actors.domain.bitcoin.views import (
    AccountView,
    AddressView,
    BalanceView,
    CoinView,
    LabelView,
    WalletView,
)
from anya_actors.domain.bitcoin.wallet import AddressAdded, Wallet, WalletCoin, WalletKey
from anya_actors.domain.keys.key_origin import format_key_path


def view_of(wallet: Wallet) -> WalletView:
    """What callers see of the wallet."""
    account = wallet.account
    return WalletView(
        name=wallet.name,
        network=wallet.network,
        address=first_address(wallet),
        created_unix_ms=wallet.created_unix_ms,
        synced_height=wallet.cursor.height,
        synced_hash=str(wallet.cursor.tip_hash),
        account=None
        if account is None
        else AccountView(
            receive=account.receive,
            change=account.change,
            key=account.key,
            watch_only=not account.key,
            gap_limit=account.gap_limit,
            next_receive=account.next_receive,
            next_change=account.next_change,
        ),
    )


def first_address(wallet: Wallet) -> str:
    """The first receiving address."""
    if wallet.account is not None:
        return address_at(wallet.account, RECEIVE, 0, Network(wallet.network))
    return _address_of(wallet, wallet.keys[0])


def address_view_of(wallet: Wallet, event: AddressAdded) -> AddressView:
    """The address that was given out."""
    if event.key is not None:
        return AddressView(wallet.name, _address_of(wallet, event.key), event.key.name)
    return account_address_view(wallet, event.branch, event.place)


def account_address_view(wallet: Wallet, branch: int, place: int) -> AddressView:
    """The address at a place of the account."""
    account, network = wallet.account, Network(wallet.network)
    assert account is not None, "only accounts have places"  # noqa: S101
    derived = branch_of(account.descriptor(branch), network)
    own = [key for key in derived.plan(place).keys if key.origin.fingerprint == account.fingerprint]
    path = format_key_path(own[0].origin.path) if own and account.key else ""
    address = address_at(account, branch, place, network)
    return AddressView(wallet.name, address, account.key, place, bool(branch), path)


def _address_of(wallet: Wallet, key: WalletKey) -> str:
    return p2wpkh_address(key.public_key, Network(wallet.network))


def coins_of(wallet: Wallet) -> list[CoinView]:
    """Every coin that the wallet has, and own change in the mempool, with what can be done with it."""
    labels = {one.ref: one.label for one in wallet.labels if one.kind == "output"}
    reserved, frozen = wallet.reserved(), wallet.frozen()
    change = {key.script_pubkey for key in wallet.keys if key.change}

    def view(coin: WalletCoin) -> CoinView:
        in_a_block = coin.height >= 0
        return CoinView(
            outpoint=coin.name,
            txid=str(Txid(coin.txid)),
            index=coin.index,
            amount_sat=coin.amount_sat,
            address=encode_address(coin.script_pubkey, Network(wallet.network)),
            script_pubkey=coin.script_pubkey.hex(),
            height=coin.height if in_a_block else None,
            confirmations=max(0, wallet.cursor.height - coin.height + 1) if in_a_block else 0,
            coinbase=coin.coinbase,
            mature=wallet.is_mature(coin),
            reserved=coin.outpoint in reserved,
            frozen=coin.outpoint in frozen,
            change=coin.branch == CHANGE or coin.script_pubkey in change,
            label=labels.get(coin.name, ""),
        )

    return [view(coin) for coin in (*wallet.unspent(), *wallet.spendable_change())]


def label_view_of(label: Label) -> LabelView:
    """A label as BIP329 names its fields."""
    return LabelView(label.kind, label.ref, label.label, label.origin, label.spendable)


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

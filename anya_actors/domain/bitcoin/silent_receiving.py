"""Receiving silent payments (BIP352) in a wallet: when it begins, what to scan, what was found.

The products with the scan key are made by the key's holder; what is done with them here is public.
Labels are not looked for: the wallet gives out one address, and its own change goes to its account.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from anya_actors.domain.bitcoin.account import RECEIVE, branch_of
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.script import p2tr_script
from anya_actors.domain.bitcoin.silent_keys import SilentKeys
from anya_actors.domain.bitcoin.silent_payments import (
    SilentPaymentError,
    scan_outputs,
    taproot_keys,
    tweak_of_transaction,
)
from anya_actors.domain.bitcoin.transaction import Transaction, TxOutput
from anya_actors.domain.bitcoin.views import AddressView
from anya_actors.domain.bitcoin.wallet import Wallet
from anya_actors.domain.bitcoin.wallet_scripts import verify_signs_alone
from anya_actors.domain.keys.curve import Point
from anya_actors.domain.keys.key_origin import HARDENED, format_key_path
from anya_actors.domain.machine import Event, NotSupportedError, Step


class SilentReceivingBegun(Event, frozen=True):
    """The wallet gives out its silent payment address: from now on it looks for what that is paid."""

    keys: SilentKeys


def begin(wallet: Wallet, event: SilentReceivingBegun) -> Step[Wallet]:
    """Look for silent payments from now on; once begun the keys stay what they are."""
    return Step(wallet if wallet.silent is not None else replace(wallet, silent=event.keys))


def silent_account(wallet: Wallet) -> tuple[str, int]:
    """The HSM's key that receives for the wallet, and the number of its account.

    Raises `NotSupportedError` for wallets that could not spend what they receive.
    """
    if wallet.account is None:
        raise NotSupportedError("silent payments to a wallet without descriptors", "make a newer wallet")
    verify_signs_alone(wallet)
    plan = branch_of(wallet.account.descriptor(RECEIVE), Network(wallet.network)).plan(0)
    path = next(key.origin.path for key in plan.keys)
    number = path[2] if len(path) > 2 else 0
    return wallet.account.key, number - HARDENED if number >= HARDENED else 0


def address_view(wallet: Wallet) -> AddressView:
    """The wallet's silent payment address."""
    keys, account = wallet.silent, wallet.account
    assert keys is not None and account is not None, "it has begun to receive"  # noqa: S101, PT018
    address = keys.address(Network(wallet.network))
    return AddressView(wallet.name, address, account.key, path=format_key_path(keys.spend_path))


def may_pay_silently(transaction: Transaction) -> bool:
    """Whether what its inputs spent is worth asking for."""
    return not transaction.is_coinbase and bool(taproot_keys(transaction))


def tweak_to_scan(transaction: Transaction, spent: Sequence[TxOutput]) -> Point | None:
    """The point that every receiver scans the transaction with, None if it pays none of them."""
    if not may_pay_silently(transaction):
        return None
    try:
        return tweak_of_transaction(transaction, spent)
    except SilentPaymentError:
        return None


class SilentFinder:
    """Finds what transactions pay a wallet silently.

    ``shared`` holds, by txid in wire order, the scan key times each transaction's tweak.
    """

    def __init__(self, wallet: Wallet, shared: Mapping[bytes, bytes]) -> None:
        self._spend_key = None if wallet.silent is None else Point.parse(wallet.silent.spend_key)
        self._shared = shared

    def find(self, transaction: Transaction) -> dict[bytes, bytes]:
        """The tweak (32 bytes) of each output script that is the wallet's."""
        secret = self._shared.get(bytes(transaction.txid))
        if secret is None or self._spend_key is None:
            return {}
        found = scan_outputs(Point.parse(secret), self._spend_key, taproot_keys(transaction))
        return {p2tr_script(one.output_key): one.tweak.to_bytes(32, "big") for one in found}

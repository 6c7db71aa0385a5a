"""How a wallet's outputs look, where a script belongs in it, and what spending it weighs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from anya_actors.domain.bitcoin.account import CHANGE, RECEIVE, branch_of
from anya_actors.domain.bitcoin.coin_selection import P2WPKH_INPUT_WEIGHT
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.payment import PaymentInput
from anya_actors.domain.bitcoin.script import hash160, p2wpkh_script
from anya_actors.domain.bitcoin.wallet import CoinNotSpendableError, Wallet, WalletCoin
from anya_actors.domain.machine import NotSupportedError

NO_PLACE = (-1, -1)
_KEY_PATH_INPUT_WEIGHT = 4 * 41 + 1 + 1 + 64  # outpoint, empty script, sequence; one signature (BIP341)


@lru_cache(maxsize=65536)
def key_script(public_key: bytes) -> bytes:
    """The P2WPKH script of a key."""
    return p2wpkh_script(hash160(public_key))


class ScriptFinder:
    """Finds a wallet's scripts, looking further as they are found."""

    def __init__(self, wallet: Wallet) -> None:
        self._network = Network(wallet.network)
        self._account = wallet.account
        self._keys = {key_script(key.public_key) for key in wallet.keys}

    def find(self, script_pubkey: bytes) -> tuple[int, int] | None:
        """Branch and place of a script, `NO_PLACE` for a key of its own, None if it is not ours."""
        if script_pubkey in self._keys:
            return NO_PLACE
        if self._account is None:
            return None
        for branch in (RECEIVE, CHANGE):
            derived = branch_of(self._account.descriptor(branch), self._network)
            place = derived.find(script_pubkey, self._account.horizon(branch))
            if place is not None:
                self._account = self._account.reached(branch, place)
                return branch, place
        return None


def known_scripts(wallet: Wallet) -> Iterator[bytes]:
    """Every script that the wallet looks for now."""
    yield from (key_script(key.public_key) for key in wallet.keys)
    if wallet.account is not None:
        for branch in (RECEIVE, CHANGE):
            derived = branch_of(wallet.account.descriptor(branch), Network(wallet.network))
            yield from (derived.script(place) for place in range(wallet.account.horizon(branch)))


def change_form(wallet: Wallet) -> tuple[bytes, int]:
    """A script as large as the next change output's, and the weight of the input that spends it."""
    if wallet.account is None:
        return p2wpkh_script(bytes(20)), P2WPKH_INPUT_WEIGHT
    derived = branch_of(wallet.account.change, Network(wallet.network))
    return derived.script(0), derived.input_weight


def input_weight(wallet: Wallet, coin: WalletCoin) -> int:
    """The greatest weight of the input that spends the coin."""
    return _weight(wallet, coin)


def weight_of_input(wallet: Wallet, spent: PaymentInput) -> int:
    """The greatest weight of this input."""
    return _weight(wallet, spent)


def _weight(wallet: Wallet, one: WalletCoin | PaymentInput) -> int:
    if one.tweak:
        return _KEY_PATH_INPUT_WEIGHT
    if wallet.account is None or one.branch < 0:
        return P2WPKH_INPUT_WEIGHT
    return branch_of(wallet.account.descriptor(one.branch), Network(wallet.network)).input_weight


def payment_input(wallet: Wallet, coin: WalletCoin) -> PaymentInput:
    """The coin with the key that spends it; raises `CoinNotSpendableError` for a foreign coin."""
    if coin.tweak:
        return _silent_input(wallet, coin)
    if wallet.account is None or coin.branch < 0:
        for key in wallet.keys:
            if key_script(key.public_key) == coin.script_pubkey:
                return PaymentInput(coin.txid, coin.index, coin.amount_sat, key.name, key.public_key)
        raise CoinNotSpendableError(coin.name)
    plan = branch_of(wallet.account.descriptor(coin.branch), Network(wallet.network)).plan(coin.place)
    own = [key for key in plan.keys if key.origin.fingerprint == wallet.account.fingerprint]
    return PaymentInput(
        coin.txid,
        coin.index,
        coin.amount_sat,
        wallet.account.key,
        own[0].public_key if own else b"",
        coin.script_pubkey,
        coin.branch,
        coin.place,
        plan.redeem_script or b"",
    )


def _silent_input(wallet: Wallet, coin: WalletCoin) -> PaymentInput:
    if wallet.account is None or wallet.silent is None:
        raise CoinNotSpendableError(coin.name)
    return PaymentInput(
        coin.txid,
        coin.index,
        coin.amount_sat,
        wallet.account.key,
        wallet.silent.spend_key,
        coin.script_pubkey,
        tweak=coin.tweak,
    )


def verify_signs_alone(wallet: Wallet) -> None:
    """Raise `NotSupportedError` unless the platform's own keys make this wallet's payments by themselves."""
    account = wallet.account
    if account is None:
        return
    if not account.key:
        raise NotSupportedError("sending from a watch-only wallet", "sign a PSBT of it elsewhere")
    for branch in (RECEIVE, CHANGE):
        plan = branch_of(account.descriptor(branch), Network(wallet.network)).plan(0)
        if plan.witness_script is not None or len(plan.keys) != 1 or plan.keys[0].participants:
            raise NotSupportedError("sending from a wallet of several signers", "go through a PSBT")
        if plan.taproot is None and plan.script_pubkey[:1] == b"\x76":
            raise NotSupportedError(
                "sending from a P2PKH wallet",
                "its txid is not fixed before it is signed (BIP141): use a PSBT",
            )

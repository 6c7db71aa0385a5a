"""How a wallet's outputs look and what spending them weighs."""

from __future__ import annotations

from anya_actors.domain.bitcoin.coin_selection import P2WPKH_INPUT_WEIGHT
from anya_actors.domain.bitcoin.payment import PaymentInput
from anya_actors.domain.bitcoin.script import p2wpkh_script
from anya_actors.domain.bitcoin.wallet import Wallet, WalletCoin


def change_form(wallet: Wallet) -> tuple[bytes, int]:
    """A script as large as the next change output's, and the weight of the input that spends it."""
    return p2wpkh_script(bytes(20)), P2WPKH_INPUT_WEIGHT


def input_weight(wallet: Wallet, coin: WalletCoin) -> int:
    """The greatest weight of the input that spends the coin."""
    return P2WPKH_INPUT_WEIGHT


def weight_of_input(wallet: Wallet, spent: PaymentInput) -> int:
    """The greatest weight of this input."""
    return P2WPKH_INPUT_WEIGHT

"""Coins that a payment spends and that are no more: a reorganisation took the transaction that made them."""

from __future__ import annotations

from collections.abc import Collection

from anya_actors.domain.bitcoin.payment import RESERVING, Payment
from anya_actors.domain.bitcoin.wallet import Wallet

OutpointKey = tuple[bytes, int]


def lost_inputs(wallet: Wallet, payment: Payment) -> Collection[OutpointKey]:
    """Those of the payment's outpoints that neither a block nor the mempool has, as far as we know.

    Change of another payment is as lost as that payment's own coins.
    """
    here = {coin.outpoint for coin in wallet.coins}
    waiting = {one.txid for one in wallet.pending}
    makers = {txid: other for other in wallet.payments if other.phase in RESERVING for txid in other.txids}

    def is_lost(outpoint: OutpointKey) -> bool:
        if outpoint in here or outpoint[0] in waiting:
            return False
        maker = makers.get(outpoint[0])
        return maker is None or any(is_lost(spent.outpoint) for spent in maker.inputs)

    return [spent.outpoint for spent in payment.inputs if is_lost(spent.outpoint)]

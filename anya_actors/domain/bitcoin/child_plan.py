"""Child pays for parent: a transaction of the mempool is mined sooner for the fee of one that spends it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from anya_actors.domain.bitcoin.address import encode_address
from anya_actors.domain.bitcoin.coin_selection import Candidate, DustError, Target, dust_limit_sat
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.payment import Payment, Phase, Recipient
from anya_actors.domain.bitcoin.payment_order import check_feerate, verify_fee
from anya_actors.domain.bitcoin.payment_plan import bare_transaction, inputs_of
from anya_actors.domain.bitcoin.transaction import Transaction, TxOutput
from anya_actors.domain.bitcoin.wallet import UNCONFIRMED, ChangeOutput, Wallet, WalletCoin
from anya_actors.domain.bitcoin.wallet_scripts import (
    ScriptFinder,
    change_form,
    input_weight,
    verify_signs_alone,
)
from anya_actors.domain.machine import AnyaError


class NothingToSpendError(AnyaError):
    """A transaction that gives the wallet nothing with which to pay for it."""

    code = "nothing-to-spend"
    message = "the wallet {} can spend no output of {}"
    remedy = "Only a transaction in the mempool with a free output to the wallet can be paid for by a child."

    def __init__(self, wallet: str, txid: str) -> None:
        super().__init__(wallet, txid)


@dataclass(frozen=True, slots=True)
class ChildOrder:
    """What the child is to reach: a feerate over itself and the ancestors that it pays for."""

    payment_id: str
    feerate_sat_per_vb: int
    max_fee_sat: int | None
    ancestors_vsize: int
    ancestors_fee_sat: int
    final_confirmations: int
    requested_unix_ms: int


def own_outputs(wallet: Wallet, parent: Transaction) -> tuple[WalletCoin, ...]:
    """The outputs of a waiting transaction that the wallet may spend; raises `NothingToSpendError`."""
    finder, kept = ScriptFinder(wallet), wallet.reserved() | wallet.frozen()
    coins = []
    for index, output in enumerate(parent.outputs):
        found = finder.find(output.script_pubkey)
        if found is not None and (bytes(parent.txid), index) not in kept:
            coins.append(
                WalletCoin(
                    bytes(parent.txid),
                    index,
                    output.amount_sat,
                    output.script_pubkey,
                    UNCONFIRMED,
                    coinbase=False,
                    branch=found[0],
                    place=found[1],
                )
            )
    if not coins:
        raise NothingToSpendError(wallet.name, str(parent.txid))
    return tuple(coins)


def plan_child(wallet: Wallet, coins: Sequence[WalletCoin], to: ChangeOutput, order: ChildOrder) -> Payment:
    """A payment of these coins to the wallet itself, with the fee that its ancestors lack.

    Raises `DustError` if the coins are worth less, `FeeCapMissingError`, `AbsurdFeeError`,
    `NotSupportedError`, `InvalidInputError`.
    """
    verify_signs_alone(wallet)
    feerate = check_feerate(order.feerate_sat_per_vb)
    change_script, change_weight = change_form(wallet)
    target = Target((TxOutput(0, to.script_pubkey),), feerate, change_script, change_weight)
    inputs = [Candidate(coin.amount_sat, input_weight(wallet, coin)) for coin in coins]
    vsize = (target.weight(inputs, change=False) + 3) // 4
    lacking_sat = feerate * order.ancestors_vsize - order.ancestors_fee_sat
    fee_sat = feerate * vsize + max(0, lacking_sat)
    amount_sat = sum(coin.amount_sat for coin in coins) - fee_sat
    least_sat = dust_limit_sat(to.script_pubkey)
    if amount_sat < least_sat:
        raise DustError(max(0, amount_sat), least_sat)
    network = Network(wallet.network)
    verify_fee(network, fee_sat, order.max_fee_sat)
    spent = inputs_of(wallet, coins)
    transaction = bare_transaction(spent, [TxOutput(amount_sat, to.script_pubkey)])
    address = encode_address(to.script_pubkey, network) or to.script_pubkey.hex()
    return Payment(
        payment_id=order.payment_id,
        phase=Phase.REQUESTED,
        address=address,
        amount_sat=amount_sat,
        feerate_sat_per_vb=feerate,
        fee_sat=fee_sat,
        change_sat=0,
        inputs=spent,
        transaction=transaction.serialize(),
        txid=bytes(transaction.txid),
        final_confirmations=order.final_confirmations,
        requested_unix_ms=order.requested_unix_ms,
        recipients=(Recipient(address, amount_sat, to.script_pubkey),),
    )

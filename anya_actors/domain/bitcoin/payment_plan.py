"""From "pay this much to that address" to one transaction, with every refusal money deserves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from anya_actors.domain.bitcoin.address import parse_address
from anya_actors.domain.bitcoin.amount import check_amount_sat
from anya_actors.domain.bitcoin.coin_selection import Candidate, Selection, Target, select_coins
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.payment import Payment, PaymentInput, Phase
from anya_actors.domain.bitcoin.script import hash160, p2wpkh_script
from anya_actors.domain.bitcoin.sighash import p2wpkh_script_code, segwit_v0_sighash
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxInput, TxOutput
from anya_actors.domain.bitcoin.wallet import Wallet, WalletKey, payment_input
from anya_actors.domain.machine import AnyaError, InvalidInputError

DEFAULT_MAX_FEE_SAT: Final = 10_000_000
DEFAULT_MAX_FEERATE_SAT_PER_VB: Final = 10_000
"""Core's own limits: ``-maxtxfee`` 0.1 BTC, ``sendrawtransaction``'s maxfeerate 0.1 BTC/kvB."""

_SIGNATURE_PLACEHOLDER: Final = bytes(72)


class FeeCapMissingError(AnyaError):
    """Sending real money without having said how much the fee may be."""

    code = "fee-cap-missing"
    message = "payments on {} need an explicit fee cap"
    remedy = "Give max_fee_sat with the payment, or set bitcoin.max_fee_sat in anya.toml."

    def __init__(self, network: str) -> None:
        super().__init__(network)


class AbsurdFeeError(AnyaError):
    """A fee above the cap."""

    code = "absurd-fee"
    message = "the fee would be {} sat, more than the cap of {} sat"
    remedy = "Choose a lower feerate, or raise the cap if you mean it."

    def __init__(self, fee_sat: int, cap_sat: int) -> None:
        super().__init__(fee_sat, cap_sat)


class PaymentOrder(msgspec.Struct, frozen=True):
    """What a payer asks for; ``feerate_sat_per_vb`` is settled by now."""

    payment_id: str
    address: str
    amount_sat: int
    feerate_sat_per_vb: int
    max_fee_sat: int | None
    final_confirmations: int
    requested_unix_ms: int


@dataclass(frozen=True, slots=True)
class PaymentPlan:
    """A choice of coins that pays the order and keeps the fee cap."""

    order: PaymentOrder
    script_pubkey: bytes
    inputs: tuple[PaymentInput, ...]
    selection: Selection

    @property
    def needs_change(self) -> bool:
        return self.selection.change_sat > 0

    def payment(self, change_key: WalletKey | None) -> Payment:
        """The payment with its unsigned transaction, ordered as BIP69 says."""
        outputs = [TxOutput(self.order.amount_sat, self.script_pubkey)]
        if self.needs_change:
            if change_key is None:
                raise InvalidInputError("change_key", "this payment has change")
            outputs.append(TxOutput(self.selection.change_sat, change_key.script_pubkey))
        outputs.sort(key=lambda output: (output.amount_sat, output.script_pubkey))
        inputs = tuple(TxInput(Outpoint(Txid(one.txid), one.index)) for one in self.inputs)
        transaction = Transaction(2, inputs, tuple(outputs))
        return Payment(
            payment_id=self.order.payment_id,
            phase=Phase.REQUESTED,
            address=self.order.address,
            amount_sat=self.order.amount_sat,
            feerate_sat_per_vb=self.order.feerate_sat_per_vb,
            fee_sat=self.selection.fee_sat,
            change_sat=self.selection.change_sat,
            inputs=self.inputs,
            transaction=transaction.serialize(),
            txid=bytes(transaction.txid),
            final_confirmations=self.order.final_confirmations,
            requested_unix_ms=self.order.requested_unix_ms,
        )


def plan_payment(wallet: Wallet, order: PaymentOrder) -> PaymentPlan:
    """Choose coins for the order.

    Raises `AddressError`, `WrongNetworkError`, `AmountError`, `DustError`,
    `InsufficientFundsError`, `TransactionTooLargeError`, `FeeCapMissingError`, `AbsurdFeeError`,
    or `InvalidInputError` for a feerate that is none.
    """
    network = Network(wallet.network)
    script_pubkey = parse_address(order.address, network)
    check_amount_sat(order.amount_sat)
    check_feerate(order.feerate_sat_per_vb)
    cap_sat = _fee_cap_sat(network, order.max_fee_sat)
    coins = wallet.spendable()
    target = Target(
        (TxOutput(order.amount_sat, script_pubkey),), order.feerate_sat_per_vb, p2wpkh_script(bytes(20))
    )
    selection = select_coins(wallet.name, [Candidate(coin.amount_sat) for coin in coins], target)
    if selection.fee_sat > cap_sat:
        raise AbsurdFeeError(selection.fee_sat, cap_sat)
    chosen = sorted((coins[at] for at in selection.chosen), key=lambda coin: (coin.txid[::-1], coin.index))
    return PaymentPlan(order, script_pubkey, tuple(payment_input(wallet, coin) for coin in chosen), selection)


def check_feerate(feerate_sat_per_vb: int) -> int:
    """The feerate itself if it may be used; raises `InvalidInputError`."""
    if isinstance(feerate_sat_per_vb, bool) or not isinstance(feerate_sat_per_vb, int):
        raise InvalidInputError("feerate_sat_per_vb", "it is not a whole number")
    if not 1 <= feerate_sat_per_vb <= DEFAULT_MAX_FEERATE_SAT_PER_VB:
        raise InvalidInputError("feerate_sat_per_vb", f"it is not from 1 to {DEFAULT_MAX_FEERATE_SAT_PER_VB}")
    return feerate_sat_per_vb


def _fee_cap_sat(network: Network, max_fee_sat: int | None) -> int:
    if max_fee_sat is not None:
        return check_amount_sat(max_fee_sat)
    if network is Network.MAINNET:
        raise FeeCapMissingError(network.value)
    return DEFAULT_MAX_FEE_SAT


def signing_digests(transaction: Transaction, inputs: tuple[PaymentInput, ...]) -> tuple[bytes, ...]:
    """The 32 bytes that each input's key signs (BIP143, SIGHASH_ALL)."""
    return tuple(
        segwit_v0_sighash(transaction, index, p2wpkh_script_code(hash160(spent.public_key)), spent.amount_sat)
        for index, spent in enumerate(inputs)
    )


def with_witnesses(
    transaction: Transaction, inputs: tuple[PaymentInput, ...], signatures: tuple[bytes, ...]
) -> Transaction:
    """The transaction with each input's signature (with its type byte) and key (BIP141)."""
    signed = tuple(
        TxInput(bare.prevout, b"", bare.sequence, (signature, spent.public_key))
        for bare, spent, signature in zip(transaction.inputs, inputs, signatures, strict=True)
    )
    return Transaction(transaction.version, signed, transaction.outputs, transaction.lock_time)


def estimated_vsize(transaction: Transaction, inputs: tuple[PaymentInput, ...]) -> int:
    """Virtual bytes with signatures of the greatest length; the signed one is never larger."""
    placeholders = (_SIGNATURE_PLACEHOLDER,) * len(inputs)
    return with_witnesses(transaction, inputs, placeholders).vsize

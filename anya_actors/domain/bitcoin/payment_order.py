"""What a payer asks for, and the fees that are refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from anya_actors.domain.bitcoin.address import parse_address
from anya_actors.domain.bitcoin.amount import check_amount_sat
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.payment import Recipient
from anya_actors.domain.bitcoin.script import p2tr_script
from anya_actors.domain.bitcoin.silent_address import is_silent_address, parse_silent_address
from anya_actors.domain.machine import AnyaError, InvalidInputError

DEFAULT_MAX_FEE_SAT: Final = 10_000_000
DEFAULT_MAX_FEERATE_SAT_PER_VB: Final = 10_000
"""Core's own limits: ``-maxtxfee`` 0.1 BTC, ``sendrawtransaction``'s maxfeerate 0.1 BTC/kvB."""

MAX_RECIPIENTS: Final = 1000

PLACEHOLDER_SCRIPT: Final = p2tr_script(bytes(32))
"""Stands for a silent payment's output, and is as large, until the coins that pay it are chosen."""


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
    """What a payer asks for; ``feerate_sat_per_vb`` is settled by now.

    ``seed`` decides a random draw of coins. ``inputs`` are outpoints that must be spent, and with
    ``only_inputs`` no others. The receivers pay the fee with ``subtract_fee``; with ``send_all``
    they share everything.
    """

    payment_id: str
    recipients: tuple[Recipient, ...]
    feerate_sat_per_vb: int
    max_fee_sat: int | None
    final_confirmations: int
    requested_unix_ms: int
    seed: bytes | None = None
    inputs: tuple[tuple[bytes, int], ...] = ()
    only_inputs: bool = False
    subtract_fee: bool = False
    send_all: bool = False

    @property
    def amount_sat(self) -> int:
        return sum(one.amount_sat for one in self.recipients)


def recipients_from(
    asked: Sequence[tuple[str, int]], network: Network, *, send_all: bool = False
) -> tuple[Recipient, ...]:
    """Addresses and amounts, checked. With ``send_all`` amounts must be 0 and are filled in later.

    Raises `AddressError`, `WrongNetworkError`, `AmountError`, `InvalidInputError`.
    """
    if not 1 <= len(asked) <= MAX_RECIPIENTS:
        raise InvalidInputError("recipients", f"there are 1 to {MAX_RECIPIENTS} of them")
    if send_all and any(amount_sat != 0 for _, amount_sat in asked):
        raise InvalidInputError("amount_sat", "it is 0 where everything is sent")
    recipients = tuple(
        Recipient(address, 0 if send_all else check_amount_sat(amount_sat), _script_of(address, network))
        for address, amount_sat in asked
    )
    check_amount_sat(sum(one.amount_sat for one in recipients))
    return recipients


def _script_of(address: str, network: Network) -> bytes:
    if not is_silent_address(address):
        return parse_address(address, network)
    parse_silent_address(address, network)
    return PLACEHOLDER_SCRIPT


def check_feerate(feerate_sat_per_vb: int) -> int:
    """The feerate itself if it may be used; raises `InvalidInputError`."""
    if isinstance(feerate_sat_per_vb, bool) or not isinstance(feerate_sat_per_vb, int):
        raise InvalidInputError("feerate_sat_per_vb", "it is not a whole number")
    if not 1 <= feerate_sat_per_vb <= DEFAULT_MAX_FEERATE_SAT_PER_VB:
        raise InvalidInputError("feerate_sat_per_vb", f"it is not from 1 to {DEFAULT_MAX_FEERATE_SAT_PER_VB}")
    return feerate_sat_per_vb


def verify_fee(network: Network, fee_sat: int, max_fee_sat: int | None) -> None:
    """Raise `FeeCapMissingError` or `AbsurdFeeError` if this fee must not be paid."""
    if max_fee_sat is None and network is Network.MAINNET:
        raise FeeCapMissingError(network.value)
    cap_sat = DEFAULT_MAX_FEE_SAT if max_fee_sat is None else check_amount_sat(max_fee_sat)
    if fee_sat > cap_sat:
        raise AbsurdFeeError(fee_sat, cap_sat)

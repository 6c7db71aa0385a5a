"""Money: integer satoshis inside, Bitcoin Core's decimal bitcoins at the edge."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from anya_actors.domain.bitcoin.errors import AmountError

COIN_SAT: Final = 100_000_000
MAX_MONEY_SAT: Final = 21_000_000 * COIN_SAT
"""More than this can never exist (Bitcoin Core, ``consensus/amount.h``)."""

_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,15})(?:\.([0-9]{1,16}))?(?:[eE]([+-]?[0-9]{1,2}))?", re.ASCII)


def check_amount_sat(amount_sat: int) -> int:
    """The amount itself if it can exist; raises `AmountError`."""
    if isinstance(amount_sat, bool) or not isinstance(amount_sat, int):
        raise AmountError(repr(amount_sat), "it is not a whole number of satoshis")
    if not 0 <= amount_sat <= MAX_MONEY_SAT:
        raise AmountError(str(amount_sat), "it is out of range")
    return amount_sat


def parse_btc(text: str) -> int:
    """Satoshis of a decimal number of bitcoins, without ever passing through a float.

    Takes what Core's ``AmountFromValue`` takes: a non-negative JSON number, exponents included,
    whose value is a whole number of satoshis. Raises `AmountError`.
    """
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise AmountError(text[:40], "it is not a decimal number")
    amount = Decimal(text) * COIN_SAT
    if amount != amount.to_integral_value():
        raise AmountError(text[:40], "it has more than 8 digits after the point")
    return check_amount_sat(int(amount))


def format_btc(amount_sat: int) -> str:
    """Bitcoins with exactly 8 digits after the point, as Core writes them: ``0.00012345``."""
    sign = "-" if amount_sat < 0 else ""
    whole, fraction = divmod(abs(amount_sat), COIN_SAT)
    return f"{sign}{whole}.{fraction:08d}"

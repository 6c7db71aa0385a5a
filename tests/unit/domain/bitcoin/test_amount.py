"""Money in satoshis and in Core's decimals."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.bitcoin.amount import MAX_MONEY_SAT, check_amount_sat, format_btc, parse_btc
from anya_actors.domain.bitcoin.errors import AmountError


@pytest.mark.parametrize(
    ("text", "amount_sat"),
    [
        ("0", 0),
        ("0.00000001", 1),
        ("20999999.9769", 2_099_999_997_690_000),
        ("1e-8", 1),
        ("0.1e1", 100_000_000),
    ],
)
def test_a_decimal_becomes_exactly_its_satoshis(text: str, amount_sat: int) -> None:
    assert parse_btc(text) == amount_sat


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-1",
        "0.000000001",
        "1e-9",
        "21000000.00000001",
        "1e99",
        "NaN",
        "inf",
        "01",
        ".5",
        "1.",
        "١",
        "1,0",
        "+1",
    ],
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(AmountError):
        parse_btc(text)


@given(st.integers(0, MAX_MONEY_SAT))
def test_every_amount_comes_back_from_its_text(amount_sat: int) -> None:
    assert parse_btc(format_btc(amount_sat)) == amount_sat


@given(st.text(max_size=40))
def test_any_text_is_an_amount_or_refused(text: str) -> None:
    with contextlib.suppress(AmountError):
        assert 0 <= parse_btc(text) <= MAX_MONEY_SAT


def test_a_float_or_a_flag_is_no_amount() -> None:
    for value in (1.0, True, -1, MAX_MONEY_SAT + 1):
        with pytest.raises(AmountError):
            check_amount_sat(value)  # type: ignore[arg-type]


def test_eight_digits_are_always_written() -> None:
    assert format_btc(12_345) == "0.00012345"
    assert format_btc(-1) == "-0.00000001"
    assert format_btc(5_000_000_000) == "50.00000000"

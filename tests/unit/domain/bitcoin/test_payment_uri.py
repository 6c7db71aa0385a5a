"""``bitcoin:`` URIs as of BIP21 and BIP321."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.bitcoin.errors import AddressError, WrongNetworkError
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.payment_uri import PaymentUri, PaymentUriError, parse_payment_uri

MAINNET = Network.MAINNET
OLD = "1BoatSLRHtKNngkdXEeobR76b53LETtpyT"
SEGWIT = "bc1qztwy6xen3zdtt7z0vrgapmjtfz8acjkfp5fp7l"
REGTEST = "bcrt1qs758ursh4q9z627kt3pp5yysm78ddny6txaqgw"
SILENT = (
    "sp1qqgste7k9hx0qftg6qmwlkqtwuy6cycyavzmzj85c6qdfhjdpdjtdgqjuexzk6murw56suy3e0rd2cgqvycxttddwsvgxe2usfpxum"
    "r70xc9pkqwv"
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"bitcoin:{OLD}", PaymentUri((OLD,))),
        (f"bitcoin:{OLD}?label=Luke-Jr", PaymentUri((OLD,), label="Luke-Jr")),
        (
            f"bitcoin:{OLD}?amount=20.3&label=Luke-Jr",
            PaymentUri((OLD,), amount_sat=2_030_000_000, label="Luke-Jr"),
        ),
        (
            f"bitcoin:{OLD}?amount=50&label=Luke-Jr&message=Donation%20for%20project%20xyz",
            PaymentUri((OLD,), (), (), (), 5_000_000_000, "Luke-Jr", "Donation for project xyz"),
        ),
        (
            f"bitcoin:{OLD}?somethingyoudontunderstand=50&somethingelseyoudontget=999",
            PaymentUri(
                (OLD,), unknown=(("somethingyoudontunderstand", "50"), ("somethingelseyoudontget", "999"))
            ),
        ),
        (f"BITCOIN:{SEGWIT.upper()}?AMOUNT=1", PaymentUri((SEGWIT.upper(),), amount_sat=100_000_000)),
        (f"bitcoin:?bc={SEGWIT}&BC={SEGWIT.upper()}", PaymentUri((SEGWIT, SEGWIT.upper()))),
        (f"bitcoin:{OLD}?sp={SILENT}", PaymentUri((OLD,), (SILENT,))),
        (
            "bitcoin:?lno=lno1abc&lightning=lnbc1xyz&lno=lno1def",
            PaymentUri((), (), ("lno1abc", "lno1def"), ("lnbc1xyz",)),
        ),
        (f"bitcoin:{OLD}?&&label=a+b&", PaymentUri((OLD,), label="a+b")),
        (f"bitcoin:?bc={SEGWIT}&tb=tb1whatever", PaymentUri((SEGWIT,))),
        (f"bitcoin:{OLD}?label=%E2%82%BF%26", PaymentUri((OLD,), label="₿&")),
    ],
)
def test_what_is_asked_for_is_read(text: str, expected: PaymentUri) -> None:
    assert parse_payment_uri(text, MAINNET) == expected


@pytest.mark.parametrize(
    ("text", "amount_sat"),
    [
        ("0", 0),
        ("50.00", 5_000_000_000),
        ("1.", 100_000_000),
        (".5", 50_000_000),
        ("0.00000001", 1),
        ("0.000000010000", 1),
        ("21000000", 2_100_000_000_000_000),
    ],
)
def test_amounts_are_exact(text: str, amount_sat: int) -> None:
    assert parse_payment_uri(f"bitcoin:{OLD}?amount={text}", MAINNET).amount_sat == amount_sat


@pytest.mark.parametrize(
    "query",
    [
        "amount=50,000.00",
        "amount=1e5",
        "amount=-1",
        "amount=",
        "amount=.",
        "amount=0.000000001",
        "amount=21000000.00000001",
        "amount=99999999999999999999",
        "amount=1&amount=1",
        "label=a&LABEL=b",
        "req-somethingyoudontunderstand=50",
        "req-pop=x%3a",
        "label=%ZZ",
        "label=%FF",
        "label=%",
        "label=a b",
        "label=é",
        "label=a#b",
        "lno=",
    ],
)
def test_what_is_not_understood_whole_is_refused(query: str) -> None:
    with pytest.raises(PaymentUriError):
        parse_payment_uri(f"bitcoin:{OLD}?{query}", MAINNET)


@pytest.mark.parametrize(
    "text",
    ["", "bitcoin", "bitcoin:", "bitcoin:?label=a", f"litecoin:{OLD}", f"bitcoin:{OLD}?x={'a' * 20_000}"],
)
def test_what_asks_for_nothing_is_refused(text: str) -> None:
    with pytest.raises(PaymentUriError):
        parse_payment_uri(text, MAINNET)


def test_addresses_are_of_the_network_and_the_kind_their_key_names() -> None:
    with pytest.raises(WrongNetworkError):
        parse_payment_uri(f"bitcoin:{OLD}", Network.REGTEST)
    with pytest.raises(AddressError):
        parse_payment_uri(f"bitcoin:?bc={OLD}", MAINNET)
    with pytest.raises(AddressError):
        parse_payment_uri(f"bitcoin:?bc={SEGWIT[:-1]}", MAINNET)
    with pytest.raises(WrongNetworkError):
        parse_payment_uri(f"bitcoin:?sp={SILENT}", Network.REGTEST)
    assert parse_payment_uri(f"bitcoin:?bcrt={REGTEST}&bc={SEGWIT}", Network.REGTEST).addresses == (REGTEST,)


@given(st.text(max_size=100), st.text(max_size=100))
def test_any_text_is_a_uri_or_refused(path: str, query: str) -> None:
    try:
        uri = parse_payment_uri(f"bitcoin:{path}?{query}", MAINNET)
    except (PaymentUriError, AddressError):
        return
    assert uri.addresses or uri.offers or uri.invoices or uri.silent_addresses or "pay" in query.lower()

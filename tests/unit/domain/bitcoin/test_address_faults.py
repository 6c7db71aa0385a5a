"""Faults of addresses, in Core's words; the examples are those of its rpc_invalid_address_message.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.bitcoin.address import parse_address
from anya_actors.domain.bitcoin.address_faults import explain_address
from anya_actors.domain.bitcoin.errors import AddressError
from anya_actors.domain.bitcoin.network import Network

VALID = "bcrt1qtmp74ayg7p24uslctssvjm06q5phz4yrxucgnv"


NO_ENCODING = "Invalid or unsupported Segwit (Bech32) or Base58 encoding."
BAD_BASE58 = "Invalid checksum or length of Base58 address (P2PKH or P2SH)"
BAD_CHECKSUM = "Invalid Bech32 checksum"
TOO_LONG = (
    "bcrt1q049edschfnwystcqnsvyfpj23mpsg3jcedq9xv049edschfnwystcqnsvyfpj23mpsg3jcedq9xv"
    "049edschfnwystcqnsvyfpj23m"
)


@pytest.mark.parametrize(
    ("address", "text", "locations"),
    [
        (
            "bcrt1s0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v8n0nx0muaewav25430mtr",
            "Invalid Bech32 address program size (41 bytes)",
            (),
        ),
        ("bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7k7grplx", NO_ENCODING, ()),
        (
            "bcrt1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqdmchcc",
            "Version 1+ witness address must use Bech32m checksum",
            (),
        ),
        (
            "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7k35mrzd",
            "Version 0 witness address must use Bech32 checksum",
            (),
        ),
        (
            "bcrt130xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqynjegk",
            "Invalid Bech32 address witness version",
            (),
        ),
        (
            "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kqqq5k3my",
            "Invalid Bech32 v0 address program size (21 bytes), per BIP141",
            (),
        ),
        (TOO_LONG, "Bech32 string too long", tuple(range(90, 108))),
        ("bcrt1q049edschfnwystcqnsvyfpj23mpsg3jcedq9xv", BAD_CHECKSUM, (9,)),
        ("bcrt1qax9suht3qv95sw33xavx8crpxduefdrsvgsklu", BAD_CHECKSUM, (22, 43)),
        ("BCRT1QPLMTZKC2XHARPPZDLNPAQL78RSHJ68U32RAH7R", BAD_CHECKSUM, (38,)),
        ("bcrtq049ldschfnwystcqnsvyfpj23mpsg3jcedq9xv", "Missing separator", ()),
        ("bcrt1q04oldschfnwystcqnsvyfpj23mpsg3jcedq9xv", "Invalid Base 32 character", (8,)),
        ("bcrt1qdg3myrgvzw7ml8q0ejxhlkyxn7vl9r56yzkfgvzclrf4hkpx9yfqhpsuks", BAD_CHECKSUM, (19, 30)),
        ("bcrt1ptmp74ayg7p24uslctssvjm06q5phz4yrxucgnv", BAD_CHECKSUM, (5,)),
        ("bcrt1qtmp74ayg7p24uslctssvjm06q5phz4yrxucgnV", "Invalid character or mixed case", (43,)),
        ("bcrt1q", "Invalid separator position", (4,)),
        ("17VZNX1SN5NtKa8UQFxwQbFeFc3iqRYhem", "Invalid or unsupported Base58-encoded address.", ()),
        ("mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJJfn", BAD_BASE58, ()),
        ("2VKf7XKMrp4bVNVmuRbyCewkP8FhGLP2E54LHDPakr9Sq5mtU2", BAD_BASE58, ()),
        ("asfah14i8fajz0123f", NO_ENCODING, ()),
        ("1q049ldschfnwystcqnsvyfpj23mpsg3jcedq9xv", NO_ENCODING, ()),
        ("", NO_ENCODING, ()),
    ],
)
def test_each_fault_has_cores_words(address: str, text: str, locations: tuple[int, ...]) -> None:
    fault = explain_address(address, Network.REGTEST)
    assert (fault.text, fault.locations) == (text, locations)


@given(st.integers(5, len(VALID) - 1), st.integers(5, len(VALID) - 1), st.sampled_from("qpzry9x8"))
def test_up_to_two_wrong_characters_are_found(first: int, second: int, letter: str) -> None:
    spoiled = list(VALID)
    spoiled[first] = spoiled[second] = letter
    changed = tuple(sorted({at for at in (first, second) if spoiled[at] != VALID[at]}))
    if changed:
        fault = explain_address("".join(spoiled), Network.REGTEST)
        assert (fault.text, fault.locations) == ("Invalid Bech32 checksum", changed)


@given(st.text(max_size=100) | st.text("bcrt1qpzy9x8gf2", max_size=100).map(lambda rest: "bcrt1" + rest))
def test_whatever_is_refused_is_explained(text: str) -> None:
    try:
        parse_address(text, Network.REGTEST)
    except AddressError:
        assert explain_address(text, Network.REGTEST).text

"""Compact block filters; the official vectors are walked beside the other standards'."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.bitcoin.block_filters import (
    M,
    MalformedFilterError,
    basic_filter,
    decode_set,
    encode_set,
    filter_header,
    matches_any,
)
from anya_actors.domain.bitcoin.genesis import REGTEST_GENESIS

KEY = bytes(range(16))
ELEMENTS = st.sets(st.binary(min_size=1, max_size=40), max_size=40)


def test_no_element_makes_one_byte() -> None:
    assert encode_set([], KEY) == b"\x00"
    assert decode_set(b"\x00") == []
    assert not matches_any(b"\x00", KEY, [b"x"])


def test_a_filter_header_commits_to_the_one_before() -> None:
    # The first row of BIP158's testnet-19.json: testnet's genesis block, filter 019dfca8.
    assert (
        filter_header(bytes.fromhex("019dfca8"), bytes(32))[::-1].hex()
        == "21584579b7eb08997773e5aeff3a7f932700042d0ed2a6129012b7d7ae81b750"
    )


def test_the_genesis_blocks_filter_holds_its_one_script() -> None:
    encoded = basic_filter(REGTEST_GENESIS, ())
    (script,) = {output.script_pubkey for output in REGTEST_GENESIS.transactions[0].outputs}
    assert encoded[0] == 1
    assert matches_any(encoded, REGTEST_GENESIS.hash[:16], [script])


@given(ELEMENTS)
def test_every_element_of_a_set_is_found(elements: set[bytes]) -> None:
    encoded = encode_set(elements, KEY)
    numbers = decode_set(encoded)
    assert len(numbers) == len(elements)
    assert numbers == sorted(numbers)
    assert all(number < len(elements) * M for number in numbers)
    assert all(matches_any(encoded, KEY, [element]) for element in elements)


@given(st.binary(max_size=200))
def test_other_bytes_are_refused_by_our_own_error_or_are_a_set(data: bytes) -> None:
    try:
        numbers = decode_set(data)
    except MalformedFilterError:
        return
    assert numbers == sorted(numbers)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda data: data[:-1], "too early"),
        (lambda data: data + b"\x00", "excess data"),
        (lambda data: data[:-1] + bytes([data[-1] | 1]), "padding"),
        (lambda _: b"", "too early"),
        (lambda _: b"\xfd\x01", "too early"),
        (lambda _: b"\x01\xff\xff\xff\xff", "too early"),
    ],
)
def test_a_damaged_set_is_refused(damage: object, why: str) -> None:
    encoded = encode_set([b"a", b"b", b"c"], KEY)
    assert callable(damage)
    with pytest.raises(MalformedFilterError, match=why):
        decode_set(damage(encoded))

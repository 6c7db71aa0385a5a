"""Addresses and the scripts they stand for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.bitcoin.address import encode_address, p2tr_address, p2wpkh_address, parse_address
from anya_actors.domain.bitcoin.errors import AddressError, WrongNetworkError
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.script import (
    ScriptEndsError,
    ScriptType,
    classify,
    disassemble,
    operations,
    push_number,
    witness_script,
)

CHAINS = {
    "main": Network.MAINNET,
    "test": Network.TESTNET,
    "testnet4": Network.TESTNET4,
    "signet": Network.SIGNET,
    "regtest": Network.REGTEST,
}


def _any_network(address: str) -> bytes:
    found = {}
    for network in Network:
        try:
            found[network] = parse_address(address, network)
        except WrongNetworkError:
            continue
    (script,) = set(found.values())
    return script


@pytest.mark.parametrize("name", ["bip173_bech32.json", "bip350_bech32m.json"])
def test_bech32_vectors(vectors: Callable[[str], Any], name: str) -> None:
    rows = vectors(name)
    superseded = name.startswith("bip173")
    for row in rows["valid_address"]:
        if superseded and not row["scriptPubKey"].startswith("00"):
            continue
        script = _any_network(row["address"])
        assert script.hex() == row["scriptPubKey"]
    for row in rows["invalid_address"]:
        for network in Network:
            with pytest.raises(AddressError):
                parse_address(row["address"], network)


def test_core_addresses_are_read_and_written(vectors: Callable[[str], Any]) -> None:
    rows = [row for row in vectors("core_key_io_valid.json") if not row[2]["isPrivkey"]]
    assert rows
    for address, script, facts in rows:
        network = CHAINS[facts["chain"]]
        assert parse_address(address, network).hex() == script
        assert encode_address(bytes.fromhex(script), network) == address
        if facts.get("tryCaseFlip"):
            assert parse_address(address.swapcase(), network).hex() == script


def test_what_core_refuses_as_an_address_is_refused(vectors: Callable[[str], Any]) -> None:
    for (text,) in vectors("core_key_io_invalid.json"):
        for network in Network:
            with pytest.raises(AddressError):
                parse_address(text, network)


def test_core_names_and_words_of_scripts(vectors: Callable[[str], Any]) -> None:
    for script, facts in vectors("core_rpc_decodescript.json"):
        assert classify(bytes.fromhex(script)).value == facts["type"]
        assert disassemble(bytes.fromhex(script)) == facts["asm"]
        assert encode_address(bytes.fromhex(script), Network.REGTEST) == facts.get("address")


def test_an_address_of_another_network_is_refused_by_name() -> None:
    # BIP173, examples.
    with pytest.raises(WrongNetworkError, match="is of mainnet, not regtest"):
        parse_address("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", Network.REGTEST)
    with pytest.raises(WrongNetworkError, match="is of mainnet, not regtest"):
        parse_address("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", Network.REGTEST)


@pytest.mark.parametrize(
    "text", ["", " ", "bcrt1", "1", "bcrt1qqqqq", "bc1" * 40, "２", "\x00", "bcrt1qw508 d6q"]
)
def test_text_that_is_no_address_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(AddressError):
        parse_address(text, Network.REGTEST)


def test_an_address_with_blanks_around_it_is_refused() -> None:
    with pytest.raises(AddressError):
        parse_address("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080 ", Network.REGTEST)


@given(st.text(max_size=100))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    with contextlib.suppress(AddressError):
        parse_address(text, Network.REGTEST)


@given(st.sampled_from(Network), st.integers(1, 16), st.binary(min_size=2, max_size=40))
def test_every_witness_program_has_an_address_that_reads_back(
    network: Network, version: int, program: bytes
) -> None:
    script = witness_script(version, program)
    address = encode_address(script, network)
    assert address is not None
    assert parse_address(address, network) == script


@given(st.binary(max_size=80))
def test_any_script_can_be_classified_and_read(script: bytes) -> None:
    assert isinstance(classify(script), ScriptType)
    disassemble(script)
    try:
        operations(script)
    except ScriptEndsError:
        assert disassemble(script).endswith("[error]")


def test_keys_become_addresses() -> None:
    # BIP173's example key; BIP86's first receiving key.
    key = bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
    assert p2wpkh_address(key, Network.MAINNET) == "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
    output_key = bytes.fromhex("a60869f0dbcf1dc659c9cecbaf8050135ea9e8cdc487053f1dc6880949dc684c")
    expected = "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr"
    assert p2tr_address(output_key, Network.MAINNET) == expected
    for bad in (b"", key[1:], b"\x04" + key[1:]):
        with pytest.raises(AddressError):
            p2wpkh_address(bad, Network.MAINNET)


@pytest.mark.parametrize(
    ("height", "script"), [(0, "00"), (1, "51"), (16, "60"), (17, "0111"), (128, "028000"), (256, "020001")]
)
def test_heights_are_pushed_as_bip34_wants(height: int, script: str) -> None:
    assert push_number(height).hex() == script

"""Silent payments sent and found as in the vectors of BIP352, with private keys on the tests' side only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from btclib import bech32
from btclib.b32 import power_of_2_base_conversion
from coincurve import PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from anya_actors.domain.bitcoin.errors import AddressError, WrongNetworkError
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.script import p2tr_script, p2wpkh_script
from anya_actors.domain.bitcoin.silent_address import SilentAddress, is_silent_address, parse_silent_address
from anya_actors.domain.bitcoin.silent_payment_keys import make_label, spending_key
from anya_actors.domain.bitcoin.silent_payments import (
    K_MAX,
    FoundOutput,
    Label,
    SilentPaymentError,
    derive_outputs,
    input_key,
    scan_outputs,
    share_of_input,
    taproot_keys,
    tweak_of,
    tweak_of_transaction,
)
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxInput, TxOutput
from anya_actors.domain.bitcoin.wire import Reader
from anya_actors.domain.keys.curve import ORDER, Point, schnorr_holds, shared_point
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import InvalidInputError

Vectors = Callable[[str], Any]

# From bip-0352/send_and_receive_test_vectors.json, "Simple send: two inputs".
ADDRESS = (
    "sp1qqgste7k9hx0qftg6qmwlkqtwuy6cycyavzmzj85c6qdfhjdpdjtdgqjuexzk6murw56suy3e0rd2cgqvycxttddwsvgxe2usfpxum"
    "r70xc9pkqwv"
)
SCAN_KEY = "0220bcfac5b99e04ad1a06ddfb016ee13582609d60b6291e98d01a9bc9a16c96d4"
SPEND_KEY = "025cc9856d6f8375350e123978daac200c260cb5b5ae83106cab90484dcd8fcf36"


def secret(text: str) -> Secret:
    return Secret(bytes.fromhex(text))


def inputs_of(given: dict[str, Any]) -> tuple[list[TxInput], list[TxOutput]]:
    inputs, spent = [], []
    for vin in given["vin"]:
        witness: tuple[bytes, ...] = ()
        if vin["txinwitness"]:
            reader = Reader(bytes.fromhex(vin["txinwitness"]))
            witness = tuple(reader.prefixed() for _ in range(reader.compact_size()))
        prevout = Outpoint(Txid.from_hex(vin["txid"]), vin["vout"])
        inputs.append(TxInput(prevout, bytes.fromhex(vin["scriptSig"]), witness=witness))
        spent.append(TxOutput(0, bytes.fromhex(vin["prevout"]["scriptPubKey"]["hex"])))
    return inputs, spent


def send(given: dict[str, Any]) -> tuple[list[bytes], list[Point]]:
    """Outputs and input keys; the private keys stand in the vector."""
    inputs, spent = inputs_of(given)
    receivers = [
        parse_silent_address(receiver["address"], Network.MAINNET)
        for receiver in given["recipients"]
        for _ in range(receiver.get("count", 1))
    ]
    keys: list[Point] = []
    shares: dict[bytes, list[Point]] = {receiver.scan_key.serialize(): [] for receiver in receivers}
    for vin, coin, tx_input in zip(given["vin"], spent, inputs, strict=True):
        key = input_key(coin, tx_input)
        if key is None:
            continue
        keys.append(key)
        private = secret(vin["private_key"])
        whole = Point.of_secret(private) if coin.script_pubkey[0] == 0x51 else None
        for scan_key, parts in shares.items():
            parts.append(share_of_input(shared_point(Point.parse(scan_key), private), whole))
    return derive_outputs([tx_input.prevout for tx_input in inputs], keys, shares, receivers), keys


def test_outputs_are_derived_as_the_bip_does(vectors: Vectors) -> None:
    for case in vectors("bip352_send_receive.json"):
        for sending in case["sending"]:
            expected = sending["expected"]
            if expected["outputs"] == [[]]:
                with pytest.raises(SilentPaymentError):
                    send(sending["given"])
                continue
            outputs, keys = send(sending["given"])
            assert sorted(key.hex() for key in outputs) in [sorted(one) for one in expected["outputs"]]
            assert [key.serialize().hex() for key in keys] == expected["input_pub_keys"], case["comment"]


def test_outputs_are_found_as_the_bip_does(vectors: Vectors) -> None:
    for case in vectors("bip352_send_receive.json"):
        for receiving in case["receiving"]:
            find(receiving["given"], receiving["expected"])


def find(given: dict[str, Any], expected: dict[str, Any]) -> None:
    inputs, spent = inputs_of(given)
    scan_key = secret(given["key_material"]["scan_priv_key"])
    spend_key = secret(given["key_material"]["spend_priv_key"])
    plain = SilentAddress(Point.of_secret(scan_key), Point.of_secret(spend_key))
    labels = [make_label(scan_key, number) for number in given["labels"]]
    addresses = [plain, *(label.address(plain) for label in labels)]
    assert {address.encode(Network.MAINNET) for address in addresses} == set(expected["addresses"])
    outputs = tuple(TxOutput(0, p2tr_script(bytes.fromhex(key))) for key in given["outputs"])
    tweak = tweak_of_transaction(Transaction(2, tuple(inputs), outputs), spent)
    assert (None if tweak is None else tweak.serialize().hex()) == expected["tweak"]
    if tweak is None:
        assert not expected["outputs"]
        return
    common = shared_point(tweak, scan_key)
    assert common.serialize().hex() == expected["shared_secret"]
    found = scan_outputs(common, plain.spend_key, [bytes.fromhex(key) for key in given["outputs"]], labels)
    assert len(found) == expected.get("n_outputs", len(expected.get("outputs", [])))
    private_keys = {one.output_key.hex(): one.tweak for one in found}
    for output in expected.get("outputs", []):
        assert private_keys[output["pub_key"]] == int(output["priv_key_tweak"], 16)
    for one in found[:5]:
        with spending_key(spend_key, one.tweak) as key:
            signature = PrivateKey(key.reveal()).sign_schnorr(bytes(32))
        assert schnorr_holds(one.output_key, bytes(32), signature)


def test_an_address_is_its_two_keys() -> None:
    address = parse_silent_address(ADDRESS, Network.MAINNET)
    assert address.scan_key.serialize().hex() == SCAN_KEY
    assert address.spend_key.serialize().hex() == SPEND_KEY
    assert address.encode(Network.MAINNET) == ADDRESS
    assert parse_silent_address(ADDRESS.upper(), Network.MAINNET) == address
    for network, prefix in (
        (Network.SIGNET, "tsp1q"),
        (Network.TESTNET4, "tsp1q"),
        (Network.REGTEST, "sprt1q"),
    ):
        text = address.encode(network)
        assert text.startswith(prefix)
        assert is_silent_address(text)
        assert parse_silent_address(text, network) == address
        with pytest.raises(WrongNetworkError):
            parse_silent_address(text, Network.MAINNET)


def of_version(version: int, payload: bytes) -> str:
    data = [version, *power_of_2_base_conversion(payload, 8, 5)]
    return str(bech32.encode("sp", data, bech32.BECH32_M_CONST).decode())


def test_a_later_version_is_read_as_far_as_version_0_goes() -> None:
    keys = bytes.fromhex(SCAN_KEY + SPEND_KEY)
    expected = parse_silent_address(ADDRESS, Network.MAINNET)
    assert parse_silent_address(of_version(1, keys + b"more"), Network.MAINNET) == expected
    assert parse_silent_address(of_version(30, keys), Network.MAINNET) == expected
    refused = [
        (0, keys + b"more"),
        (0, keys[:-1]),
        (1, keys[:-1]),
        (31, keys),
        (0, keys[:33] + bytes(33)),
    ]
    for version, payload in refused:
        with pytest.raises(AddressError):
            parse_silent_address(of_version(version, payload), Network.MAINNET)


@pytest.mark.parametrize(
    "text", ["", "sp1", "sp1q", ADDRESS[:-1], ADDRESS + "q", ADDRESS.replace("q", "Q", 1), "a" * 2000]
)
def test_what_is_no_silent_address_is_refused(text: str) -> None:
    with pytest.raises(AddressError):
        parse_silent_address(text, Network.MAINNET)


@given(st.text(max_size=130))
def test_any_text_is_refused_and_crashes_nothing(text: str) -> None:
    with pytest.raises(AddressError):
        parse_silent_address("sp1" + text, Network.MAINNET)


SCAN, SPEND = Secret(b"\x11" * 32), Secret(b"\x22" * 32)
RECEIVER = SilentAddress(Point.of_secret(SCAN), Point.of_secret(SPEND))
SENDER = Secret(b"\x33" * 32)
OUTPOINTS = [Outpoint(Txid(bytes([7]) * 32), 1)]


def pay(receivers: Sequence[SilentAddress]) -> tuple[list[bytes], Point]:
    shares = {
        receiver.scan_key.serialize(): [shared_point(receiver.scan_key, SENDER)] for receiver in receivers
    }
    key = Point.of_secret(SENDER)
    tweak = tweak_of(OUTPOINTS, [key])
    assert tweak is not None
    return derive_outputs(OUTPOINTS, [key], shares, receivers), shared_point(tweak, SCAN)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.integers(0, 40))
def test_what_is_sent_to_any_label_is_found_by_few_labels_and_by_many(paid: list[int], others: int) -> None:
    labels = [make_label(SCAN, number) for number in range(6 + others)]
    outputs, common = pay([labels[number].address(RECEIVER) for number in paid])
    found = scan_outputs(common, RECEIVER.spend_key, outputs, labels)
    assert [one.label for one in found] == paid
    assert [one.output_key for one in found] == outputs


def test_an_output_to_somebody_else_ends_no_scan_early() -> None:
    outputs, common = pay([RECEIVER, RECEIVER])
    foreign = Point.of_scalar(99).x
    found = scan_outputs(common, RECEIVER.spend_key, [foreign, outputs[1], outputs[0], bytes(32)], [])
    assert [one.output_key for one in found] == outputs
    many = [Label(number, number + 1) for number in range(50)]
    assert len(scan_outputs(common, RECEIVER.spend_key, [bytes(32), *outputs], many)) == 2
    assert scan_outputs(common, RECEIVER.spend_key, [], many) == []


def test_more_outputs_than_fit_are_not_derived() -> None:
    shares = {RECEIVER.scan_key.serialize(): [shared_point(RECEIVER.scan_key, SENDER)]}
    key = Point.of_secret(SENDER)
    with pytest.raises(SilentPaymentError, match="2323"):
        derive_outputs(OUTPOINTS, [key], shares, [RECEIVER] * (K_MAX + 1))


def test_a_missing_share_is_noticed() -> None:
    key = Point.of_secret(SENDER)
    incomplete: list[dict[bytes, list[Point]]] = [{}, {RECEIVER.scan_key.serialize(): []}]
    for shares in incomplete:
        with pytest.raises(SilentPaymentError, match="shares"):
            derive_outputs(OUTPOINTS, [key], shares, [RECEIVER])
    cancelling = {RECEIVER.scan_key.serialize(): [key, key.negate()]}
    with pytest.raises(SilentPaymentError, match="cancel"):
        derive_outputs(OUTPOINTS, [key, key], cancelling, [RECEIVER])


def test_transactions_that_pay_nobody_silently_have_no_tweak() -> None:
    key = Point.of_secret(SENDER)
    spent = TxInput(OUTPOINTS[0], witness=(b"sig", key.serialize()))
    ours = TxOutput(1, p2wpkh_script(bytes(20)))
    taproot = TxOutput(1, p2tr_script(key.x))
    future = TxOutput(1, b"\x52\x20" + bytes(32))
    assert tweak_of_transaction(Transaction(2, (spent,), (taproot,)), [ours]) is not None
    assert tweak_of_transaction(Transaction(2, (spent,), (ours,)), [ours]) is None
    both = Transaction(2, (spent, TxInput(Outpoint(Txid(bytes(32)), 0))), (taproot,))
    assert tweak_of_transaction(both, [ours, future]) is None
    assert tweak_of_transaction(Transaction(2, (spent,), (taproot,)), [future]) is None
    assert taproot_keys(both) == [key.x]


@given(st.binary(max_size=120), st.lists(st.binary(max_size=70), max_size=3), st.binary(max_size=120))
def test_any_input_counts_or_does_not(script: bytes, witness: list[bytes], script_sig: bytes) -> None:
    prefixes = [b"", b"\x00\x14", b"\x51\x20", b"\x76\xa9\x14", b"\xa9\x14"]
    for prefix in prefixes:
        spent = TxOutput(0, prefix + script)
        key = input_key(spent, TxInput(OUTPOINTS[0], script_sig, witness=tuple(witness)))
        assert key is None or len(key.serialize()) == 33


def test_a_label_has_a_number_that_fits() -> None:
    for number in (-1, 1 << 32):
        with pytest.raises(InvalidInputError):
            make_label(SCAN, number)
    with pytest.raises(SilentPaymentError):
        Label(1, ORDER - int.from_bytes(SPEND.reveal(), "big")).address(RECEIVER)
    assert FoundOutput(b"", 0).label is None

"""Reading and writing transactions, and what their signatures sign."""

from __future__ import annotations

import contextlib
import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from btclib.script.sig_hash import segwit_v0 as btclib_segwit_v0
from btclib.tx.tx import Tx
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.bitcoin.errors import MalformedTransactionError, RejectedTransactionError
from anya_actors.domain.bitcoin.hashes import BlockHash, HashError, Txid
from anya_actors.domain.bitcoin.sighash import (
    Sighash,
    SighashError,
    p2wpkh_script_code,
    segwit_v0_sighash,
    taproot_key_path_sighash,
)
from anya_actors.domain.bitcoin.transaction import (
    Outpoint,
    Transaction,
    TxInput,
    TxOutput,
    parse_transaction,
    parse_transaction_hex,
)
from anya_actors.domain.bitcoin.transaction_rules import verify_transaction

# BIP143, "Native P2WPKH": the unsigned transaction and the digest of its second input.
BIP143_UNSIGNED = (
    "0100000002fff7f7881a8099afa6940d42d1e7f6362bec38171ea3edf433541db4e4ad969f0000000000eeffffff"
    "ef51e1b804cc89d182d279655c3aa89e815b1b309fe287d9b2b55d57b90ec68a0100000000ffffffff"
    "02202cb206000000001976a9148280b37df378db99f66f85c95a783a76ac7a6d5988ac"
    "9093510d000000001976a9143bde42dbee7e4dbe6a21b2d50ce2f0167faa815988ac11000000"
)
BIP143_DIGEST = "c37af31116d1b27caf68aae9e3ac82f1477929014d5b917657d0eb49478cb670"

txids = st.binary(min_size=32, max_size=32).map(Txid)
inputs = st.builds(
    TxInput,
    st.builds(Outpoint, txids, st.integers(0, 0xFFFFFFFF)),
    st.binary(max_size=300),
    st.integers(0, 0xFFFFFFFF),
    st.lists(st.binary(max_size=300), max_size=3).map(tuple),
)
outputs = st.builds(TxOutput, st.integers(-(1 << 63), (1 << 63) - 1), st.binary(max_size=60))
transactions = st.builds(
    Transaction,
    st.integers(-(1 << 31), (1 << 31) - 1),
    st.lists(inputs, min_size=1, max_size=4).map(tuple),
    st.lists(outputs, max_size=4).map(tuple),
    st.integers(0, 0xFFFFFFFF),
)


@given(transactions)
def test_a_transaction_comes_back_from_its_bytes(transaction: Transaction) -> None:
    data = transaction.serialize()
    again = parse_transaction(data)
    assert again == transaction
    assert again.txid == transaction.txid
    assert again.weight == 3 * len(transaction.serialize_stripped()) + len(data)


@given(transactions, st.binary(min_size=1, max_size=5))
def test_bytes_behind_a_transaction_are_refused(transaction: Transaction, more: bytes) -> None:
    with pytest.raises(MalformedTransactionError, match="bytes follow it"):
        parse_transaction(transaction.serialize() + more)


@given(transactions, st.data())
def test_a_cut_transaction_is_refused(transaction: Transaction, data: st.DataObject) -> None:
    whole = transaction.serialize()
    with pytest.raises(MalformedTransactionError):
        parse_transaction(whole[: data.draw(st.integers(0, len(whole) - 1))])


@given(st.binary(max_size=400))
def test_any_bytes_are_a_transaction_with_these_bytes_or_refused(data: bytes) -> None:
    with contextlib.suppress(MalformedTransactionError):
        assert parse_transaction(data).serialize() == data


@given(st.text(max_size=60))
def test_any_text_is_a_transaction_or_refused(text: str) -> None:
    with contextlib.suppress(MalformedTransactionError):
        parse_transaction_hex(text)


@pytest.mark.parametrize("text", ["01 00", "zz", "0", "０1", ""])
def test_text_that_is_not_plain_hexadecimal_is_refused(text: str) -> None:
    with pytest.raises(MalformedTransactionError):
        parse_transaction_hex(text)


def test_a_huge_count_is_refused_before_memory_is_taken_for_it() -> None:
    with pytest.raises(MalformedTransactionError):
        parse_transaction(b"\x02\x00\x00\x00\xfe\x00\x00\x00\x01")


def test_a_txid_is_not_a_block_hash_and_survives_copy_and_pickle() -> None:
    txid = Txid.from_hex("00" * 31 + "ff")
    assert txid[0] == 0xFF
    assert str(txid) == "00" * 31 + "ff"
    for twin in (pickle.loads(pickle.dumps(txid)), copy.deepcopy(txid)):
        assert type(twin) is Txid
        assert twin == txid
    for bad in ("", "00" * 31, "0g" * 32, "00" * 33):
        with pytest.raises(HashError):
            BlockHash.from_hex(bad)
    with pytest.raises(HashError):
        Txid(b"short")


def test_bip143_example_of_native_p2wpkh() -> None:
    code = p2wpkh_script_code(bytes.fromhex("1d0f172a0ecb48aee1be1f2687d2963ae33f71a1"))
    digest = segwit_v0_sighash(parse_transaction_hex(BIP143_UNSIGNED), 1, code, 600_000_000)
    assert digest.hex() == BIP143_DIGEST


@given(transactions, st.sampled_from([1, 2, 3, 0x81, 0x82, 0x83]), st.binary(max_size=50), st.data())
def test_segwit_digests_agree_with_btclib(
    transaction: Transaction, sighash: int, code: bytes, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(transaction.inputs) - 1))
    amount_sat = data.draw(st.integers(0, 10**15))
    if any(output.amount_sat < 0 or output.amount_sat > 21 * 10**14 for output in transaction.outputs):
        return
    theirs = Tx.parse(transaction.serialize(), check_validity=False)
    expected = btclib_segwit_v0(code, theirs, index, sighash, amount_sat)
    assert segwit_v0_sighash(transaction, index, code, amount_sat, sighash) == expected


def test_bip341_key_path_digests(vectors: Callable[[str], Any]) -> None:
    for case in vectors("bip341_wallet.json")["keyPathSpending"]:
        transaction = parse_transaction_hex(case["given"]["rawUnsignedTx"])
        spent = [
            TxOutput(row["amountSats"], bytes.fromhex(row["scriptPubKey"]))
            for row in case["given"]["utxosSpent"]
        ]
        for row in case["inputSpending"]:
            given_ = row["given"]
            digest = taproot_key_path_sighash(transaction, given_["txinIndex"], spent, given_["hashType"])
            assert digest.hex() == row["intermediary"]["sigHash"]


def test_signing_what_is_not_there_is_refused() -> None:
    transaction = parse_transaction_hex(BIP143_UNSIGNED)
    spent = [TxOutput(1, b""), TxOutput(1, b"")]
    with pytest.raises(SighashError, match="2 inputs"):
        segwit_v0_sighash(transaction, 2, b"", 0)
    with pytest.raises(SighashError, match="one spent output"):
        taproot_key_path_sighash(transaction, 0, spent[:1])
    with pytest.raises(SighashError, match="does not exist"):
        taproot_key_path_sighash(transaction, 0, spent, 4)
    one_output = Transaction(2, transaction.inputs, transaction.outputs[:1])
    with pytest.raises(SighashError, match="same index"):
        taproot_key_path_sighash(one_output, 1, spent, Sighash.SINGLE)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"inputs": ()}, "bad-txns-vin-empty"),
        ({"outputs": ()}, "bad-txns-vout-empty"),
        ({"outputs": (TxOutput(-1, b""),)}, "bad-txns-vout-negative"),
        ({"outputs": (TxOutput(21 * 10**14 + 1, b""),)}, "bad-txns-vout-toolarge"),
        ({"outputs": (TxOutput(21 * 10**14, b""),) * 2}, "bad-txns-txouttotal-toolarge"),
        ({"inputs": (TxInput(Outpoint(Txid(bytes(32)), 0)),) * 2}, "bad-txns-inputs-duplicate"),
        ({"inputs": (TxInput(Outpoint(Txid(bytes(32)), 0xFFFFFFFF), b"1"),)}, "bad-cb-length"),
        ({"outputs": (TxOutput(0, bytes(1_000_001)),)}, "bad-txns-oversize"),
    ],
)
def test_each_broken_rule_is_named_as_core_names_it(change: dict[str, Any], reason: str) -> None:
    parts: dict[str, Any] = {
        "inputs": (TxInput(Outpoint(Txid(b"\x01" * 32), 0)),),
        "outputs": (TxOutput(1, b"\x51"),),
    }
    verify_transaction(Transaction(2, **parts))
    with pytest.raises(RejectedTransactionError) as caught:
        verify_transaction(Transaction(2, **(parts | change)))
    assert caught.value.reason == reason


def test_core_sighash_transactions_round_trip(vectors: Callable[[str], Any]) -> None:
    rows = [row for row in vectors("core_sighash.json") if len(row) > 1]
    assert rows
    for raw, *_ in rows:
        assert parse_transaction_hex(raw).serialize().hex() == raw

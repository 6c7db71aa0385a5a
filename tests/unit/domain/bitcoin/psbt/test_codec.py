"""Reading and writing PSBTs: the vectors of BIP174, 370, 371, 373, 375 and of Core."""

from __future__ import annotations

import base64
import contextlib
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.bitcoin.psbt import (
    AbsurdFeeError,
    PsbtError,
    PsbtInputError,
    PsbtStateError,
    parse_psbt,
    parse_psbt_base64,
)
from anya_actors.domain.bitcoin.psbt.fields import In

Vectors = Callable[[str], Any]

BIPS = ["bip174_psbt", "bip370_psbtv2", "bip371_psbt_taproot", "bip373_psbt_musig2"]

# BIP370, "1 input, 2 output PSBTv2, required fields only."
V2 = (
    "cHNidP8BAgQCAAAAAQQBAQEFAQIB+wQCAAAAAAEOIAsK2SFBnByHGXNdctxzn56p4GONH+TB7vD5lECEgV/IAQ8EAAAAAAABAwgACK8v"
    "AAAAAAEEFgAUxDD2TEdW2jENvRoIVXLvKZkmJywAAQMIi73rCwAAAAABBBYAFE3Rk6yWSlasG54cyoRU/i9HT4UTAA=="
)


@pytest.mark.parametrize("name", [*BIPS, "bip375_psbt_silent_payments"])
def test_valid_psbts_come_back_byte_for_byte(vectors: Vectors, name: str) -> None:
    for case in vectors(f"{name}.json")["valid"]:
        assert parse_psbt_base64(case["psbt"]).to_base64() == case["psbt"]


@pytest.mark.parametrize("name", BIPS)
def test_cores_order_of_fields_is_that_of_the_bips(vectors: Vectors, name: str) -> None:
    for case in vectors(f"{name}.json")["valid"]:
        assert parse_psbt_base64(case["psbt"]).in_order().to_base64() == case["psbt"]


@pytest.mark.parametrize("name", BIPS)
def test_invalid_psbts_are_refused(vectors: Vectors, name: str) -> None:
    for case in vectors(f"{name}.json")["invalid"]:
        with pytest.raises(PsbtError):
            parse_psbt_base64(case["psbt"])


def test_broken_structure_of_silent_payment_fields_is_refused(vectors: Vectors) -> None:
    # The others of the file need the curve: they are refused where the proofs are checked.
    for case in vectors("bip375_psbt_silent_payments.json")["invalid"]:
        if case["description"].startswith("psbt structure"):
            with pytest.raises(PsbtError):
                parse_psbt_base64(case["psbt"])


def test_cores_invalid_psbts_are_refused_with_cores_reason(vectors: Vectors) -> None:
    cases = vectors("core_rpc_psbt.json")
    for text in cases["invalid"]:
        with pytest.raises(PsbtError, match="TX decode failed"):
            parse_psbt_base64(text)
    for text, reason in cases["invalid_with_msg"]:
        with pytest.raises(PsbtError) as caught:
            parse_psbt_base64(text)
        assert reason in caught.value.reason


def test_cores_valid_psbts_come_back_byte_for_byte(vectors: Vectors) -> None:
    for text in vectors("core_rpc_psbt.json")["valid"]:
        assert parse_psbt_base64(text).to_base64() == text


def test_the_lock_time_of_version_2_follows_from_its_inputs(vectors: Vectors) -> None:
    for case in vectors("bip370_psbtv2.json")["locktime"]:
        psbt = parse_psbt_base64(case["psbt"])
        if case["locktime"] is None:
            with pytest.raises(PsbtStateError, match="lock time"):
                _ = psbt.unsigned_transaction
        else:
            assert psbt.unsigned_transaction.lock_time == case["locktime"]


def test_the_transaction_of_version_2_is_put_together_from_its_fields() -> None:
    psbt = parse_psbt_base64(V2)
    transaction = psbt.unsigned_transaction
    assert (psbt.version, transaction.version, transaction.lock_time) == (2, 2, 0)
    assert [output.amount_sat for output in transaction.outputs] == [800_000_000, 199_998_859]
    assert transaction.inputs[0].sequence == 0xFFFFFFFF
    assert psbt.fee_sat() is None


def test_a_new_field_goes_where_core_would_write_it() -> None:
    psbt = parse_psbt_base64(V2)
    changed = psbt.inputs[0].with_value(In.SIGHASH_TYPE, b"\x01\0\0\0").with_value(In.SEQUENCE, b"\0\0\0\0")
    assert [key[0] for key in changed.fields] == [
        In.SIGHASH_TYPE,
        In.PREVIOUS_TXID,
        In.OUTPUT_INDEX,
        In.SEQUENCE,
    ]
    assert changed.with_value(In.SIGHASH_TYPE, None).without(In.SEQUENCE) == psbt.inputs[0]


@pytest.mark.parametrize("text", ["", "cHNidP8", "cHNidP8B AgQ=", "é", "cHNidP8="])
def test_text_that_is_no_base64_or_no_psbt_is_refused(text: str) -> None:
    with pytest.raises(PsbtError):
        parse_psbt_base64(text)


def test_bytes_behind_a_psbt_are_refused() -> None:
    with pytest.raises(PsbtError, match="extra data after PSBT"):
        parse_psbt(base64.b64decode(V2) + b"\x00")


@given(st.binary(max_size=300), st.integers(min_value=0, max_value=400))
def test_damaged_psbts_are_read_exactly_or_refused(noise: bytes, at: int) -> None:
    whole = base64.b64decode(V2)
    for data in (noise, b"psbt\xff" + noise, whole[:at] + noise + whole[at + len(noise) :], whole[:at]):
        with contextlib.suppress(PsbtError):
            assert parse_psbt(data).serialize() == data


@pytest.mark.parametrize(
    "error",
    [
        PsbtError("invalid base64"),
        PsbtStateError("combined", "no"),
        PsbtInputError("signed", "no", 3),
        AbsurdFeeError(1, 2, 3),
    ],
)
def test_errors_survive_the_way_between_processes(error: Exception) -> None:
    assert str(pickle.loads(pickle.dumps(error))) == str(error)

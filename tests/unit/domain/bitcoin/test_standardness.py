"""Core's relay rules that concern one transaction, each on both sides of its limit."""

from __future__ import annotations

import pytest

from anya_actors.domain.bitcoin.errors import RejectedTransactionError
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.script import (
    hash160,
    null_data_script,
    p2sh_script,
    p2tr_script,
    p2wpkh_script,
    push,
    witness_script,
)
from anya_actors.domain.bitcoin.standardness import (
    dust_outputs,
    verify_standard,
    verify_standard_inputs,
    verify_standard_witness,
)
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxInput, TxOutput

COIN = Outpoint(Txid(b"\x01" * 32), 0)
PAY = TxOutput(1_000, p2wpkh_script(bytes(20)))
KEY = push(b"\x02" + bytes(32))
P2A = b"\x51\x02\x4e\x73"
P2WSH = witness_script(0, bytes(32))


def _spend(*inputs: TxInput, outputs: tuple[TxOutput, ...] = (PAY,), version: int = 2) -> Transaction:
    return Transaction(version, inputs or (TxInput(COIN),), outputs)


def _reason(transaction: Transaction) -> str:
    try:
        verify_standard(transaction)
    except RejectedTransactionError as error:
        return error.text
    return ""


@pytest.mark.parametrize(
    ("version", "reason"), [(0, "version"), (1, ""), (3, ""), (4, "version"), (-1, "version")]
)
def test_versions_one_to_three_are_standard(version: int, reason: str) -> None:
    assert _reason(_spend(version=version)) == reason


def _of_weight(weight: int) -> Transaction:
    bare = _spend(TxInput(COIN, witness=(b"",)))
    size = weight - bare.weight
    filler = size - (2 if size > 0xFD else 0) - (2 if size > 0x10000 else 0)
    return _spend(TxInput(COIN, witness=(bytes(filler),)))


@pytest.mark.parametrize(("weight", "reason"), [(400_000, ""), (400_001, "tx-size")])
def test_the_greatest_weight(weight: int, reason: str) -> None:
    transaction = _of_weight(weight)
    assert transaction.weight == weight
    assert _reason(transaction) == reason


@pytest.mark.parametrize(("size", "reason"), [(1_650, ""), (1_651, "scriptsig-size")])
def test_the_longest_script_sig(size: int, reason: str) -> None:
    assert _reason(_spend(TxInput(COIN, b"\x00" * size))) == reason


def test_a_script_sig_only_pushes() -> None:
    assert _reason(_spend(TxInput(COIN, b"\x60"))) == ""
    assert _reason(_spend(TxInput(COIN, b"\x61"))) == "scriptsig-not-pushonly"
    assert _reason(_spend(TxInput(COIN, b"\x02\x01"))) == "scriptsig-not-pushonly"


@pytest.mark.parametrize(("keys", "reason"), [(1, ""), (3, ""), (4, "scriptpubkey")])
def test_bare_multisig_of_up_to_three_keys(keys: int, reason: str) -> None:
    script = b"\x51" + KEY * keys + bytes([0x50 + keys, 0xAE])
    assert _reason(_spend(outputs=(TxOutput(1_000, script),))) == reason


def test_output_scripts_of_known_and_of_future_kinds_are_standard() -> None:
    for script in (P2A, P2WSH, p2tr_script(bytes(32)), witness_script(16, bytes(40)), p2sh_script(bytes(20))):
        assert _reason(_spend(outputs=(TxOutput(1_000, script), PAY))) == ""
    for script in (b"\x51", b"", witness_script(0, bytes(21))):
        assert _reason(_spend(outputs=(TxOutput(1_000, script), PAY))) == "scriptpubkey"


def test_all_data_carriers_share_one_limit() -> None:
    def carrying(*sizes: int) -> Transaction:
        return _spend(outputs=tuple(TxOutput(0, b"\x6a" + b"\x00" * (size - 1)) for size in sizes))

    assert _reason(carrying(50_000, 40_000)) == ""
    transaction = carrying(60_000, 30_000)
    with pytest.raises(RejectedTransactionError, match="datacarrier"):
        verify_standard(transaction, max_data_carrier_bytes=89_999)
    verify_standard(transaction, max_data_carrier_bytes=90_000)


def test_one_output_may_be_dust() -> None:
    dust, worth = TxOutput(293, PAY.script_pubkey), TxOutput(294, PAY.script_pubkey)
    assert dust_outputs(_spend(outputs=(worth, dust))) == [1]
    assert _reason(_spend(outputs=(worth, dust))) == ""
    assert _reason(_spend(outputs=(dust, dust))) == "dust"
    assert dust_outputs(_spend(outputs=(TxOutput(239, P2A), TxOutput(240, P2A)))) == [0]


def test_sixty_four_bytes_are_too_few() -> None:
    assert _reason(_spend(outputs=(TxOutput(1_000, P2A),))) == "tx-size-small"
    assert _reason(_spend(outputs=(TxOutput(0, null_data_script(b"abc")),))) == ""


def _inputs_reason(script_sig: bytes, script: bytes) -> str:
    try:
        verify_standard_inputs(_spend(TxInput(COIN, script_sig)), [TxOutput(1, script)])
    except RejectedTransactionError as error:
        return error.text.removeprefix("bad-txns-nonstandard-inputs, ")
    return ""


def test_what_inputs_spend_must_be_known() -> None:
    assert _inputs_reason(b"", b"\x51") == "input 0 script unknown"
    assert _inputs_reason(b"", witness_script(2, bytes(32))) == "input 0 witness program is undefined"
    assert _inputs_reason(b"", P2A) == ""


def test_a_redeem_script_checks_at_most_fifteen_signatures() -> None:
    for count, reason in ((15, ""), (16, "p2sh redeemscript sigops exceed limit (input 0: 16 > 15)")):
        redeem = b"\xac" * count
        assert _inputs_reason(push(redeem), p2sh_script(hash160(redeem))) == reason
    assert _inputs_reason(b"", p2sh_script(bytes(20))) == "input 0 P2SH redeemscript missing"
    broken = b"\x50"
    text = "p2sh scriptsig malformed (input 0: Opcode missing or not understood)"
    assert _inputs_reason(broken, p2sh_script(bytes(20))) == text
    text = "p2sh scriptsig malformed (input 0: Push value size limit exceeded)"
    assert _inputs_reason(push(bytes(521)), p2sh_script(bytes(20))) == text


@pytest.mark.parametrize(("inputs", "refused"), [(166, False), (167, True)])
def test_at_most_2500_signature_operations_outside_witnesses(inputs: int, refused: bool) -> None:
    # BIP54; 15 operations an input, as in Core's functional test.
    redeem = b"\xac" * 15
    spends = tuple(TxInput(Outpoint(COIN.txid, at), push(redeem)) for at in range(inputs))
    spent = [TxOutput(1, p2sh_script(hash160(redeem)))] * inputs
    if refused:
        with pytest.raises(RejectedTransactionError, match="non-witness sigops exceed bip54 limit"):
            verify_standard_inputs(_spend(*spends), spent)
    else:
        verify_standard_inputs(_spend(*spends), spent)


def _is_witness_standard(script: bytes, *witness: bytes, script_sig: bytes = b"") -> bool:
    try:
        verify_standard_witness(_spend(TxInput(COIN, script_sig, 0, witness)), [TxOutput(1, script)])
    except RejectedTransactionError as error:
        return error.text != "bad-witness-nonstandard"
    return True


def test_witnesses_belong_to_witness_programs() -> None:
    assert not _is_witness_standard(P2A, b"stuffing")
    assert not _is_witness_standard(b"\x76\xa9\x14" + bytes(20) + b"\x88\xac", b"x")
    nested = push(p2wpkh_script(bytes(20)))
    assert _is_witness_standard(p2sh_script(bytes(20)), b"x", script_sig=nested)
    assert not _is_witness_standard(p2sh_script(bytes(20)), b"x", script_sig=push(b"\x51"))


def test_witness_scripts_have_limits() -> None:
    assert _is_witness_standard(P2WSH, bytes(3_600))
    assert not _is_witness_standard(P2WSH, bytes(3_601))
    assert _is_witness_standard(P2WSH, *[b""] * 100, b"\x51")
    assert not _is_witness_standard(P2WSH, *[b""] * 101, b"\x51")
    assert _is_witness_standard(P2WSH, bytes(80), b"\x51")
    assert not _is_witness_standard(P2WSH, bytes(81), b"\x51")


def test_taproot_spends_have_no_annex_and_small_items() -> None:
    taproot, control = p2tr_script(bytes(32)), b"\xc0" + bytes(32)
    assert _is_witness_standard(taproot, bytes(64))
    assert not _is_witness_standard(taproot, bytes(64), b"\x50annex")
    assert _is_witness_standard(taproot, bytes(80), b"\x51", control)
    assert not _is_witness_standard(taproot, bytes(81), b"\x51", control)
    assert _is_witness_standard(taproot, bytes(81), b"\x51", b"\xc2" + bytes(32))  # another leaf version
    assert not _is_witness_standard(taproot, b"\x51", b"")

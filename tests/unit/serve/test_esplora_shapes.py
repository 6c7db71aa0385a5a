"""Scripts in Esplora's words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.bitcoin.script import p2sh_script, push
from anya_actors.domain.bitcoin.script import witness_script as program
from anya_actors.domain.bitcoin.transaction import NULL_OUTPOINT, TxInput
from anya_actors.serve.esplora.script_text import redeem_script, script_type, script_words, witness_script

KEY = "02" + "11" * 32


@pytest.mark.parametrize(
    ("script", "kind", "words"),
    [
        ("", "empty", ""),
        ("76a914" + "22" * 20 + "88ac", "p2pkh", f"OP_DUP OP_HASH160 OP_PUSHBYTES_20 {'22' * 20} "),
        ("a914" + "22" * 20 + "87", "p2sh", f"OP_HASH160 OP_PUSHBYTES_20 {'22' * 20} OP_EQUAL"),
        ("0014" + "22" * 20, "v0_p2wpkh", f"OP_0 OP_PUSHBYTES_20 {'22' * 20}"),
        ("0020" + "22" * 32, "v0_p2wsh", f"OP_0 OP_PUSHBYTES_32 {'22' * 32}"),
        ("5120" + "22" * 32, "v1_p2tr", f"OP_PUSHNUM_1 OP_PUSHBYTES_32 {'22' * 32}"),
        ("51024e73", "unknown", "OP_PUSHNUM_1 OP_PUSHBYTES_2 4e73"),
        ("21" + KEY + "ac", "p2pk", f"OP_PUSHBYTES_33 {KEY} OP_CHECKSIG"),
        (
            "5121" + KEY + "51ae",
            "unknown",
            f"OP_PUSHNUM_1 OP_PUSHBYTES_33 {KEY} OP_PUSHNUM_1 OP_CHECKMULTISIG",
        ),
        ("6a", "op_return", "OP_RETURN"),
        ("6a02abcd", "op_return", "OP_RETURN OP_PUSHBYTES_2 abcd"),
        ("4c02abcd4f", "unknown", "OP_PUSHDATA1 abcd OP_PUSHNUM_NEG1"),
        ("03b17552b2", "unknown", "OP_PUSHBYTES_3 b17552 OP_CSV"),
        ("b1baff50be", "unknown", "OP_CLTV OP_CHECKSIGADD OP_INVALIDOPCODE OP_RESERVED OP_RETURN_190"),
        ("05ab", "unknown", "OP_PUSHBYTES_5 <push past end>"),
        ("4d01", "unknown", "<unexpected end>"),
    ],
)
def test_scripts_are_named_and_written_as_electrs_does(script: str, kind: str, words: str) -> None:
    assert script_type(bytes.fromhex(script)) == kind
    assert script_words(bytes.fromhex(script)).startswith(words)


@given(st.binary(max_size=300))
def test_any_bytes_can_be_written(script: bytes) -> None:
    script_type(script)
    assert isinstance(script_words(script), str)


def test_what_a_spent_script_hash_hid() -> None:
    inner = bytes.fromhex("5121" + KEY + "51ae")
    nested = program(0, bytes(32))
    wrapped = TxInput(NULL_OUTPOINT, push(nested), witness=(b"", inner))
    assert redeem_script(wrapped, p2sh_script(bytes(20))) == nested
    assert witness_script(wrapped, nested) == inner
    assert witness_script(wrapped, p2sh_script(bytes(20))) is None
    assert redeem_script(wrapped, nested) is None
    assert redeem_script(TxInput(NULL_OUTPOINT, b""), p2sh_script(bytes(20))) is None
    assert redeem_script(TxInput(NULL_OUTPOINT, b"\x05a"), p2sh_script(bytes(20))) is None
    assert witness_script(TxInput(NULL_OUTPOINT), nested) is None

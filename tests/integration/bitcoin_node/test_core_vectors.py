"""Bitcoin Core's own vectors, through our parser and rules and the kernel's scripts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from btclib.exceptions import ScriptErrorCode
from btclib.script.engine import ScriptFlag
from btclib.script.script import OP_CODE_NAME_FROM_INT

from anya_actors.adapters.bitcoinkernel.engine import CONSENSUS_FLAGS, verify_scripts
from anya_actors.domain.bitcoin.amount import COIN_SAT
from anya_actors.domain.bitcoin.errors import MalformedTransactionError, RejectedTransactionError
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.script import push, push_number
from anya_actors.domain.bitcoin.script_policy import failure_text, verify_standard_scripts
from anya_actors.domain.bitcoin.transaction import (
    NULL_OUTPOINT,
    SEQUENCE_FINAL,
    Outpoint,
    Transaction,
    TxInput,
    TxOutput,
    parse_transaction_hex,
)
from anya_actors.domain.bitcoin.transaction_rules import verify_transaction
from anya_actors.domain.machine import NotSupportedError

Vectors = Callable[[str], Any]

FLAGS = {
    "P2SH": 1 << 0,
    "DERSIG": 1 << 2,
    "NULLDUMMY": 1 << 4,
    "CHECKLOCKTIMEVERIFY": 1 << 9,
    "CHECKSEQUENCEVERIFY": 1 << 10,
    "WITNESS": 1 << 11,
    "TAPROOT": 1 << 17,
}
OPCODES = {name.removeprefix("OP_"): code for code, name in OP_CODE_NAME_FROM_INT.items() if code > 0x60} | {
    "1NEGATE": 0x4F,
    "RESERVED": 0x50,
    "NOP2": 0xB1,
    "NOP3": 0xB2,
}
NAMED_OPCODES = OPCODES | {f"OP_{name}": code for name, code in OPCODES.items()}


def _script(text: str) -> bytes:
    """The script that the vectors' notation means."""
    parts = []
    for word in text.split():
        if word.startswith("0x"):
            parts.append(bytes.fromhex(word[2:]))
        elif word.startswith("'") and word.endswith("'"):
            parts.append(push(word[1:-1].encode()) if len(word) > 2 else b"\x00")
        elif word.lstrip("-").isdigit():
            parts.append(b"\x4f" if word == "-1" else push_number(int(word)))
        else:
            parts.append(bytes([NAMED_OPCODES[word]]))
    return b"".join(parts)


def _flags(text: str) -> tuple[int, bool]:
    """The consensus flags of a list, and whether there were others."""
    names = [name for name in text.split(",") if name and name != "NONE"]
    return sum(FLAGS.get(name, 0) for name in names), any(name not in FLAGS for name in names)


def _spent(transaction: Transaction, rows: list[Any]) -> list[TxOutput]:
    known = {
        Outpoint(Txid.from_hex(row[0]), row[1] & 0xFFFFFFFF): TxOutput(
            row[3] if len(row) > 3 else 0, _script(row[2])
        )
        for row in rows
    }
    return [known[tx_input.prevout] for tx_input in transaction.inputs]


def test_every_valid_transaction_passes(vectors: Vectors) -> None:
    rows = [row for row in vectors("core_tx_valid.json") if isinstance(row[0], list)]
    for prevouts, raw, excluded in rows:
        transaction = parse_transaction_hex(raw)
        assert transaction.serialize().hex() == raw.lower()
        verify_transaction(transaction)
        without, _ = _flags(excluded)
        if not transaction.is_coinbase:
            verify_scripts(transaction, _spent(transaction, prevouts), _trimmed(CONSENSUS_FLAGS & ~without))
    assert len(rows) > 60


def _trimmed(flags: int) -> int:
    # Witness rules stand on P2SH, taproot's on the witness rules: Core trims its flags likewise.
    if not flags & FLAGS["P2SH"]:
        flags &= ~FLAGS["WITNESS"]
    if not flags & FLAGS["WITNESS"]:
        flags &= ~FLAGS["TAPROOT"]
    return flags


def _filled(flags: int) -> int:
    if flags & FLAGS["TAPROOT"]:
        flags |= FLAGS["WITNESS"]
    if flags & FLAGS["WITNESS"]:
        flags |= FLAGS["P2SH"]
    return flags


def _verify_all(raw: str, prevouts: list[Any], flags: int) -> None:
    transaction = parse_transaction_hex(raw)
    verify_transaction(transaction)
    verify_scripts(transaction, _spent(transaction, prevouts), _filled(flags))


def test_every_invalid_transaction_is_refused(vectors: Vectors) -> None:
    seen = 0
    for prevouts, raw, flag_names in (
        row for row in vectors("core_tx_invalid.json") if isinstance(row[0], list)
    ):
        flags, has_policy = _flags(flag_names.replace("BADTX", ""))
        if has_policy:
            continue  # refused by relay policy alone
        with pytest.raises((MalformedTransactionError, RejectedTransactionError)):
            _verify_all(raw, prevouts, flags)
        seen += 1
    assert seen > 40


def _script_case(row: list[Any]) -> tuple[Transaction, TxOutput, str, str]:
    witness: tuple[bytes, ...] = ()
    amount_sat = 0
    if isinstance(row[0], list):
        *items, coins = row[0]
        witness = tuple(bytes.fromhex(item) for item in items)
        amount_sat = round(coins * COIN_SAT)
        row = row[1:]
    output = TxOutput(amount_sat, _script(row[1]))
    credit_input = TxInput(NULL_OUTPOINT, b"\x00\x00", SEQUENCE_FINAL)
    credit = Transaction(1, (credit_input,), (output,))
    spend_input = TxInput(Outpoint(credit.txid, 0), _script(row[0]), SEQUENCE_FINAL, witness)
    return Transaction(1, (spend_input,), (TxOutput(amount_sat, b""),)), output, row[2], row[3]


def test_scripts_do_as_core_says(vectors: Vectors) -> None:
    seen = 0
    for row in vectors("core_script_tests.json"):
        if len(row) < 4 or "#" in str(row[:3]):
            continue  # a comment, or a template whose taproot output is built by Core's own test
        transaction, output, flag_names, expected = _script_case(row)
        flags, has_policy = _flags(flag_names)
        if has_policy and expected != "OK":
            continue  # refused by policy alone, or by a rule that policy reports first
        if expected == "OK":
            verify_scripts(transaction, [output], _filled(flags))
        else:
            with pytest.raises(RejectedTransactionError):
                verify_scripts(transaction, [output], _filled(flags))
        seen += 1
    assert seen > 300


def _policy_flags(names: str) -> ScriptFlag:
    flags = _policy_flags_alone(names)
    # Some rules stand on others: Core's test fills them in likewise.
    if flags & ScriptFlag.CLEANSTACK:
        flags |= ScriptFlag.WITNESS
    if flags & ScriptFlag.WITNESS:
        flags |= ScriptFlag.P2SH
    return flags


def test_the_judge_of_policy_gives_cores_error_for_every_flag(vectors: Vectors) -> None:
    # The vectors write one error shorter than Core's code does.
    names = {"NULLFAIL": "SIG_NULLFAIL"}
    seen = 0
    for row in vectors("core_script_tests.json"):
        if len(row) < 4 or "#" in str(row[:3]):
            continue
        transaction, output, flag_names, expected = _script_case(row)
        told = "OK"
        try:
            verify_standard_scripts(transaction, [output], _policy_flags(flag_names))
        except RejectedTransactionError as error:
            told = error.reason
        if expected == "OK":
            assert told == "OK"
        else:
            text = failure_text(ScriptErrorCode[names.get(expected, expected)])
            assert told == f"mempool-script-verify-flag-failed ({text})"
        seen += 1
    assert seen > 500


def test_every_way_to_fail_has_cores_words() -> None:
    unnamed = {ScriptErrorCode.OK, ScriptErrorCode.UNKNOWN_ERROR}
    texts = {code: failure_text(code) for code in ScriptErrorCode if code not in unnamed}
    assert "unknown error" not in texts.values()


def test_the_judge_of_policy_accepts_cores_valid_transactions(vectors: Vectors) -> None:
    every = ScriptFlag(0)
    for flag in ScriptFlag:
        every |= flag
    for prevouts, raw, excluded in (row for row in vectors("core_tx_valid.json") if isinstance(row[0], list)):
        transaction = parse_transaction_hex(raw)
        if transaction.is_coinbase:
            continue
        flags = every & ~_policy_flags_alone(excluded)
        if not flags & ScriptFlag.P2SH:
            flags &= ~ScriptFlag.WITNESS
        if not flags & ScriptFlag.WITNESS:
            flags &= ~(ScriptFlag.TAPROOT | ScriptFlag.CLEANSTACK)
        verify_standard_scripts(transaction, _spent(transaction, prevouts), flags)


def _policy_flags_alone(names: str) -> ScriptFlag:
    flags = ScriptFlag(0)
    for name in names.split(","):
        if name and name != "NONE":
            flags |= ScriptFlag[name]
    return flags


def test_policy_flags_never_reach_the_kernel() -> None:
    transaction = Transaction(2, (TxInput(Outpoint(Txid(bytes(32)), 0)),), (TxOutput(0, b""),))
    with pytest.raises(NotSupportedError, match="consensus rules only"):
        verify_scripts(transaction, [TxOutput(0, b"\x51")], 1 << 1)

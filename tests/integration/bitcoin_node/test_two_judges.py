"""The two judges of scripts agree on consensus, whatever the script: what policy's judge would let
pass wrongly the kernel would still refuse, but what it refuses wrongly nobody would mend."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from btclib.script.engine import ALL_FLAGS, ScriptFlag
from hypothesis import example, given, settings
from hypothesis import strategies as st

from anya_actors.adapters.bitcoinkernel.engine import verify_scripts
from anya_actors.domain.bitcoin.errors import RejectedTransactionError
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.script import hash160, p2sh_script, push, push_number, witness_script
from anya_actors.domain.bitcoin.script_policy import STANDARD_FLAGS, verify_standard_scripts
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxInput, TxOutput

COIN = Outpoint(Txid(b"\x01" * 32), 0)

# Operations that do not check signatures: there is no chance to draw a right one.
OPERATIONS = [code for code in range(0x4F, 0xBB) if code not in (0xAC, 0xAD, 0xAE, 0xAF, 0xBA)]

pushes = st.one_of(
    st.binary(max_size=5).map(push),
    st.integers(-300, 300).map(push_number),
    st.sampled_from([b"\x00", b"\x51", b"\x60", b"\x4f", b"\x01\x80"]),
)
scripts = st.lists(
    st.one_of(pushes, st.sampled_from(OPERATIONS).map(lambda code: bytes([code]))), max_size=12
).map(b"".join)
script_sigs = st.lists(pushes, max_size=6).map(b"".join)


def _passes(judge: Callable[..., None], transaction: Transaction, output: TxOutput, *flags: Any) -> bool:
    try:
        judge(transaction, [output], *flags)
    except RejectedTransactionError:
        return False
    return True


def _spend(script_sig: bytes, witness: tuple[bytes, ...] = ()) -> Transaction:
    return Transaction(2, (TxInput(COIN, script_sig, 0, witness),), (TxOutput(0, b"\x6a"),))


def _assert_agree(transaction: Transaction, output: TxOutput) -> None:
    by_kernel = _passes(verify_scripts, transaction, output)
    assert _passes(verify_standard_scripts, transaction, output, ALL_FLAGS) is by_kernel
    if _passes(verify_standard_scripts, transaction, output, STANDARD_FLAGS):
        assert by_kernel


@settings(max_examples=400, deadline=None)
@given(script_sigs, scripts)
@example(b"\x51", b"\x63\x51\x67\x00\x68")
def test_bare_scripts(script_sig: bytes, script: bytes) -> None:
    _assert_agree(_spend(script_sig), TxOutput(1_000, script))


@settings(max_examples=200, deadline=None)
@given(script_sigs, scripts)
def test_scripts_behind_a_hash(script_sig: bytes, redeem: bytes) -> None:
    _assert_agree(_spend(script_sig + push(redeem)), TxOutput(1_000, p2sh_script(hash160(redeem))))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=5), max_size=5), scripts)
def test_witness_scripts(items: list[bytes], script: bytes) -> None:
    program = hashlib.sha256(script).digest()
    _assert_agree(_spend(b"", (*items, script)), TxOutput(1_000, witness_script(0, program)))


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=2, max_size=40), st.integers(0, 16), st.lists(st.binary(max_size=70), max_size=4))
def test_any_witness_program(program: bytes, version: int, witness: list[bytes]) -> None:
    _assert_agree(_spend(b"", tuple(witness)), TxOutput(1_000, witness_script(version, program)))


def test_the_relay_flags_are_cores_twenty() -> None:
    assert STANDARD_FLAGS & ALL_FLAGS == ALL_FLAGS
    assert ScriptFlag.SIGPUSHONLY not in STANDARD_FLAGS
    assert len(list(STANDARD_FLAGS)) == len(list(ScriptFlag)) - 1

"""Signatures of signet blocks (BIP325), by a challenge of the tests' own."""

from __future__ import annotations

import pytest
from coincurve import PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.bitcoin.block import Block, BlockHeader, block_merkle_root, witness_commitment_script
from anya_actors.domain.bitcoin.errors import RejectedBlockError
from anya_actors.domain.bitcoin.hashes import BlockHash
from anya_actors.domain.bitcoin.script import hash160, p2wpkh_script, push
from anya_actors.domain.bitcoin.sighash import p2wpkh_script_code, segwit_v0_sighash
from anya_actors.domain.bitcoin.signet import DEFAULT_CHALLENGE, signet_transactions, verify_signet_solution
from anya_actors.domain.bitcoin.transaction import NULL_OUTPOINT, Transaction, TxInput, TxOutput
from anya_actors.domain.bitcoin.wire import compact_size, prefixed

KEY = PrivateKey(b"\x2a" * 32)
PUBLIC = KEY.public_key.format()
CHALLENGE = p2wpkh_script(hash160(PUBLIC))
HEADER = bytes.fromhex("ecc7daa2")


def block_with(solution: bytes | None, *, time_s: int = 1_600_000_000) -> Block:
    script = witness_commitment_script([Transaction(2, (), ())])
    if solution is not None:
        script += push(HEADER + solution)
    spent = TxInput(NULL_OUTPOINT, b"\x51\x51", witness=(bytes(32),))
    coinbase = Transaction(2, (spent,), (TxOutput(50, b"\x51"), TxOutput(0, script)))
    root = block_merkle_root((coinbase,))
    return Block(BlockHeader(4, BlockHash(bytes(32)), root, time_s, 0x1E0377AE, 0), (coinbase,))


def solved(block: Block) -> bytes:
    _, to_sign = signet_transactions(block, CHALLENGE)
    digest = segwit_v0_sighash(to_sign, 0, p2wpkh_script_code(hash160(PUBLIC)), 0)
    items = (KEY.sign(digest, hasher=None) + b"\x01", PUBLIC)
    return prefixed(b"") + compact_size(len(items)) + b"".join(prefixed(item) for item in items)


SOLUTION = solved(block_with(b"\x00\x00"))


def test_a_solution_signs_its_block_whatever_it_is_itself() -> None:
    verify_signet_solution(block_with(SOLUTION), CHALLENGE)


def test_a_solution_signs_no_other_block_and_no_other_challenge() -> None:
    for block, challenge in (
        (block_with(SOLUTION, time_s=1), CHALLENGE),
        (block_with(SOLUTION), DEFAULT_CHALLENGE),
        (block_with(SOLUTION + b"\x00"), CHALLENGE),
        (block_with(SOLUTION[:-1]), CHALLENGE),
        (block_with(b"\x00\x00"), CHALLENGE),
        (block_with(None), CHALLENGE),
    ):
        with pytest.raises(RejectedBlockError, match="bad-signet-blksig"):
            verify_signet_solution(block, challenge)


def test_an_open_challenge_needs_no_solution() -> None:
    verify_signet_solution(block_with(None), b"\x51")


def test_a_block_without_commitment_or_coinbase_is_refused() -> None:
    block = block_with(None)
    coinbase = Transaction(2, block.transactions[0].inputs, (TxOutput(1, b"\x51"),))
    for transactions in ((coinbase,), ()):
        with pytest.raises(RejectedBlockError):
            verify_signet_solution(Block(block.header, transactions), b"\x51")


@given(st.binary(max_size=120))
def test_any_bytes_solve_nothing(solution: bytes) -> None:
    with pytest.raises(RejectedBlockError):
        verify_signet_solution(block_with(solution), CHALLENGE)

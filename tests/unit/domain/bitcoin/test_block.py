"""Blocks, headers and merkle trees."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.bitcoin.block import (
    REGTEST_BITS,
    REGTEST_GENESIS_HASH,
    Block,
    BlockHeader,
    block_merkle_root,
    difficulty_of,
    meets_target,
    merkle_root,
    parse_block,
    parse_header,
    target_of,
    witness_commitment,
    witness_commitment_script,
    work_of,
)
from anya_actors.domain.bitcoin.errors import MalformedBlockError
from anya_actors.domain.bitcoin.hashes import BlockHash, Txid
from anya_actors.domain.bitcoin.transaction import NULL_OUTPOINT, Outpoint, Transaction, TxInput, TxOutput

# The genesis block of mainnet (block 0), as every explorer shows it.
GENESIS = (
    "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e"
    "67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c0101000000010000000000000000000"
    "000000000000000000000000000000000000000000000ffffffff4d04ffff001d0104455468652054696d65732030332"
    "f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f66207365636f6e64206261696c6f7574206"
    "66f722062616e6b73ffffffff0100f2052a01000000434104678afdb0fe5548271967f1a67130b7105cd6a828e03909a"
    "67962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac00000000"
)
GENESIS_HASH = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"


def test_the_first_block_reads_as_the_world_knows_it() -> None:
    block = parse_block(bytes.fromhex(GENESIS))
    assert str(block.hash) == GENESIS_HASH
    assert block.serialize().hex() == GENESIS
    assert block_merkle_root(block.transactions) == block.header.merkle_root
    assert meets_target(block.hash, block.header.bits)
    assert (block.size, block.weight) == (285, 1140)
    assert witness_commitment(block.transactions[0]) is None
    assert difficulty_of(block.header.bits) == 1.0


def test_regtest_genesis_differs_only_in_its_header() -> None:
    header = parse_block(bytes.fromhex(GENESIS)).header
    regtest = BlockHeader(1, header.previous, header.merkle_root, 1296688602, REGTEST_BITS, 2)
    assert regtest.hash == REGTEST_GENESIS_HASH
    assert work_of(REGTEST_BITS) == 2
    assert difficulty_of(REGTEST_BITS) == pytest.approx(4.656542373906925e-10)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_block_with_these_bytes_or_refused(data: bytes) -> None:
    with contextlib.suppress(MalformedBlockError):
        assert parse_block(data).serialize() == data


@given(st.data())
def test_a_cut_or_longer_block_is_refused(data: st.DataObject) -> None:
    whole = bytes.fromhex(GENESIS)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(MalformedBlockError):
        parse_block(whole[:cut])
    with pytest.raises(MalformedBlockError, match="bytes follow"):
        parse_block(whole + b"\x00" * (cut + 1))
    with pytest.raises(MalformedBlockError, match="not 80"):
        parse_header(whole[:79])


@pytest.mark.parametrize(
    ("bits", "target"),
    [
        (0x1D00FFFF, 0xFFFF << 208),
        (0x03123456, 0x123456),
        (0x01120000, 0x12),
        (0x04923456, 0),
        (0xFF123456, 0),
    ],
)
def test_compact_targets(bits: int, target: int) -> None:
    assert target_of(bits) == target


def test_an_odd_leaf_counts_twice() -> None:
    leaves = [bytes([number]) * 32 for number in range(3)]
    assert merkle_root(leaves) == merkle_root([*leaves, leaves[2]])
    assert merkle_root(leaves[:1]) == leaves[0]
    assert merkle_root([]) == bytes(32)


def test_the_commitment_of_a_block_is_found_in_its_coinbase() -> None:
    spend = Transaction(
        2, (TxInput(Outpoint(Txid(b"\x01" * 32), 0), witness=(b"x",)),), (TxOutput(1, b"\x51"),)
    )
    bare = Transaction(
        2, (TxInput(NULL_OUTPOINT, b"\x51\x51", witness=(bytes(32),)),), (TxOutput(1, b"\x51"),)
    )
    script = witness_commitment_script([bare, spend])
    coinbase = Transaction(2, bare.inputs, (*bare.outputs, TxOutput(0, script)))
    assert witness_commitment(coinbase) == script[6:]
    header = BlockHeader(4, BlockHash(bytes(32)), block_merkle_root([coinbase, spend]), 1, REGTEST_BITS, 0)
    block = Block(header, (coinbase, spend))
    assert parse_block(block.serialize()) == block

"""Proofs of inclusion against a chain of headers, and the transactions that pretend to be a tree."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.bitcoin.block import Block, BlockHeader, block_merkle_root, meets_target
from anya_actors.domain.bitcoin.hashes import BlockHash, Txid
from anya_actors.domain.bitcoin.header_chain import GENESIS, HeaderChain, UnknownHeaderError
from anya_actors.domain.bitcoin.merkle_proof import MerkleBranch, MerkleProofError
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.spv import InclusionProof, make_inclusion_proof, parse_inclusion_proof
from anya_actors.domain.bitcoin.transaction import (
    NULL_OUTPOINT,
    Outpoint,
    Transaction,
    TxInput,
    TxOutput,
    parse_transaction,
)
from anya_actors.domain.bitcoin.wire import sha256d

NOW_S = 1_800_000_000
COINBASE = Transaction(
    2, (TxInput(NULL_OUTPOINT, b"\x51\x51", witness=(bytes(32),)),), (TxOutput(1, b"\x51"),)
)


def payment(at: int) -> Transaction:
    spent = TxInput(Outpoint(Txid(sha256d(b"%d" % at)), at), witness=(b"signature",))
    return Transaction(2, (spent,), (TxOutput(at, b"\x51"), TxOutput(1, b"\x52")))


def mined(transactions: tuple[Transaction, ...], root: bytes | None = None) -> Block:
    root = block_merkle_root(transactions) if root is None else root
    parent, nonce = GENESIS[Network.REGTEST].header, 0
    while True:
        header = BlockHeader(4, parent.hash, root, parent.time_s + 600, 0x207FFFFF, nonce)
        if meets_target(header.hash, header.bits):
            return Block(header, transactions)
        nonce += 1


def chain_with(block: Block) -> HeaderChain:
    chain = HeaderChain(Network.REGTEST)
    chain.extend([block.header], now_s=NOW_S)
    return chain


@given(st.integers(0, 12), st.data())
def test_every_transaction_of_a_block_is_proved(payments: int, data: st.DataObject) -> None:
    block = mined((COINBASE, *map(payment, range(payments))))
    index = data.draw(st.integers(0, payments))
    proof = parse_inclusion_proof(make_inclusion_proof(block, index).serialize())
    found = proof.verify(chain_with(block))
    assert (found.block_hash, found.height, found.index, found.confirmations) == (block.hash, 1, index, 1)
    assert proof.transaction == block.transactions[index]


def test_a_proof_needs_its_block_in_the_chain_and_deep_enough() -> None:
    block = mined((COINBASE, payment(1)))
    proof = make_inclusion_proof(block, 1)
    with pytest.raises(UnknownHeaderError):
        proof.verify(HeaderChain(Network.REGTEST))
    with pytest.raises(MerkleProofError, match="confirmations"):
        proof.verify(chain_with(block), confirmations=2)


def test_another_transaction_or_coinbase_is_not_proved() -> None:
    proof = make_inclusion_proof(mined((COINBASE, payment(1), payment(2))), 1)
    other = Transaction(1, COINBASE.inputs, COINBASE.outputs)
    for forged in (
        replace(proof, transaction=payment(3)),
        replace(proof, coinbase=other),
        replace(proof, coinbase=proof.transaction, coinbase_branch=proof.branch),
        replace(proof, coinbase_branch=MerkleBranch(0, proof.coinbase_branch.hashes[:-1])),
        replace(proof, branch=replace(proof.branch, index=2)),
    ):
        with pytest.raises(MerkleProofError):
            forged.verify_inclusion()


def test_a_transaction_of_64_bytes_cannot_pass_for_an_inner_node() -> None:
    # The attacker gets a 64-byte transaction mined, whose last 32 bytes are the txid of a payment
    # that never was: one more step of the branch "proves" that payment.
    never = payment(9)
    body = bytes(32) + never.txid
    inner = sha256d(body)
    root = sha256d(COINBASE.txid + inner)
    block = mined((COINBASE,), root)
    forged = InclusionProof(
        block.header,
        never,
        MerkleBranch(3, (body[:32], bytes(COINBASE.txid))),
        COINBASE,
        MerkleBranch(0, (inner,)),
    )
    forged.branch.verify(never.txid, root)
    with pytest.raises(MerkleProofError, match="depth"):
        forged.verify(chain_with(block))


def test_an_inner_node_cannot_pass_for_a_transaction() -> None:
    shape = Transaction(2, (TxInput(Outpoint(Txid(bytes(32)), 0), b""),), (TxOutput(0, b"\x51" * 4),))
    assert len(shape.serialize_stripped()) == 64
    block = mined((COINBASE, shape))
    proof = make_inclusion_proof(block, 1)
    proof.branch.verify(shape.txid, block.header.merkle_root)
    with pytest.raises(MerkleProofError, match="64 bytes"):
        proof.verify_inclusion()
    assert parse_transaction(shape.serialize()) == shape


def test_a_block_of_one_transaction_is_proved_by_its_coinbase() -> None:
    block = mined((COINBASE,))
    assert make_inclusion_proof(block, 0).verify(chain_with(block)).index == 0
    with pytest.raises(MerkleProofError):
        make_inclusion_proof(block, 1)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_proof_or_refused(data: bytes) -> None:
    try:
        proof = parse_inclusion_proof(data)
    except MerkleProofError:
        return
    assert parse_inclusion_proof(proof.serialize()).serialize() == proof.serialize()


@given(st.integers(0, 500), st.binary(min_size=1, max_size=4))
def test_a_damaged_proof_proves_nothing_false(at: int, damage: bytes) -> None:
    block = mined((COINBASE, payment(1), payment(2)))
    data = bytearray(make_inclusion_proof(block, 2).serialize())
    data[at : at + len(damage)] = damage
    try:
        proof = parse_inclusion_proof(bytes(data))
        found = proof.verify(chain_with(block))
    except (MerkleProofError, UnknownHeaderError):
        return
    assert proof.transaction.txid == block.transactions[found.index].txid
    assert found.block_hash == BlockHash(block.hash)

"""Merkle blocks, partial trees and inclusion proofs: read back alike, and never a transaction not there."""

from __future__ import annotations

import contextlib

import atheris

with atheris.instrument_imports(include=["anya_actors.domain"]):
    from anya_actors.domain.bitcoin.block import parse_block
    from anya_actors.domain.bitcoin.merkle_proof import (
        MerkleBlock,
        MerkleProofError,
        make_partial_tree,
        parse_merkle_block,
        parse_partial_tree,
    )
    from anya_actors.domain.bitcoin.spv import make_inclusion_proof, parse_inclusion_proof

from fuzz.engine import run, vector_strings


def demand(holds: bool) -> None:
    if not holds:
        raise AssertionError


def one_input(data: bytes) -> None:
    with contextlib.suppress(MerkleProofError):
        tree = parse_partial_tree(data)
        demand(parse_partial_tree(tree.serialize()).serialize() == tree.serialize())
        demand(len({place for place, _ in tree.matches}) == len(tree.matches) <= tree.transactions)
        demand(len(tree.root) == 32)
    with contextlib.suppress(MerkleProofError):
        block = parse_merkle_block(data)
        block.verify()
    with contextlib.suppress(MerkleProofError):
        proof = parse_inclusion_proof(data)
        demand(parse_inclusion_proof(proof.serialize()).serialize() == proof.serialize())
        proof.verify_inclusion()


def seeds() -> list[bytes]:
    found = []
    for text in vector_strings("bip158_testnet19"):
        if len(text) > 160 and set(text) <= set("0123456789abcdef"):
            with contextlib.suppress(Exception):
                block = parse_block(bytes.fromhex(text))
                txids = [transaction.txid for transaction in block.transactions]
                tree = make_partial_tree(txids, {txids[-1]})
                found += [tree.serialize(), MerkleBlock(block.header, tree).serialize()]
                found.append(make_inclusion_proof(block, len(txids) - 1).serialize())
    return found


if __name__ == "__main__":
    run(one_input, seeds())

"""The basic filters of real blocks (BIP158, testnet-19.json)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anya_actors.domain.bitcoin.block import block_merkle_root, parse_block
from anya_actors.domain.bitcoin.block_filters import (
    basic_filter,
    filter_elements,
    filter_header,
    filter_key,
    matches_any,
)
from anya_actors.domain.bitcoin.merkle_proof import make_partial_tree
from anya_actors.domain.bitcoin.spv import make_inclusion_proof


def test_filters_of_real_blocks_are_those_of_the_vectors(vectors: Callable[[str], Any]) -> None:
    for height, block_hash, data, spent, previous, encoded, header, notes in vectors("bip158_testnet19.json")[
        1:
    ]:
        block = parse_block(bytes.fromhex(data))
        scripts = [bytes.fromhex(script) for script in spent]
        assert str(block.hash) == block_hash, (height, notes)
        built = basic_filter(block, scripts)
        assert built.hex() == encoded, (height, notes)
        assert filter_header(built, bytes.fromhex(previous)[::-1])[::-1].hex() == header
        for element in filter_elements(block, scripts):
            assert matches_any(built, filter_key(block.hash), [element])
        assert not matches_any(built, filter_key(block.hash), [b"no script of this block"])


def test_every_transaction_of_real_blocks_is_proved(vectors: Callable[[str], Any]) -> None:
    for _, _, data, *_ in vectors("bip158_testnet19.json")[1:]:
        block = parse_block(bytes.fromhex(data))
        txids = [transaction.txid for transaction in block.transactions]
        assert block_merkle_root(block.transactions) == block.header.merkle_root
        for index, txid in enumerate(txids):
            make_inclusion_proof(block, index).verify_inclusion()
            assert make_partial_tree(txids, {txid}).root == block.header.merkle_root

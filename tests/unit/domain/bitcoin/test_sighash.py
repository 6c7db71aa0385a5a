"""What signatures sign, and taproot's trees: Core's and BIP341's vectors."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest

from anya_actors.domain.bitcoin.address import encode_address
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.sighash import (
    Sighash,
    SighashError,
    legacy_sighash,
    segwit_v0_sighash,
    taproot_key_path_sighash,
    taproot_script_path_sighash,
)
from anya_actors.domain.bitcoin.taproot import (
    TapLeaf,
    TaprootError,
    build_tree,
    control_block,
    leaf_hash,
    merkle_root_of,
    output_of,
    tweak,
    verify_script_path,
)
from anya_actors.domain.bitcoin.transaction import Transaction, TxOutput, parse_transaction_hex

Vectors = Callable[[str], Any]

# BIP143, the unsigned transaction of "Native P2WPKH" and the digest of its second input.
NATIVE = (
    "0100000002fff7f7881a8099afa6940d42d1e7f6362bec38171ea3edf433541db4e4ad969f0000000000eeffffff"
    "ef51e1b804cc89d182d279655c3aa89e815b1b309fe287d9b2b55d57b90ec68a0100000000ffffffff02202cb206"
    "000000001976a9148280b37df378db99f66f85c95a783a76ac7a6d5988ac9093510d000000001976a9143bde42db"
    "ee7e4dbe6a21b2d50ce2f0167faa815988ac11000000"
)
NATIVE_CODE = bytes.fromhex("76a9141d0f172a0ecb48aee1be1f2687d2963ae33f71a188ac")
NATIVE_DIGEST = "c37af31116d1b27caf68aae9e3ac82f1477929014d5b917657d0eb49478cb670"


def test_legacy_digests_are_those_of_core(vectors: Vectors) -> None:
    for raw, script, index, kind, digest in vectors("core_sighash.json")[1:]:
        found = legacy_sighash(parse_transaction_hex(raw), index, bytes.fromhex(script), kind)
        assert found[::-1].hex() == digest


def test_a_single_signature_without_its_output_signs_the_number_one() -> None:
    transaction = parse_transaction_hex(NATIVE)
    alone = Transaction(1, transaction.inputs, transaction.outputs[:1])
    assert legacy_sighash(alone, 1, b"", Sighash.SINGLE) == b"\x01" + bytes(31)


def test_the_digest_of_a_witness_program_is_that_of_bip143() -> None:
    found = segwit_v0_sighash(parse_transaction_hex(NATIVE), 1, NATIVE_CODE, 600_000_000)
    assert found.hex() == NATIVE_DIGEST


def leaves_of(tree: Any, depth: int = 0) -> list[TapLeaf]:
    if tree is None:
        return []
    if isinstance(tree, dict):
        return [TapLeaf(bytes.fromhex(tree["script"]), tree["leafVersion"], depth)]
    return [leaf for branch in tree for leaf in leaves_of(branch, depth + 1)]


def test_outputs_and_control_blocks_are_those_of_bip341(vectors: Vectors) -> None:
    for case in vectors("bip341_wallet.json")["scriptPubKey"]:
        internal_key = bytes.fromhex(case["given"]["internalPubkey"])
        leaves = leaves_of(case["given"]["scriptTree"])
        root = b""
        if leaves:
            tree = build_tree(leaves)
            root = tree.merkle_root
            assert [leaf.leaf_hash.hex() for leaf in leaves] == case["intermediary"]["leafHashes"]
            blocks = [control_block(internal_key, tree, number) for number in range(len(leaves))]
            assert [block.hex() for block in blocks] == case["expected"]["scriptPathControlBlocks"]
            for leaf, block in zip(leaves, blocks, strict=True):
                assert merkle_root_of(block, leaf.script) == root
                verify_script_path(output_of(internal_key, root).key, block, leaf.script)
                with pytest.raises(TaprootError):
                    verify_script_path(output_of(internal_key).key, block, leaf.script)
        assert (root.hex() or None) == case["intermediary"]["merkleRoot"]
        assert tweak(internal_key, root).hex() == case["intermediary"]["tweak"]
        output = output_of(internal_key, root)
        assert output.key.hex() == case["intermediary"]["tweakedPubkey"]
        assert output.script_pubkey.hex() == case["expected"]["scriptPubKey"]
        assert encode_address(output.script_pubkey, Network.MAINNET) == case["expected"]["bip350Address"]


def test_key_path_digests_are_those_of_bip341(vectors: Vectors) -> None:
    for case in vectors("bip341_wallet.json")["keyPathSpending"]:
        transaction = parse_transaction_hex(case["given"]["rawUnsignedTx"])
        spent = [
            TxOutput(each["amountSats"], bytes.fromhex(each["scriptPubKey"]))
            for each in case["given"]["utxosSpent"]
        ]
        for spending in case["inputSpending"]:
            given = spending["given"]
            digest = taproot_key_path_sighash(transaction, given["txinIndex"], spent, given["hashType"])
            assert digest.hex() == spending["intermediary"]["sigHash"]


def test_annex_leaf_and_code_separator_are_signed() -> None:
    transaction = parse_transaction_hex(NATIVE)
    spent = [TxOutput(1, b"\x51"), TxOutput(2, b"\x51")]
    leaf = leaf_hash(b"\x51")
    digests = {
        taproot_key_path_sighash(transaction, 0, spent),
        taproot_key_path_sighash(transaction, 0, spent, annex=b"\x50"),
        taproot_script_path_sighash(transaction, 0, spent, leaf),
        taproot_script_path_sighash(transaction, 0, spent, leaf, annex=b"\x50"),
        taproot_script_path_sighash(transaction, 0, spent, leaf, code_separator=0),
    }
    assert len(digests) == 5


@pytest.mark.parametrize("kind", [4, 0x80, 0x84, 256])
def test_taproot_refuses_types_that_do_not_exist(kind: int) -> None:
    with pytest.raises(SighashError):
        taproot_key_path_sighash(parse_transaction_hex(NATIVE), 0, [TxOutput(1, b"")] * 2, kind)


@pytest.mark.parametrize("depths", [[0, 0], [1], [1, 2], [2, 2, 2], [1, 1, 1], [129] * 2, [2, 1, 2]])
def test_depths_that_make_no_tree_are_refused(depths: list[int]) -> None:
    with pytest.raises(TaprootError):
        build_tree([TapLeaf(b"\x51", depth=depth) for depth in depths])


@pytest.mark.parametrize("size", [0, 32, 34, 33 + 32 * 129])
def test_control_blocks_of_other_sizes_are_refused(size: int) -> None:
    with pytest.raises(TaprootError):
        merkle_root_of(bytes(size), b"\x51")


def test_the_errors_survive_the_way_between_processes() -> None:
    for error in (SighashError("a", "b"), TaprootError("a", "b")):
        assert str(pickle.loads(pickle.dumps(error))) == str(error)

"""Merkle branches and partial trees: right ones of any size, and every trick refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.bitcoin.block import BlockHeader, merkle_root
from anya_actors.domain.bitcoin.hashes import BlockHash, Txid
from anya_actors.domain.bitcoin.merkle_proof import (
    MAX_TRANSACTIONS,
    MerkleBlock,
    MerkleBranch,
    MerkleProofError,
    PartialMerkleTree,
    make_branch,
    make_partial_tree,
    parse_merkle_block,
    parse_partial_tree,
)
from anya_actors.domain.bitcoin.wire import sha256d

from .conftest import FOLDER


def txids_of(count: int) -> list[Txid]:
    return [Txid(sha256d(b"%d" % at)) for at in range(count)]


@given(st.integers(1, 70), st.data())
def test_a_branch_leads_from_its_transaction_to_the_root(count: int, data: st.DataObject) -> None:
    txids = txids_of(count)
    index = data.draw(st.integers(0, count - 1))
    branch = make_branch(txids, index)
    branch.verify(txids[index], merkle_root(txids))
    with pytest.raises(MerkleProofError):
        branch.verify(sha256d(txids[index]), merkle_root(txids))
    with pytest.raises(MerkleProofError):
        replace(branch, index=index + (1 << branch.depth)).verify(txids[index], merkle_root(txids))


@given(st.integers(1, 70), st.data())
def test_a_partial_tree_shows_what_it_was_made_for(count: int, data: st.DataObject) -> None:
    txids = txids_of(count)
    places = data.draw(st.sets(st.integers(0, count - 1)))
    tree = make_partial_tree(txids, {txids[place] for place in places})
    again = parse_partial_tree(tree.serialize())
    assert again.serialize() == tree.serialize()
    assert again.root == merkle_root(txids)
    assert again.matches == tuple((place, txids[place]) for place in sorted(places))


def test_a_place_the_block_does_not_have_has_no_branch() -> None:
    for txids, index in (([], 0), (txids_of(3), 3), (txids_of(3), -1)):
        with pytest.raises(MerkleProofError):
            make_branch(txids, index)
    with pytest.raises(MerkleProofError):
        make_partial_tree([], set())


def test_the_doubled_last_transaction_is_proved_at_one_place_only() -> None:
    txids = txids_of(3)
    root = merkle_root(txids)
    branch = make_branch(txids, 2)
    branch.verify(txids[2], root)
    with pytest.raises(MerkleProofError, match="CVE-2012-2459"):
        replace(branch, index=3).verify(txids[2], root)


def test_a_tree_with_two_equal_branches_is_refused() -> None:
    # Four transactions of which the last two are the same have the root of three.
    txids = txids_of(3)
    forged = make_partial_tree([*txids, txids[2]], {txids[2]})
    with pytest.raises(MerkleProofError, match="CVE-2012-2459"):
        _ = forged.root


def test_broken_branches_are_refused() -> None:
    txids = txids_of(4)
    branch = make_branch(txids, 1)
    for broken in (
        MerkleBranch(-1, branch.hashes),
        MerkleBranch(1, (b"short", *branch.hashes[1:])),
        MerkleBranch(0, (bytes(32),) * 40),
        MerkleBranch(1, ()),
    ):
        with pytest.raises(MerkleProofError):
            broken.verify(txids[1], merkle_root(txids))


TREE = make_partial_tree(txids_of(7), {txids_of(7)[3]})


@pytest.mark.parametrize(
    "broken",
    [
        replace(TREE, transactions=0),
        replace(TREE, transactions=MAX_TRANSACTIONS + 1),
        replace(TREE, transactions=70),
        replace(TREE, hashes=TREE.hashes[:-1]),
        replace(TREE, hashes=(*TREE.hashes, bytes(32))),
        replace(TREE, bits=TREE.bits[:3]),
        replace(TREE, bits=(*TREE.bits, *[False] * 16)),
        replace(TREE, bits=()),
        PartialMerkleTree(1, (), (True,)),
    ],
)
def test_broken_trees_are_refused(broken: PartialMerkleTree) -> None:
    with pytest.raises(MerkleProofError):
        _ = broken.matches


@given(st.binary(max_size=300))
def test_any_bytes_are_a_tree_or_refused(data: bytes) -> None:
    try:
        tree = parse_partial_tree(data)
    except MerkleProofError:
        return
    assert parse_partial_tree(tree.serialize()) == tree


@given(st.integers(1, 20), st.binary(min_size=1, max_size=8), st.integers(0, 400))
def test_damaged_trees_prove_nothing_else(count: int, damage: bytes, at: int) -> None:
    txids = txids_of(count)
    data = bytearray(make_partial_tree(txids, {txids[0]}).serialize())
    data[at : at + len(damage)] = damage
    try:
        tree = parse_partial_tree(bytes(data))
        root, matches = tree.root, tree.matches
    except MerkleProofError:
        return
    if root == merkle_root(txids) and tree.transactions == count:
        assert set(matches) <= set(enumerate(txids))


def header(root: bytes) -> BlockHeader:
    return BlockHeader(1, BlockHash(bytes(32)), root, 0, 0x207FFFFF, 0)


def test_a_merkle_block_binds_its_tree_to_its_header() -> None:
    block = MerkleBlock(header(TREE.root), TREE)
    again = parse_merkle_block(block.serialize())
    assert again.verify() == ((3, txids_of(7)[3]),)
    assert again == parse_merkle_block(again.serialize())
    with pytest.raises(MerkleProofError, match="another merkle root"):
        MerkleBlock(header(bytes(32)), TREE).verify()
    for data in (b"", block.serialize()[:-1], block.serialize() + b"\x00", block.serialize()[:79]):
        with pytest.raises(MerkleProofError):
            parse_merkle_block(data).verify()


# rskj's own tests, as in vectors/rsk/partial_merkle_trees.json.
RSKJ_TREE = (
    "030000000279e7c0da739df8a00f12c0bff55e5438f530aa5859ff9874258cd7bad3fe709746aff897e6a851faa80120d6ae99db"
    "30883699ac0428fc7192d6c3fec0ca6409010d"
)


def test_a_tree_made_by_others_is_read() -> None:
    tree = parse_partial_tree(bytes.fromhex(RSKJ_TREE))
    assert tree.root[::-1].hex() == "f921c29378d1379d63aee9f87446a0211d963cf6c742465c41ea2fe945f3aa08"
    assert [(place, str(txid)) for place, txid in tree.matches] == [
        (2, "0964cac0fec3d69271fc2804ac99368830db99aed62001a8fa51a8e697f8af46")
    ]


def test_rsks_trees_are_read_and_made_alike() -> None:
    path = FOLDER / "rsk" / "partial_merkle_trees.json"
    if not path.exists():
        pytest.skip(f"no vectors {path.name}; set ANYA_VECTORS")
    for vector in json.loads(path.read_text())["vectors"]:
        data = bytes.fromhex(vector["pmt"])
        if not vector["valid"]:
            with pytest.raises(MerkleProofError):
                _ = parse_partial_tree(data).root
            continue
        tree = parse_partial_tree(data)
        assert tree.transactions == vector["n_tx"]
        assert tree.root[::-1].hex() == vector["merkle_root"], vector["id"]
        assert [{"pos": place, "txid": str(txid)} for place, txid in tree.matches] == vector["matched"]
        if vector["id"].startswith("pmt-gen-"):
            count = vector["n_tx"]
            txids = [sha256d(f"pmt-{count}-{at}".encode()) for at in range(count)]
            assert make_partial_tree(txids, {txid for _, txid in tree.matches}).serialize() == data

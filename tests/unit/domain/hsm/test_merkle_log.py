"""The log's Merkle tree, with the values of Certificate Transparency's own tests."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.hsm.merkle_log import (
    EMPTY_ROOT,
    InvalidLogProofError,
    MerkleTree,
    consistency_ranges,
    inclusion_ranges,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)

# google/certificate-transparency, merkletree/merkle_tree_test.cc: inputs, and the root after each.
INPUTS = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [leaf_hash(bytes([number])) for number in range(70)]
SIZES = list(range(1, 40))


def naive_root(leaves: list[bytes]) -> bytes:
    """MTH as RFC 6962 defines it."""
    if len(leaves) == 1:
        return leaves[0]
    middle = 1
    while 2 * middle < len(leaves):
        middle *= 2
    return node_hash(naive_root(leaves[:middle]), naive_root(leaves[middle:]))


def inclusion(index: int, size: int) -> list[bytes]:
    return [naive_root(LEAVES[begin:end]) for begin, end in inclusion_ranges(index, size)]


def consistency(first: int, second: int) -> list[bytes]:
    return [naive_root(LEAVES[begin:end]) for begin, end in consistency_ranges(first, second)]


def test_the_roots_are_those_of_certificate_transparency() -> None:
    tree = MerkleTree()
    assert tree.root == EMPTY_ROOT
    for text, root in zip(INPUTS, ROOTS, strict=True):
        tree = tree.grow([leaf_hash(bytes.fromhex(text))])
        assert tree.root.hex() == root


def test_the_paths_are_those_of_certificate_transparency() -> None:
    leaves = [leaf_hash(bytes.fromhex(text)) for text in INPUTS]
    path = [naive_root(leaves[begin:end]).hex() for begin, end in inclusion_ranges(0, 8)]
    # Same source, path of leaf 1 (counted from 1) in the tree of 8.
    assert path == [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]


@given(st.lists(st.binary(max_size=4), max_size=70), st.integers(0, 70))
def test_a_tree_grows_the_same_in_any_pieces(data: list[bytes], cut: int) -> None:
    leaves = [leaf_hash(one) for one in data]
    tree = MerkleTree().grow(leaves[:cut]).grow(leaves[cut:])
    assert tree.size == len(leaves)
    assert tree.root == (naive_root(leaves) if leaves else EMPTY_ROOT)
    assert root_of(leaves) == tree.root


def test_subtrees_of_one_size_stand_for_their_leaves() -> None:
    for size in SIZES:
        chunks = [naive_root(LEAVES[at : min(at + 8, size)]) for at in range(0, size, 8)]
        assert root_of(chunks) == naive_root(LEAVES[:size])


@pytest.mark.parametrize("size", SIZES)
def test_every_leaf_is_proved_and_no_other_in_its_place(size: int) -> None:
    root = naive_root(LEAVES[:size])
    for index in range(size):
        path = inclusion(index, size)
        verify_inclusion(LEAVES[index], index, size, path, root)
        for wrong in (
            (LEAVES[69], index, size, path, root),
            (LEAVES[index], index, size, path, LEAVES[69]),
            (LEAVES[index], index, size, [*path, LEAVES[69]], root),
            (LEAVES[index], size, size, path, root),
            (LEAVES[index], -1, size, path, root),
            *([(LEAVES[index], index, size, path[:-1], root)] if path else []),
            *((LEAVES[index], other, size, path, root) for other in range(size) if other != index),
        ):
            with pytest.raises(InvalidLogProofError):
                verify_inclusion(*wrong)


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations_with_replacement(SIZES[:20], 2)))
def test_an_older_root_is_proved_to_be_a_beginning(first: int, second: int) -> None:
    old, new, path = naive_root(LEAVES[:first]), naive_root(LEAVES[:second]), consistency(first, second)
    verify_consistency(first, second, old, new, path)
    wrongs = [
        (first, second, LEAVES[69], new, path),
        (first, second, old, LEAVES[69], path),
        (first, second, old, new, [*path, LEAVES[69]]),
        (second + 1, second, old, new, path),
        (0, second, old, new, path),
    ]
    if path:
        wrongs.append((first, second, old, new, path[:-1]))
    for wrong in wrongs:
        with pytest.raises(InvalidLogProofError):
            verify_consistency(*wrong)


@given(
    st.integers(-1, 40),
    st.integers(0, 40),
    st.lists(st.binary(min_size=32, max_size=32), max_size=8),
)
def test_what_is_no_proof_is_refused(index: int, size: int, path: list[bytes]) -> None:
    with pytest.raises(InvalidLogProofError):
        verify_inclusion(b"\x05" * 32, index, size, path, b"\x06" * 32)
    with pytest.raises(InvalidLogProofError):
        verify_consistency(index, size, b"\x05" * 32, b"\x06" * 32, path)

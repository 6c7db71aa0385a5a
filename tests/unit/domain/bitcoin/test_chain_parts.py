"""The tree of blocks, the index of coins and the making of blocks."""

from __future__ import annotations

import pytest

from anya_actors.domain.bitcoin.amount import COIN_SAT
from anya_actors.domain.bitcoin.block import (
    REGTEST_BITS,
    REGTEST_GENESIS_HASH,
    Block,
    block_merkle_root,
    meets_target,
)
from anya_actors.domain.bitcoin.block_tree import BlockNode, BlockTree
from anya_actors.domain.bitcoin.coin import Coin
from anya_actors.domain.bitcoin.coin_index import scripthash
from anya_actors.domain.bitcoin.genesis import REGTEST_GENESIS
from anya_actors.domain.bitcoin.hashes import BlockHash
from anya_actors.domain.bitcoin.mining import block_subsidy_sat, coinbase_transaction, solve, unsolved_block
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.script import p2wpkh_script
from anya_actors.domain.bitcoin.transaction import Transaction

ALICE, BOB = p2wpkh_script(b"\xaa" * 20), p2wpkh_script(b"\xbb" * 20)
ALICE_HASH, BOB_HASH = scripthash(ALICE), scripthash(BOB)


def _tree() -> BlockTree:
    return BlockTree(BlockNode(REGTEST_GENESIS.header, None, transactions=1, size=285, position=-1))


def _block(previous: BlockHash, height: int, *others: Transaction, mark: int = 0) -> Block:
    coinbase = coinbase_transaction(height, ALICE, 50 * COIN_SAT, others, bytes([mark]))
    solved = solve(unsolved_block(previous, 1_296_688_602 + height, REGTEST_BITS, (coinbase, *others)))
    assert solved is not None
    return solved


def _add(tree: BlockTree, block: Block) -> BlockNode:
    position = len(tree.nodes)
    return tree.add(block.header, transactions=len(block.transactions), size=block.size, position=position)


def _branch(tree: BlockTree, start: BlockNode, blocks: int, mark: int = 0) -> list[BlockNode]:
    nodes = [start]
    for _ in range(blocks):
        nodes.append(_add(tree, _block(nodes[-1].hash, nodes[-1].height + 1, mark=mark)))
    return nodes[1:]


def test_the_genesis_block_is_the_one_everybody_has() -> None:
    assert REGTEST_GENESIS.hash == REGTEST_GENESIS_HASH
    assert block_merkle_root(REGTEST_GENESIS.transactions) == REGTEST_GENESIS.header.merkle_root
    assert REGTEST_GENESIS.size == 285


def test_the_way_from_one_branch_to_another() -> None:
    tree = _tree()
    left = _branch(tree, tree.tip, 3)
    right = _branch(tree, left[0], 3, mark=1)
    for node in left:
        tree.push(node)
    away, ahead = tree.path_to(right[-1])
    assert (away, ahead) == ([left[2], left[1]], right)
    assert tree.path_to(left[2]) == ([], [])
    assert {node.hash for node in tree.tips()} == {left[2].hash, right[2].hash}
    assert tree.child_on_active(left[0]) is left[1]
    assert tree.child_on_active(right[0]) is None
    assert right[2].work == 2 * 5
    with pytest.raises(ValueError, match="only to its parent"):
        tree.push(right[2])
    for _ in left:
        tree.pop()
    with pytest.raises(ValueError, match="genesis"):
        tree.pop()
    with pytest.raises(KeyError):
        tree.add(_block(BlockHash(bytes(32)), 1).header, transactions=1, size=1, position=9)


def test_an_invalidated_block_takes_its_descendants_along() -> None:
    tree = _tree()
    left = _branch(tree, tree.tip, 3)
    right = _branch(tree, left[0], 1, mark=1)
    tree.invalidated.add(left[1].hash)
    assert tree.not_invalidated() == [left[0], right[0]]
    assert [tree.is_invalidated(node) for node in left] == [False, True, True]


def test_the_median_time_is_of_eleven_blocks() -> None:
    tree = _tree()
    nodes = _branch(tree, tree.tip, 12)
    assert nodes[-1].median_time_past_s() == nodes[6].header.time_s
    assert nodes[0].median_time_past_s() == nodes[0].header.time_s


def test_a_coinbase_matures() -> None:
    coin = Coin(1, ALICE, 10, True)
    assert not coin.is_mature_at(109)
    assert coin.is_mature_at(110)
    assert Coin(1, ALICE, 10, False).is_mature_at(11)


@pytest.mark.parametrize(
    ("height", "subsidy"), [(0, 50 * COIN_SAT), (149, 50 * COIN_SAT), (150, 25 * COIN_SAT)]
)
def test_the_subsidy_halves_every_150_blocks_on_regtest(height: int, subsidy: int) -> None:
    assert block_subsidy_sat(height, Network.REGTEST) == subsidy
    assert block_subsidy_sat(150 * 64, Network.REGTEST) == 0
    assert block_subsidy_sat(209_999, Network.MAINNET) == 50 * COIN_SAT


def test_a_solved_block_meets_its_target_and_tries_are_bounded() -> None:
    block = _block(REGTEST_GENESIS_HASH, 1)
    assert meets_target(block.hash, REGTEST_BITS)
    hard = unsolved_block(block.hash, 1, 0x1D00FFFF, block.transactions)
    assert solve(hard, tries=10) is None

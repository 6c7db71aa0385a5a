"""The indexes against blocks, and against a model too simple to be wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anya_actors.adapters.memory.chain_index import MemoryChainIndex
from anya_actors.domain.bitcoin.amount import COIN_SAT
from anya_actors.domain.bitcoin.block import REGTEST_BITS, REGTEST_GENESIS_HASH, Block, BlockHeader
from anya_actors.domain.bitcoin.block_filters import encode_set, filter_header, filter_key
from anya_actors.domain.bitcoin.coin import Coin
from anya_actors.domain.bitcoin.coin_index import MARK_KEY, VERSION, Mark, Spend, Touch, scripthash
from anya_actors.domain.bitcoin.hashes import BlockHash
from anya_actors.domain.bitcoin.index_changes import IndexDamagedError
from anya_actors.domain.bitcoin.mining import coinbase_transaction
from anya_actors.domain.bitcoin.script import null_data_script, p2wpkh_script
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxInput, TxOutput
from anya_actors.services.bitcoin_node.chain_index import ChainIndex

ALICE, BOB = p2wpkh_script(b"\xaa" * 20), p2wpkh_script(b"\xbb" * 20)
ALICE_HASH, BOB_HASH = scripthash(ALICE), scripthash(BOB)
SCRIPTS = [ALICE, BOB, b"", b"\x51", null_data_script(b"data"), b"\x51" * 10_001]


def _index() -> ChainIndex:
    return ChainIndex(MemoryChainIndex())


def _connect(index: ChainIndex, block: Block) -> None:
    index.apply(index.prepare_connect(block))


def _disconnect(index: ChainIndex, block: Block) -> None:
    index.apply(index.prepare_disconnect(block))


def _block(previous: BlockHash, height: int, *others: Transaction, script: bytes = ALICE) -> Block:
    # The indexes take what the engine has judged: its proof of work is not looked at again.
    coinbase = coinbase_transaction(height, script, 50 * COIN_SAT, others)
    header = BlockHeader(4, previous, bytes(32), 1_296_688_602 + height, REGTEST_BITS, height)
    return Block(header, (coinbase, *others))


def test_the_indexes_follow_a_block_and_forget_it() -> None:
    index = _index()
    first = _block(REGTEST_GENESIS_HASH, 1)
    coinbase = first.transactions[0]
    _connect(index, first)
    after_first = (list(index.coins()), index.total_sat, index.history(ALICE_HASH))
    assert index.history(ALICE_HASH) == [Touch(coinbase.txid, 1, 0)]
    outputs = (TxOutput(COIN_SAT, BOB), TxOutput(0, null_data_script(b"x")), TxOutput(COIN_SAT, ALICE))
    spend = Transaction(2, (TxInput(Outpoint(coinbase.txid, 0)),), outputs)
    child = Transaction(2, (TxInput(Outpoint(spend.txid, 2)),), (TxOutput(COIN_SAT // 2, BOB),))
    second = _block(first.hash, 2, spend, child)
    _connect(index, second)
    bobs = sorted([Outpoint(spend.txid, 0), Outpoint(child.txid, 0)])
    assert [outpoint for outpoint, _ in index.unspent(BOB_HASH)] == bobs
    assert index.coin(bobs[0]) is not None
    assert index.coin(Outpoint(spend.txid, 1)) is None
    assert index.transaction(child.txid) == (second.hash, 2)
    assert [touch.txid for touch in index.history(ALICE_HASH)] == [
        coinbase.txid,
        second.transactions[0].txid,
        spend.txid,
        child.txid,
    ]
    assert index.spender(Outpoint(coinbase.txid, 0)) == Spend(spend.txid, 0, 2)
    assert index.spender(Outpoint(child.txid, 0)) is None
    _disconnect(index, second)
    assert (list(index.coins()), index.total_sat, index.history(ALICE_HASH)) == after_first
    assert list(index.unspent(BOB_HASH)) == []
    assert list(index.history(BOB_HASH)) == []
    assert index.spender(Outpoint(coinbase.txid, 0)) is None
    assert index.transaction(child.txid) is None


def test_a_blocks_filter_holds_what_it_spends_and_pays_and_follows_its_parents_filter() -> None:
    index = _index()
    first = _block(REGTEST_GENESIS_HASH, 1)
    _connect(index, first)
    spend = Transaction(2, (TxInput(Outpoint(first.transactions[0].txid, 0)),), (TxOutput(COIN_SAT, BOB),))
    second = _block(first.hash, 2, spend)
    _connect(index, second)
    found, before = index.block_filter(second.hash), index.block_filter(first.hash)
    assert found is not None
    assert before is not None
    assert found.filter == encode_set([ALICE, BOB], filter_key(second.hash))
    assert found.header == filter_header(found.filter, before.header)
    genesis = index.block_filter(REGTEST_GENESIS_HASH)
    assert genesis is not None
    assert before.header == filter_header(before.filter, genesis.header)
    assert index.block_filter(BlockHash(bytes(32))) is None


def test_rows_of_another_version_are_begun_anew() -> None:
    store = MemoryChainIndex()
    index = ChainIndex(store)
    _connect(index, _block(REGTEST_GENESIS_HASH, 1))
    assert ChainIndex(store).height == 1
    other = msgspec.msgpack.encode(Mark(VERSION + 1, bytes(index.tip), 1))
    for mark in (other, b"", b"\xff"):
        store.write(store.prepare([(MARK_KEY, mark)], []))
        again = ChainIndex(store)
        assert (again.tip, again.height, again.coin_count) == (REGTEST_GENESIS_HASH, 0, 0)
        assert list(again.coins()) == []


def test_what_does_not_fit_the_rows_is_damage() -> None:
    index = _index()
    first = _block(REGTEST_GENESIS_HASH, 1)
    spend = Transaction(2, (TxInput(Outpoint(first.transactions[0].txid, 0)),), (TxOutput(1, BOB),))
    with pytest.raises(IndexDamagedError, match="not known"):
        index.prepare_connect(_block(REGTEST_GENESIS_HASH, 1, spend))
    with pytest.raises(IndexDamagedError, match="filter"):
        index.prepare_connect(_block(BlockHash(b"\x01" * 32), 1))
    prepared = index.prepare_connect(first)
    index.apply(prepared)
    with pytest.raises(IndexDamagedError, match="another block"):
        index.apply(prepared)
    second = _block(first.hash, 2, spend)
    _connect(index, second)
    again = Transaction(2, spend.inputs, (TxOutput(2, BOB),))
    with pytest.raises(IndexDamagedError, match="spent already"):
        index.prepare_connect(_block(second.hash, 3, again))


@dataclass
class Naive:
    """The answers, found by walking over all blocks each time."""

    blocks: list[Block]

    def transactions(self) -> list[tuple[int, int, Transaction]]:
        return [
            (height, place, transaction)
            for height, block in enumerate(self.blocks, 1)
            for place, transaction in enumerate(block.transactions)
        ]

    def outputs(self) -> dict[Outpoint, Coin]:
        return {
            Outpoint(transaction.txid, at): Coin(output.amount_sat, output.script_pubkey, height, place == 0)
            for height, place, transaction in self.transactions()
            for at, output in enumerate(transaction.outputs)
            if not output.script_pubkey.startswith(b"\x6a") and len(output.script_pubkey) <= 10_000
        }

    def spenders(self) -> dict[Outpoint, Spend]:
        return {
            tx_input.prevout: Spend(transaction.txid, at, height)
            for height, place, transaction in self.transactions()
            if place
            for at, tx_input in enumerate(transaction.inputs)
        }

    def coins(self) -> dict[Outpoint, Coin]:
        spenders = self.spenders()
        return {name: coin for name, coin in self.outputs().items() if name not in spenders}

    def history(self, script: bytes) -> list[Touch]:
        outputs = self.outputs()
        mine = {name for name, coin in outputs.items() if coin.script_pubkey == script}
        return [
            Touch(transaction.txid, height, place)
            for height, place, transaction in self.transactions()
            if any(Outpoint(transaction.txid, at) in mine for at in range(len(transaction.outputs)))
            or any(tx_input.prevout in mine for tx_input in transaction.inputs)
        ]


def _assert_same(index: ChainIndex, naive: Naive, gone: Sequence[Block]) -> None:
    coins, outputs, spenders = naive.coins(), naive.outputs(), naive.spenders()
    assert list(index.coins()) == sorted(coins.items())
    assert index.height == len(naive.blocks)
    assert index.coin_count == len(coins)
    assert index.total_sat == sum(coin.amount_sat for coin in coins.values())
    assert index.bogo_size == sum(50 + len(coin.script_pubkey) for coin in coins.values())
    for name, coin in outputs.items():
        assert index.output(name) == coin
        assert index.coin(name) == coins.get(name)
        assert index.spender(name) == spenders.get(name)
    for height, place, transaction in naive.transactions():
        assert index.transaction(transaction.txid) == (naive.blocks[height - 1].hash, place)
    for script in SCRIPTS:
        assert index.history(scripthash(script)) == naive.history(script)
        mine = [(name, coin) for name, coin in coins.items() if coin.script_pubkey == script]
        assert sorted(index.unspent(scripthash(script))) == sorted(mine)
    for block in naive.blocks:
        spent = [
            tuple(outputs[tx_input.prevout] for tx_input in transaction.inputs)
            for transaction in block.transactions[1:]
        ]
        assert list(index.spent_by(block)) == spent
    known = {transaction.txid for _, _, transaction in naive.transactions()}
    for block in gone:
        assert index.block_filter(block.hash) is not None
        for transaction in block.transactions:
            if transaction.txid not in known:
                assert index.transaction(transaction.txid) is None
                assert index.output(Outpoint(transaction.txid, 0)) is None


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_life_of_a_chain_leaves_what_a_walk_over_its_blocks_finds(data: st.DataObject) -> None:
    index, naive = _index(), Naive([])
    gone: list[Block] = []
    for mark in range(data.draw(st.integers(1, 10), label="steps")):
        if naive.blocks and data.draw(st.integers(0, 3), label="kind") == 0:
            gone.append(naive.blocks.pop())
            _disconnect(index, gone[-1])
        else:
            block = _random_block(data, naive, mark)
            _connect(index, block)
            naive.blocks.append(block)
    _assert_same(index, naive, gone)
    for block in reversed(naive.blocks):
        _disconnect(index, block)
    assert list(index.coins()) == []
    assert (index.tip, index.total_sat, index.bogo_size) == (REGTEST_GENESIS_HASH, 0, 0)


def _random_block(data: st.DataObject, naive: Naive, mark: int) -> Block:
    """Spends what there is, also what its own transactions made."""
    free = {name: coin.amount_sat for name, coin in naive.coins().items()}
    others: list[Transaction] = []
    for number in range(data.draw(st.integers(0, 4), label="transactions")):
        if not free:
            break
        chosen = data.draw(st.sets(st.sampled_from(sorted(free)), min_size=1, max_size=3), label="spent")
        left_sat = sum(free.pop(name) for name in chosen)
        scripts = data.draw(st.lists(st.sampled_from(SCRIPTS), min_size=1, max_size=3), label="scripts")
        outputs = tuple(TxOutput(left_sat // len(scripts), script) for script in scripts)
        made = Transaction(2, tuple(TxInput(name) for name in sorted(chosen)), outputs, 100 * mark + number)
        others.append(made)
        for at, output in enumerate(outputs):
            if not output.script_pubkey.startswith(b"\x6a") and len(output.script_pubkey) <= 10_000:
                free[Outpoint(made.txid, at)] = output.amount_sat
    previous = naive.blocks[-1].hash if naive.blocks else REGTEST_GENESIS_HASH
    coinbase = coinbase_transaction(len(naive.blocks) + 1, data.draw(st.sampled_from(SCRIPTS)), mark, others)
    header = BlockHeader(4, previous, bytes(32), mark, REGTEST_BITS, mark)
    return Block(header, (coinbase, *others))

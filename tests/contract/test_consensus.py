"""What every `ConsensusEngine` promises, over the kernel on disk and with its databases in memory."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from anya_actors.adapters.bitcoinkernel.engine import KernelEngines
from anya_actors.domain.bitcoin.amount import COIN_SAT
from anya_actors.domain.bitcoin.block import REGTEST_BITS, REGTEST_GENESIS_HASH, Block
from anya_actors.domain.bitcoin.coin import Coin
from anya_actors.domain.bitcoin.errors import RejectedTransactionError
from anya_actors.domain.bitcoin.hashes import BlockHash, Txid
from anya_actors.domain.bitcoin.mining import coinbase_transaction, solve, unsolved_block
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxInput, TxOutput
from anya_actors.domain.machine import NotSupportedError
from anya_actors.ports.consensus import (
    ConsensusEngine,
    ConsensusEngines,
    EngineFailedError,
    EngineLockedError,
    Standing,
)

TRUE = b"\x51"
GENESIS_TIME_S = 1296688602


@pytest.fixture(params=["disk", "memory"])
def engines(request: pytest.FixtureRequest, tmp_path: Path) -> ConsensusEngines:
    return KernelEngines(tmp_path, Network.REGTEST, in_memory=request.param == "memory")


@pytest.fixture
def engine(engines: ConsensusEngines) -> Iterator[ConsensusEngine]:
    opened = engines.open(wipe=True)
    yield opened
    opened.close()


def _block(
    previous: BlockHash, height: int, *others: Transaction, pays: int = 50 * COIN_SAT, late_s: int = 0
) -> Block:
    coinbase = coinbase_transaction(height, TRUE, pays, others, extra_nonce=bytes([late_s & 0xFF]))
    block = unsolved_block(previous, GENESIS_TIME_S + height + late_s, REGTEST_BITS, (coinbase, *others))
    solved = solve(block)
    assert solved is not None
    return solved


def _chain(engine: ConsensusEngine, blocks: int) -> list[Block]:
    mined: list[Block] = []
    for height in range(1, blocks + 1):
        mined.append(_block(mined[-1].hash if mined else REGTEST_GENESIS_HASH, height))
        assert engine.process_block(mined[-1].serialize()).standing is Standing.VALID
    return mined


def test_a_new_engine_stands_at_the_genesis_block(engine: ConsensusEngine) -> None:
    assert engine.tip() == (REGTEST_GENESIS_HASH, 0)
    assert engine.spent_coins(REGTEST_GENESIS_HASH) == ()


def test_a_valid_block_becomes_the_tip_and_is_new_only_once(engine: ConsensusEngine) -> None:
    (block,) = _chain(engine, 1)
    assert engine.tip() == (block.hash, 1)
    again = engine.process_block(block.serialize())
    assert (again.standing, again.is_new) == (Standing.VALID, False)


def test_a_matured_coinbase_can_be_spent_and_its_coin_is_remembered(engine: ConsensusEngine) -> None:
    chain = _chain(engine, 100)
    coinbase = chain[0].transactions[0]
    spend = Transaction(2, (TxInput(Outpoint(coinbase.txid, 0)),), (TxOutput(COIN_SAT, TRUE),))
    block = _block(chain[-1].hash, 101, spend)
    assert engine.process_block(block.serialize()).standing is Standing.VALID
    assert engine.spent_coins(block.hash) == ((Coin(50 * COIN_SAT, TRUE, 1, True),),)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda tip, height: _block(tip, height, pays=51 * COIN_SAT), "bad-cb-amount"),
        (lambda tip, height: _block(tip, height + 1), "bad-cb-height"),
        (lambda tip, height: _block(tip, height, late_s=-height - 1), "time-too-old"),
        (lambda tip, height: _block(BlockHash(b"\x07" * 32), height), "prev-blk-not-found"),
        (lambda tip, height: _spoiled_root(_block(tip, height)), "bad-txnmrklroot"),
        (lambda tip, height: _unsolved(_block(tip, height)), "high-hash"),
        (lambda tip, height: _block(tip, height, _spend(b"\x09" * 32)), "bad-txns-inputs-missingorspent"),
    ],
)
def test_a_bad_block_is_refused_with_cores_reason(
    engine: ConsensusEngine, spoil: Callable[[BlockHash, int], Block], reason: str
) -> None:
    (first,) = _chain(engine, 1)
    verdict = engine.process_block(spoil(first.hash, 2).serialize())
    assert (verdict.standing, verdict.reason) == (Standing.INVALID, reason)
    assert engine.tip() == (first.hash, 1)


def _spend(txid: bytes) -> Transaction:
    return Transaction(2, (TxInput(Outpoint(Txid(txid), 0)),), (TxOutput(1, TRUE),))


def _spoiled_root(block: Block) -> Block:
    header = msgspec.structs.replace(block.header, merkle_root=bytes(32))
    solved = solve(Block(header, block.transactions))
    assert solved is not None
    return solved


def _unsolved(block: Block) -> Block:
    nonce = 0
    while True:
        header = msgspec.structs.replace(block.header, nonce=nonce)
        if header.hash[31] & 0x80:
            return Block(header, block.transactions)
        nonce += 1


def test_an_immature_coinbase_cannot_be_spent(engine: ConsensusEngine) -> None:
    (first,) = _chain(engine, 1)
    spend = _spend(first.transactions[0].txid)
    verdict = engine.process_block(_block(first.hash, 2, spend).serialize())
    assert verdict.reason == "bad-txns-premature-spend-of-coinbase"


def test_the_branch_with_more_work_is_followed(engine: ConsensusEngine) -> None:
    (first,) = _chain(engine, 1)
    left = _block(first.hash, 2)
    right = _block(first.hash, 2, late_s=1)
    beyond = _block(right.hash, 3, late_s=1)
    assert engine.process_block(left.serialize()).standing is Standing.VALID
    assert engine.process_block(right.serialize()).standing is Standing.STORED
    assert engine.tip() == (left.hash, 2)
    assert engine.process_block(beyond.serialize()).standing is Standing.VALID
    assert engine.tip() == (beyond.hash, 3)


def test_a_child_of_a_refused_block_is_refused(engine: ConsensusEngine) -> None:
    (first,) = _chain(engine, 1)
    bad = _block(first.hash, 2, pays=51 * COIN_SAT)
    engine.process_block(bad.serialize())
    assert engine.process_block(_block(bad.hash, 3).serialize()).reason == "bad-prevblk"
    again = engine.process_block(bad.serialize())
    assert (again.standing, again.is_new, again.reason) == (Standing.INVALID, False, "duplicate-invalid")


def test_scripts_are_verified_without_a_block(engine: ConsensusEngine) -> None:
    spend = _spend(b"\x01" * 32)
    engine.verify_scripts(spend, [TxOutput(1, TRUE)])
    with pytest.raises(RejectedTransactionError, match="script-verify-flag-failed"):
        engine.verify_scripts(spend, [TxOutput(1, b"\x00")])


def test_arguments_that_would_kill_the_process_are_refused(engine: ConsensusEngine) -> None:
    spend = _spend(b"\x01" * 32)
    empty = Transaction(2, (), ())
    for transaction, spent in [
        (spend, []),
        (spend, [TxOutput(1, TRUE)] * 2),
        (empty, []),
        (spend, [TxOutput(-1, TRUE)]),
        (spend, [TxOutput(1 << 63, TRUE)]),
    ]:
        with pytest.raises(RejectedTransactionError):
            engine.verify_scripts(transaction, spent)
    bare = Block(_block(REGTEST_GENESIS_HASH, 1).header, ())
    assert engine.process_block(bare.serialize()).standing is Standing.INVALID
    with pytest.raises(KeyError):
        engine.spent_coins(BlockHash(bytes(32)))


def test_a_closed_engine_refuses_and_a_second_close_is_nothing(engines: ConsensusEngines) -> None:
    engine = engines.open(wipe=True)
    engine.close()
    engine.close()
    with pytest.raises(EngineFailedError, match="closed"):
        engine.tip()


def test_what_was_closed_in_order_is_there_when_opened_again(tmp_path: Path) -> None:
    engines = KernelEngines(tmp_path, Network.REGTEST)
    engine = engines.open(wipe=True)
    chain = _chain(engine, 3)
    engine.close(b"three")
    engine = engines.open(wipe=False)
    assert (engine.tip(), engine.mark) == ((chain[-1].hash, 3), b"three")
    engine.close()
    engine = engines.open(wipe=True)
    assert (engine.tip(), engine.mark) == ((REGTEST_GENESIS_HASH, 0), None)
    replayed = [engine.process_block(block.serialize()).standing for block in chain]
    assert replayed == [Standing.VALID] * 3
    engine.close()


def test_a_flush_changes_nothing_that_is_seen(engine: ConsensusEngine) -> None:
    chain = _chain(engine, 3)
    engine.flush(b"three")
    assert engine.tip() == (chain[-1].hash, 3)
    block = _block(chain[-1].hash, 4)
    assert engine.process_block(block.serialize()).standing is Standing.VALID
    assert engine.process_block(chain[0].serialize()).is_new is False


def _killed(engines: Path, at: Path) -> KernelEngines:
    """Engines on what the disk shows of an engine that is still open."""
    shutil.copytree(engines, at)
    return KernelEngines(at, Network.REGTEST)


def test_what_was_flushed_outlives_a_kill_and_what_came_later_does_not(tmp_path: Path) -> None:
    engine = KernelEngines(tmp_path / "first", Network.REGTEST).open(wipe=True)
    chain = _chain(engine, 3)
    engine.flush(b"three")
    later = _block(chain[-1].hash, 4)
    engine.process_block(later.serialize())
    found = _killed(tmp_path / "first", tmp_path / "second").open(wipe=False)
    engine.close()
    assert (found.tip(), found.mark) == ((chain[-1].hash, 3), b"three")
    assert found.process_block(later.serialize()).standing is Standing.VALID
    found.close()


def test_an_engine_that_was_killed_before_its_first_flush_begins_with_nothing(tmp_path: Path) -> None:
    engine = KernelEngines(tmp_path / "first", Network.REGTEST).open(wipe=True)
    _chain(engine, 3)
    found = _killed(tmp_path / "first", tmp_path / "second").open(wipe=False)
    engine.close()
    assert (found.tip(), found.mark) == ((REGTEST_GENESIS_HASH, 0), None)
    found.close()


def test_what_could_not_be_opened_is_not_opened_twice(tmp_path: Path) -> None:
    engines = KernelEngines(tmp_path, Network.REGTEST)
    engine = engines.open(wipe=True)
    _chain(engine, 3)
    engine.close(b"three")
    (tmp_path / "chainstate" / "CURRENT").write_bytes(b"nothing that is there\n")
    with pytest.raises(EngineFailedError):
        engines.open(wipe=False)
    engine = engines.open(wipe=False)
    assert (engine.tip(), engine.mark) == ((REGTEST_GENESIS_HASH, 0), None)
    engine.close()


def test_a_second_engine_in_one_directory_is_refused(tmp_path: Path) -> None:
    engines = KernelEngines(tmp_path, Network.REGTEST)
    engine = engines.open(wipe=True)
    for wipe in (False, True):
        with pytest.raises(EngineLockedError, match="in use"):
            engines.open(wipe=wipe)
    engine.close()


def test_only_regtest_can_be_embedded(tmp_path: Path) -> None:
    with pytest.raises(NotSupportedError, match="mainnet"):
        KernelEngines(tmp_path, Network.MAINNET)

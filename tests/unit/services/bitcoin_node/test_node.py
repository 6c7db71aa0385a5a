"""The embedded node's use cases, on the real consensus rules."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from anya_actors.adapters.bitcoinkernel.engine import KernelEngines
from anya_actors.adapters.memory.append_log import MemoryAppendLog
from anya_actors.adapters.memory.chain_index import MemoryChainIndexes
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.domain.bitcoin.amount import COIN_SAT
from anya_actors.domain.bitcoin.block import REGTEST_BITS, Block
from anya_actors.domain.bitcoin.block_tree import BlockNode
from anya_actors.domain.bitcoin.coin_index import scripthash
from anya_actors.domain.bitcoin.coin_selection import InsufficientFundsError
from anya_actors.domain.bitcoin.errors import RejectedBlockError, RejectedTransactionError
from anya_actors.domain.bitcoin.hashes import BlockHash, Txid
from anya_actors.domain.bitcoin.mining import coinbase_transaction, solve, unsolved_block
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxInput, TxOutput
from anya_actors.domain.machine import UnavailableError
from anya_actors.ports.append_log import AppendLog, LogFullError
from anya_actors.ports.consensus import (
    ConsensusEngine,
    ConsensusEngines,
    EngineFailedError,
    Standing,
    Verdict,
)
from anya_actors.services.bitcoin_node.chain import ChainChange
from anya_actors.services.bitcoin_node.notices import Notice
from anya_actors.services.bitcoin_node.service import BitcoinNodeService, UnknownBlockError
from anya_actors.services.bitcoin_node.submissions import FeeTooHighError
from anya_actors.testing.clock import ManualClock
from anya_actors.testing.spending_key import OutputKind, SpendingKey
from tests.unit.services.bitcoin_node.purse import pay, wallet_script

StartNode = Callable[[AppendLog], Awaitable[BitcoinNodeService]]

TRUE = b"\x51"
FEE = 1_000


async def _rich(node: BitcoinNodeService, kind: OutputKind = OutputKind.P2WPKH) -> SpendingKey:
    """A key with one mature coinbase of 50 coins."""
    key = SpendingKey(b"rich", kind)
    await node.generate(key.script_pubkey, 1)
    await node.generate(TRUE, 100)
    return key


def _spend(
    key: SpendingKey, outpoint: Outpoint, amount_sat: int, *, to: bytes = b"", fee: int = FEE
) -> Transaction:
    spent = TxOutput(amount_sat, key.script_pubkey)
    outputs = (TxOutput(amount_sat - fee, to or key.script_pubkey),)
    unsigned = Transaction(2, (TxInput(outpoint),), outputs)
    signed = msgspec.structs.replace(unsigned.inputs[0], witness=key.witness(unsigned, 0, [spent]))
    return Transaction(2, (signed,), outputs)


def _first(node: BitcoinNodeService, key: SpendingKey) -> tuple[Outpoint, int]:
    ((outpoint, coin),) = node.chain.index.unspent(scripthash(key.script_pubkey))
    return outpoint, coin.amount_sat


def _next_block(parent: BlockNode, *others: Transaction, mark: int = 0, pays: int = 0) -> Block:
    height = parent.height + 1
    coinbase = coinbase_transaction(height, TRUE, pays, others, bytes([7, mark]))
    time_s = parent.median_time_past_s() + 1
    block = solve(unsolved_block(parent.hash, time_s, REGTEST_BITS, (coinbase, *others)))
    assert block is not None
    return block


async def _rival_branch(node: BitcoinNodeService, parent: BlockNode, blocks: int) -> list[BlockHash]:
    hashes = []
    for mark in range(blocks):
        block = _next_block(parent, mark=mark)
        assert (await node.submit_block(block)).standing is not Standing.INVALID
        parent = node.node(block.hash)
        hashes.append(block.hash)
    return hashes


async def test_a_new_node_mines_blocks_whose_times_come_from_the_clock(
    node: BitcoinNodeService, clock: ManualClock
) -> None:
    hashes = await node.generate(TRUE, 101)
    assert len(hashes) == 101
    assert node.chain.tip.height == 101
    assert node.chain.tip.hash == hashes[-1]
    now_s = clock.now_unix_ms() // 1000
    times = [block.header.time_s for block in node.chain.tree.active[1:]]
    # Eleven blocks may share a second; then the median rule moves the time on.
    assert times[0] == now_s
    assert max(times) <= now_s + 20


@pytest.mark.parametrize("kind", list(OutputKind))
async def test_a_key_of_each_kind_receives_and_spends(node: BitcoinNodeService, kind: OutputKind) -> None:
    key = await _rich(node, kind)
    spend = _spend(key, *_first(node, key))
    assert await node.submit_transaction(spend) == spend.txid
    assert spend.txid in node.pool
    await node.generate(TRUE, 1)
    assert spend.txid not in node.pool
    found = await node.find_transaction(spend.txid)
    assert found == (spend, node.chain.tip)
    assert _first(node, key) == (Outpoint(spend.txid, 0), 50 * COIN_SAT - FEE)
    tip_block = await node.chain.read_block(node.chain.tip)
    assert tip_block.transactions[0].outputs[0].amount_sat == 50 * COIN_SAT + FEE


@pytest.mark.parametrize("kind", list(OutputKind))
async def test_a_wrong_signature_is_refused(node: BitcoinNodeService, kind: OutputKind) -> None:
    key = await _rich(node, kind)
    good = _spend(key, *_first(node, key))
    changed = (TxOutput(good.outputs[0].amount_sat - 1, key.script_pubkey),)
    with pytest.raises(RejectedTransactionError, match="script-verify-flag-failed"):
        await node.submit_transaction(Transaction(2, good.inputs, changed))


async def test_each_refusal_has_cores_reason(node: BitcoinNodeService) -> None:
    key = await _rich(node)
    outpoint, amount_sat = _first(node, key)
    fresh = node.chain.tree.active[101]
    immature = Outpoint((await node.chain.read_block(fresh)).transactions[0].txid, 0)
    lock = msgspec.structs.replace(_spend(key, outpoint, amount_sat), lock_time=1_000)
    delayed_input = TxInput(outpoint, sequence=200)
    delayed = Transaction(2, (delayed_input,), (TxOutput(1_000, key.script_pubkey),))
    cases = {
        "bad-txns-inputs-missingorspent": _spend(key, Outpoint(Txid(b"\x01" * 32), 0), amount_sat),
        "bad-txns-premature-spend-of-coinbase": _spend(key, immature, 50 * COIN_SAT),
        "bad-txns-in-belowout": _spend(key, outpoint, amount_sat, fee=-1),
        "min relay fee not met": _spend(key, outpoint, amount_sat, fee=0),
        "dust": _spend(key, outpoint, amount_sat, fee=amount_sat - 293),
        "scriptpubkey": _spend(key, outpoint, amount_sat, to=b"\x51\x51\x51"),
        "non-final": lock,
        "non-BIP68-final": delayed,
        "coinbase": coinbase_transaction(7, key.script_pubkey, COIN_SAT, (), b"loose"),
        "version": msgspec.structs.replace(lock, version=4, lock_time=0),
    }
    before = node.records
    for reason, transaction in cases.items():
        with pytest.raises(RejectedTransactionError) as caught:
            await node.submit_transaction(transaction)
        assert caught.value.reason == reason
    assert node.records == before


async def test_the_senders_own_fee_limit_holds(node: BitcoinNodeService) -> None:
    key = await _rich(node)
    spend = _spend(key, *_first(node, key), fee=COIN_SAT)
    with pytest.raises(FeeTooHighError):
        await node.submit_transaction(spend, 10_000_000)
    await node.submit_transaction(spend, None)


async def test_a_second_spend_pays_for_its_place_and_the_same_one_is_no_error(
    node: BitcoinNodeService,
) -> None:
    key = await _rich(node)
    outpoint, amount_sat = _first(node, key)
    first = _spend(key, outpoint, amount_sat)
    await node.submit_transaction(first)
    assert await node.submit_transaction(first) == first.txid
    with pytest.raises(RejectedTransactionError, match="not enough additional fees to relay"):
        await node.submit_transaction(_spend(key, outpoint, amount_sat, fee=FEE + 10))
    second = _spend(key, outpoint, amount_sat, fee=FEE + 11)
    await node.submit_transaction(second)
    assert list(node.pool.entries) == [second.txid]
    await node.generate(TRUE, 1)
    with pytest.raises(RejectedTransactionError, match="txn-already-known"):
        await node.submit_transaction(second)


async def test_a_line_of_waiting_transactions_is_mined_in_order_and_limited(node: BitcoinNodeService) -> None:
    key = await _rich(node)
    outpoint, amount_sat = _first(node, key)
    for _ in range(64):
        spend = _spend(key, outpoint, amount_sat)
        await node.submit_transaction(spend)
        outpoint, amount_sat = Outpoint(spend.txid, 0), amount_sat - FEE
    with pytest.raises(RejectedTransactionError, match="too-large-cluster"):
        await node.submit_transaction(_spend(key, outpoint, amount_sat))
    await node.generate(TRUE, 1)
    assert len(node.pool) == 0
    assert node.chain.tip.transactions == 65


async def test_a_reorganisation_moves_coins_and_gives_transactions_back(node: BitcoinNodeService) -> None:
    key = await _rich(node)
    fork = node.chain.tip
    before = dict(node.chain.index.coins())
    spend = _spend(key, *_first(node, key))
    await node.submit_transaction(spend)
    await node.generate(TRUE, 2)
    assert len(node.pool) == 0
    rivals = await _rival_branch(node, fork, 3)
    assert node.chain.tip.hash == rivals[-1]
    assert spend.txid in node.pool
    assert node.chain.index.transaction(spend.txid) is None
    assert {key: coin for key, coin in node.chain.index.coins() if coin.height <= fork.height} == before
    await node.generate(TRUE, 1)
    assert len(node.pool) == 0


async def test_a_block_that_confirms_a_rival_drops_the_waiting_transaction(node: BitcoinNodeService) -> None:
    key = await _rich(node)
    outpoint, amount_sat = _first(node, key)
    waiting = _spend(key, outpoint, amount_sat)
    await node.submit_transaction(waiting)
    child = _spend(key, Outpoint(waiting.txid, 0), amount_sat - FEE)
    await node.submit_transaction(child)
    rival = _spend(key, outpoint, amount_sat, fee=3 * FEE)
    assert (await node.submit_block(_next_block(node.chain.tip, rival))).standing is Standing.VALID
    assert len(node.pool) == 0


async def test_bad_blocks_change_nothing(node: BitcoinNodeService) -> None:
    await node.generate(TRUE, 2)
    tip, records = node.chain.tip, node.records
    cases = {
        "bad-cb-amount": _next_block(tip, pays=51 * COIN_SAT),
        "bad-txns-inputs-missingorspent": _next_block(
            tip, Transaction(2, (TxInput(Outpoint(Txid(b"\x02" * 32), 0)),), (TxOutput(1, TRUE),))
        ),
    }
    for reason, block in cases.items():
        verdict = await node.submit_block(block)
        assert (verdict.standing, verdict.reason) == (Standing.INVALID, reason)
    good = _next_block(tip)
    header = msgspec.structs.replace(good.header, previous=BlockHash(b"\x05" * 32))
    verdict = await node.submit_block(Block(header, good.transactions))
    assert verdict.reason == "prev-blk-not-found"
    assert (node.chain.tip, node.records) == (tip, records)
    assert (await node.submit_block(good)).standing is Standing.VALID
    assert (await node.submit_block(good)).is_new is False


async def test_an_invalidated_branch_is_left_and_can_be_reconsidered(
    node: BitcoinNodeService, log: MemoryAppendLog, start_node: StartNode
) -> None:
    key = await _rich(node)
    spend = _spend(key, *_first(node, key))
    await node.submit_transaction(spend)
    height = node.chain.tip.height
    (block, beyond) = await node.generate(TRUE, 2)
    coins = dict(node.chain.index.coins())
    await node.invalidate_block(block)
    assert node.chain.tip.height == height
    assert spend.txid in node.pool
    again = await start_node(log)
    assert again.chain.tip.height == height
    with pytest.raises(UnknownBlockError):
        await node.invalidate_block(BlockHash(bytes(32)))
    on_top = _next_block(node.node(beyond))
    assert (await node.submit_block(on_top)).reason == "bad-prevblk"
    await node.reconsider_block(beyond)
    assert node.chain.tip.hash == beyond
    assert dict(node.chain.index.coins()) == coins
    assert len(node.pool) == 0


async def test_after_a_crash_everything_acknowledged_is_there(
    node: BitcoinNodeService, log: MemoryAppendLog, start_node: StartNode
) -> None:
    key = await _rich(node, OutputKind.P2TR)
    fork = node.chain.tree.active[99]
    await _rival_branch(node, fork, 2)
    spend = _spend(key, *_first(node, key))
    await node.submit_transaction(spend)
    waiting = _spend(key, Outpoint(spend.txid, 0), spend.outputs[0].amount_sat)
    await node.generate(TRUE, 1)
    await node.submit_transaction(waiting)
    again = await start_node(log)
    assert again.chain.tip.hash == node.chain.tip.hash
    assert list(again.chain.index.coins()) == list(node.chain.index.coins())
    assert list(again.pool.entries) == [waiting.txid]
    assert again.pool.entries == node.pool.entries
    assert {node.hash for node in again.chain.tree.tips()} == {node.hash for node in node.chain.tree.tips()}


async def test_old_waiting_transactions_are_forgotten_at_the_next_start(
    node: BitcoinNodeService, log: MemoryAppendLog, start_node: StartNode, clock: ManualClock
) -> None:
    key = await _rich(node)
    await node.submit_transaction(_spend(key, *_first(node, key)))
    await clock.advance(337 * 3600)
    assert len((await start_node(log)).pool) == 0


class FullLog(MemoryAppendLog):
    """A disk that is full, or broken, when told so."""

    is_full = False
    is_broken = False

    async def append(self, *records: bytes) -> int:
        if self.is_full:
            raise LogFullError("the journal", "no space left")
        if self.is_broken:
            raise UnavailableError("the journal", "it is broken")
        return await super().append(*records)


async def test_a_block_that_cannot_be_kept_did_not_happen(start_node: StartNode) -> None:
    log = FullLog()
    node = await start_node(log)
    await node.generate(TRUE, 3)
    tip = node.chain.tip
    log.is_full = True
    with pytest.raises(LogFullError):
        await node.generate(TRUE, 1)
    assert node.chain.tip is tip
    log.is_full = False
    (block,) = await node.generate(TRUE, 1)
    assert node.chain.tip.hash == block
    assert (await start_node(log)).chain.tip.hash == block


async def test_a_node_whose_journal_broke_asks_to_be_started_anew(start_node: StartNode) -> None:
    log = FullLog()
    node = await start_node(log)
    log.is_broken = True
    with pytest.raises(UnavailableError, match="broken"):
        await node.generate(TRUE, 1)
    with pytest.raises(UnavailableError, match="opened anew"):
        await node.check_health()
    log.is_broken = False
    assert (await start_node(log)).chain.tip.height == 0


class TiredEngine:
    """The real engine, until its disk is full."""

    def __init__(self, engine: ConsensusEngine) -> None:
        self._engine = engine
        self.mark, self.tip = engine.mark, engine.tip
        self.flush, self.close = engine.flush, engine.close
        self.spent_coins, self.verify_scripts = engine.spent_coins, engine.verify_scripts

    def process_block(self, raw: bytes, begun: Callable[[], None] = lambda: None) -> Verdict:
        if self.tip()[1] == 2:
            raise EngineFailedError("judge a block", "Disk space is too low!")
        return self._engine.process_block(raw, begun)


class TiringEngines:
    """Opens one engine that tires."""

    def __init__(self, engines: ConsensusEngines) -> None:
        self._engines = engines

    def open(self, *, wipe: bool) -> TiredEngine:
        return TiredEngine(self._engines.open(wipe=wipe))

    def set_time(self, unix_s: int) -> None:
        self._engines.set_time(unix_s)


async def test_an_engine_that_cannot_judge_is_no_refusal_of_the_block(
    tmp_path: Path, clock: ManualClock, start_node: StartNode
) -> None:
    log = MemoryAppendLog()
    engines = TiringEngines(KernelEngines(tmp_path / "tired", Network.REGTEST, in_memory=True))
    node = BitcoinNodeService(
        engines=engines,
        log=log,
        indexes=MemoryChainIndexes(),
        clock=clock,
        randomness=SystemRandomness(),
    )
    await node.start()
    with pytest.raises(EngineFailedError, match="Disk space"):
        await node.generate(TRUE, 3)
    with pytest.raises(UnavailableError, match="opened anew"):
        await node.check_health()
    await node.close()
    assert (await start_node(log)).chain.tip.height == 2


async def test_the_wallet_pays_and_counts_what_is_left(node: BitcoinNodeService) -> None:
    for _ in range(2):
        await node.generate(await wallet_script(node), 1)
    with pytest.raises(InsufficientFundsError):
        await pay(node, await wallet_script(node), COIN_SAT)
    await node.generate(TRUE, 100)
    txid = await pay(node, await wallet_script(node), 60 * COIN_SAT)
    entry = node.pool.entries[txid]
    assert entry.vsize <= entry.fee_sat <= entry.vsize + 10
    # The change waits, but it is our own: it can be paid on.
    left_sat = sum(fund.coin.amount_sat for fund in node.wallets.all[""].spendable())
    assert left_sat == 100 * COIN_SAT - entry.fee_sat
    second = await pay(node, await wallet_script(node), 99 * COIN_SAT)
    assert node.pool.parents(node.pool.entries[second].transaction) == {txid}
    await node.generate(TRUE, 1)
    assert len(node.pool) == 0


async def test_a_block_of_chosen_transactions_only(node: BitcoinNodeService) -> None:
    key = await _rich(node)
    spend = _spend(key, *_first(node, key))
    block = await node.generate_block(TRUE, [spend], submit=False)
    assert node.chain.tip.hash != block.hash
    block = await node.generate_block(TRUE, [spend])
    assert (node.chain.tip.hash, block.transactions[1]) == (block.hash, spend)
    with pytest.raises(RejectedTransactionError, match="not-in-mempool"):
        await node.generate_block(TRUE, [spend.txid])
    with pytest.raises(RejectedBlockError, match="bad-txns-BIP30"):
        await node.generate_block(TRUE, [spend])


async def test_subscribers_hear_of_blocks_when_everything_stands_as_told(node: BitcoinNodeService) -> None:
    heard: list[tuple[list[BlockHash], list[BlockHash]]] = []

    def hear(change: Notice) -> None:
        assert isinstance(change, ChainChange)
        if change.connected:
            assert change.connected[-1].hash == node.chain.tip.hash
        heard.append(
            ([block.hash for block in change.disconnected], [block.hash for block in change.connected])
        )

    end = node.subscribe(hear)
    fork = node.chain.tip
    first = await node.generate(TRUE, 2)
    rivals = await _rival_branch(node, fork, 3)
    assert heard == [([], first[:1]), ([], first[1:]), (first[::-1], rivals)]
    end()
    end()
    await node.generate(TRUE, 1)
    assert len(heard) == 3


async def test_a_subscriber_that_raises_harms_no_other(node: BitcoinNodeService) -> None:
    heard: list[Notice] = []
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    def fail(_: Notice) -> None:
        raise RuntimeError("I always fail")

    node.subscribe(fail)
    node.subscribe(heard.append)
    await node.generate(TRUE, 1)
    assert len(heard) == 1
    assert [str(context["exception"]) for context in reported] == ["I always fail"]

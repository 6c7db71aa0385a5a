"""What every Bitcoin node behind the port does: ours in memory, and a whole one over JSON-RPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from coincurve import PrivateKey
from msgspec.structs import replace

from anya_actors.adapters.bitcoin_rpc import CoreBitcoinRpc
from anya_actors.adapters.bitcoinkernel.engine import KernelEngines
from anya_actors.adapters.files.append_log import FileAppendLog
from anya_actors.adapters.files.disk import SystemDisk
from anya_actors.adapters.memory.bitcoin_rpc import MemoryBitcoinNode
from anya_actors.adapters.rocksdb.chain_index import RocksdbChainIndexes
from anya_actors.adapters.system.clock import SystemClock
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.domain.bitcoin.address import p2wpkh_address
from anya_actors.domain.bitcoin.block import Block, block_merkle_root
from anya_actors.domain.bitcoin.hashes import BlockHash, Txid
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.script import hash160, p2wpkh_script
from anya_actors.domain.bitcoin.sighash import p2wpkh_script_code, segwit_v0_sighash
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxInput, TxOutput
from anya_actors.ports.bitcoin_rpc import (
    BitcoinRpc,
    BlockNotFoundError,
    BroadcastRejectedError,
    TransactionNotFoundError,
)
from anya_actors.serve.bitcoin_node.embedded import EmbeddedNode, EmbeddedNodeSettings

KEY = PrivateKey(b"\x07" * 32)
PUBLIC_KEY = KEY.public_key.format()
SCRIPT = p2wpkh_script(hash160(PUBLIC_KEY))
ADDRESS = p2wpkh_address(PUBLIC_KEY, Network.REGTEST)
REWARD_SAT = 50 * 100_000_000


@pytest.fixture(params=["memory", "embedded node"])
async def rpc(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BitcoinRpc]:
    if request.param == "memory":
        yield MemoryBitcoinNode()
        return

    async def open_journal() -> FileAppendLog:
        return await FileAppendLog.open(SystemDisk(tmp_path), "journal")

    clock, randomness = SystemClock(), SystemRandomness()
    node = EmbeddedNode(
        EmbeddedNodeSettings(tmp_path),
        engines=KernelEngines(tmp_path / "kernel", Network.REGTEST),
        open_journal=open_journal,
        indexes=RocksdbChainIndexes(tmp_path / "indexes"),
        clock=clock,
        randomness=randomness,
    )
    addresses = await node.start()
    cookie = Path(addresses.bitcoin_cookie)
    adapter = CoreBitcoinRpc(addresses.bitcoin_rpc, cookie_path=cookie, clock=clock, randomness=randomness)
    yield adapter
    await adapter.close()
    await node.close()


async def coinbase_of(rpc: BitcoinRpc, height: int) -> Transaction:
    return (await rpc.block(await rpc.block_hash(height))).transactions[0]


async def spend(rpc: BitcoinRpc, height: int, fee_sat: int, *, good: bool = True) -> Transaction:
    """A transaction that pays the reward of this height back to its own key."""
    coinbase = await coinbase_of(rpc, height)
    bare = Transaction(2, (TxInput(Outpoint(coinbase.txid, 0)),), (TxOutput(REWARD_SAT - fee_sat, SCRIPT),))
    digest = segwit_v0_sighash(bare, 0, p2wpkh_script_code(hash160(PUBLIC_KEY)), REWARD_SAT)
    signature = KEY.sign(digest if good else bytes(32), hasher=None)
    signed = TxInput(Outpoint(coinbase.txid, 0), witness=(signature + b"\x01", PUBLIC_KEY))
    return Transaction(2, (signed,), bare.outputs)


async def test_a_fresh_chain_is_its_genesis_block(rpc: BitcoinRpc) -> None:
    info = await rpc.chain_info()
    assert (info.chain, info.height) == ("regtest", 0)
    assert await rpc.block_hash(0) == info.best_hash
    assert await rpc.mempool_txids() == frozenset()
    assert await rpc.estimate_feerate(6) is None


async def test_mined_blocks_are_found_by_height_and_by_hash(rpc: BitcoinRpc) -> None:
    mined = await rpc.generate_to_address(3, ADDRESS)
    assert [await rpc.block_hash(height) for height in (1, 2, 3)] == mined
    assert (await rpc.chain_info()).best_hash == mined[-1]
    block = await rpc.block(mined[1])
    assert block.hash == mined[1]
    assert block.header.previous == mined[0]
    assert block_merkle_root(block.transactions) == block.header.merkle_root
    found = await rpc.header(mined[1])
    assert (found.header, found.height, found.confirmations) == (block.header, 2, 2)
    assert block.transactions[0].outputs[0] == TxOutput(REWARD_SAT, SCRIPT)


async def test_what_is_not_there_is_told_by_its_own_error(rpc: BitcoinRpc) -> None:
    with pytest.raises(BlockNotFoundError):
        await rpc.block_hash(1)
    with pytest.raises(BlockNotFoundError):
        await rpc.block(BlockHash(b"\x01" * 32))
    with pytest.raises(BlockNotFoundError):
        await rpc.header(BlockHash(b"\x01" * 32))
    with pytest.raises(TransactionNotFoundError):
        await rpc.transaction(Txid(b"\x01" * 32))
    assert await rpc.utxo(Outpoint(Txid(b"\x01" * 32), 0)) is None


async def test_a_transaction_goes_from_the_mempool_into_a_block(rpc: BitcoinRpc) -> None:
    await rpc.generate_to_address(101, ADDRESS)
    transaction = await spend(rpc, 1, 1000)
    await rpc.broadcast(transaction)
    await rpc.broadcast(transaction)
    assert await rpc.mempool_txids() == {transaction.txid}
    waiting = await rpc.transaction(transaction.txid)
    assert (waiting.transaction, waiting.block_hash) == (transaction, None)
    spent, made = transaction.inputs[0].prevout, Outpoint(transaction.txid, 0)
    assert await rpc.utxo(spent) is None
    on_chain = await rpc.utxo(spent, include_mempool=False)
    assert on_chain is not None
    assert (on_chain.amount_sat, on_chain.coinbase) == (REWARD_SAT, True)
    unconfirmed = await rpc.utxo(made)
    assert unconfirmed is not None
    assert (unconfirmed.amount_sat, unconfirmed.confirmations) == (REWARD_SAT - 1000, 0)
    (block_hash,) = await rpc.generate_to_address(1, ADDRESS)
    found = await rpc.transaction(transaction.txid)
    assert (found.block_hash, found.confirmations) == (block_hash, 1)
    assert await rpc.mempool_txids() == frozenset()
    # A node that has it in a block already takes it as well.
    await rpc.broadcast(transaction)
    assert await rpc.mempool_txids() == frozenset()


@pytest.mark.parametrize(
    ("height", "fee_sat", "good", "reason"),
    [
        (2, 1000, True, "bad-txns-premature-spend-of-coinbase"),
        (1, 0, True, "min relay fee not met"),
        (1, -1000, True, "bad-txns-in-belowout"),
        (1, 1000, False, "mempool-script-verify-flag-failed"),
    ],
)
async def test_a_transaction_that_breaks_a_rule_is_rejected_with_cores_reason(
    rpc: BitcoinRpc, height: int, fee_sat: int, good: bool, reason: str
) -> None:
    await rpc.generate_to_address(100, ADDRESS)
    transaction = await spend(rpc, height, fee_sat, good=good)
    with pytest.raises(BroadcastRejectedError) as raised:
        await rpc.broadcast(transaction)
    assert reason in raised.value.reason
    assert await rpc.mempool_txids() == frozenset()


async def test_a_block_tells_what_it_spent(rpc: BitcoinRpc) -> None:
    await rpc.generate_to_address(102, ADDRESS)
    first, second = await spend(rpc, 1, 1000), await spend(rpc, 2, 2000)
    await rpc.broadcast(first)
    await rpc.broadcast(second)
    (block_hash,) = await rpc.generate_to_address(1, ADDRESS)
    block = await rpc.block(block_hash)
    reward = TxOutput(REWARD_SAT, SCRIPT)
    assert await rpc.spent_by(block) == [(), (reward,), (reward,)]
    assert await rpc.spent_by(await rpc.block(await rpc.block_hash(7))) == [()]
    unknown = Block(replace(block.header, nonce=block.header.nonce ^ 1), block.transactions)
    with pytest.raises(BlockNotFoundError):
        await rpc.spent_by(unknown)


async def test_a_coin_is_spent_once(rpc: BitcoinRpc) -> None:
    await rpc.generate_to_address(101, ADDRESS)
    first, second = await spend(rpc, 1, 1000), await spend(rpc, 1, 1001)
    await rpc.broadcast(first)
    with pytest.raises(BroadcastRejectedError):
        await rpc.broadcast(second)
    await rpc.generate_to_address(1, ADDRESS)
    with pytest.raises(BroadcastRejectedError, match="bad-txns-inputs-missingorspent"):
        await rpc.broadcast(second)


async def test_many_are_read_at_once(rpc: BitcoinRpc) -> None:
    mined = await rpc.generate_to_address(101, ADDRESS)
    assert await rpc.block_hashes(range(1, 102)) == mined
    assert await rpc.block_hashes(range(100, 500)) == mined[99:]
    assert await rpc.block_hashes(range(102, 110)) == []
    waiting = await spend(rpc, 1, 1000)
    await rpc.broadcast(waiting)
    mined_one = (await rpc.block(mined[0])).transactions[0]
    found = await rpc.transactions([mined_one.txid, Txid(bytes(32)), waiting.txid])
    assert [(one.transaction, one.block_hash) for one in found] == [(mined_one, mined[0]), (waiting, None)]


async def test_what_waits_is_told_with_its_relatives(rpc: BitcoinRpc) -> None:
    await rpc.generate_to_address(102, ADDRESS)
    transaction = await spend(rpc, 1, 1000)
    accepted = await rpc.test_acceptance(transaction)
    assert (accepted.fee_sat, accepted.vsize) == (1000, transaction.vsize)
    assert await rpc.mempool_txids() == frozenset()
    with pytest.raises(TransactionNotFoundError):
        await rpc.waiting(transaction.txid)
    await rpc.broadcast(transaction)
    waiting = await rpc.waiting(transaction.txid)
    assert (waiting.fee_sat, waiting.vsize, waiting.height) == (1000, transaction.vsize, 102)
    assert (waiting.ancestor_count, waiting.ancestor_vsize, waiting.ancestor_fee_sat) == (
        1,
        transaction.vsize,
        1000,
    )
    assert (waiting.descendant_count, waiting.descendant_fee_sat) == (1, 1000)
    info = await rpc.mempool_info()
    assert (info.count, info.vsize, info.total_fee_sat) == (1, transaction.vsize, 1000)
    assert info.min_feerate_sat_per_kvb > 0
    with pytest.raises(BroadcastRejectedError):
        await rpc.test_acceptance(transaction)
    with pytest.raises(BroadcastRejectedError, match="bad-txns-premature-spend-of-coinbase"):
        await rpc.test_acceptance(await spend(rpc, 4, 1000))

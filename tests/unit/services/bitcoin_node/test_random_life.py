"""Seeded random lives of a node: whenever it dies, its successor stands exactly where it stood."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import pytest

from anya_actors.adapters.memory.append_log import MemoryAppendLog
from anya_actors.domain.bitcoin.amount import COIN_SAT
from anya_actors.domain.bitcoin.block import REGTEST_BITS, Block
from anya_actors.domain.bitcoin.block_tree import BlockNode
from anya_actors.domain.bitcoin.coin_index import scripthash
from anya_actors.domain.bitcoin.coin_selection import InsufficientFundsError
from anya_actors.domain.bitcoin.errors import RejectedTransactionError
from anya_actors.domain.bitcoin.mining import coinbase_transaction, solve, unsolved_block
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction
from anya_actors.ports.append_log import AppendLog
from anya_actors.services.bitcoin_node.chain import Chain
from anya_actors.services.bitcoin_node.service import BitcoinNodeService
from tests.unit.services.bitcoin_node.purse import pay, wallet_script

StartNode = Callable[[AppendLog], Awaitable[BitcoinNodeService]]

TRUE = b"\x51"
STEPS = 25


class Life:
    """Random changes of one node."""

    def __init__(self, node: BitcoinNodeService, chance: random.Random) -> None:
        self.node = node
        self._chance = chance
        self._mark = 0
        self._script = b""

    async def begin(self) -> None:
        self._script = await wallet_script(self.node)
        await self.node.generate(self._script, 3)
        await self.node.generate(TRUE, 101)

    async def change(self) -> None:
        steps = [self._mine, self._pay, self._pay, self._fork, self._invalidate, self._reconsider]
        await self._chance.choice(steps)()

    async def _mine(self) -> None:
        await self.node.generate(self._script, self._chance.randint(1, 2))

    async def _pay(self) -> None:
        try:
            await pay(self.node, self._script, self._chance.randint(1, 20) * COIN_SAT)
        except (InsufficientFundsError, RejectedTransactionError):
            return  # poor for now, or the line of waiting transactions is full

    def _recent(self) -> BlockNode:
        active = self.node.chain.tree.active
        return active[-self._chance.randint(1, 4)]

    async def _fork(self) -> None:
        """A rival branch from a recent block; its first block may confirm what waits."""
        parent = self._recent()
        for _ in range(self._chance.randint(1, 5)):
            on_tip = parent is self.node.chain.tip
            waiting = [entry.transaction for entry in self.node.pool.entries.values()] if on_tip else []
            block = self._block(parent, waiting)
            verdict = await self.node.submit_block(block)
            assert verdict.reason == ""
            parent = self.node.node(block.hash)

    def _block(self, parent: BlockNode, others: list[Transaction]) -> Block:
        self._mark += 1
        extra = b"fork" + self._mark.to_bytes(2, "big")
        coinbase = coinbase_transaction(parent.height + 1, TRUE, 0, others, extra)
        time_s = parent.median_time_past_s() + 1
        block = solve(unsolved_block(parent.hash, time_s, REGTEST_BITS, (coinbase, *others)))
        assert block is not None
        return block

    async def _invalidate(self) -> None:
        await self.node.invalidate_block(self._recent().hash)

    async def _reconsider(self) -> None:
        tree = self.node.chain.tree
        if tree.invalidated:
            await self.node.reconsider_block(self._chance.choice(sorted(tree.invalidated)))


@pytest.mark.parametrize("seed", range(6))
async def test_a_successor_stands_where_the_dead_node_stood(seed: int, start_node: StartNode) -> None:
    chance = random.Random(seed)
    log = MemoryAppendLog()
    life = Life(await start_node(log), chance)
    await life.begin()
    for step in range(STEPS):
        await life.change()
        if step % 6 == 5 or step == STEPS - 1:
            successor = await start_node(log)
            await _assert_same(life.node, successor)
            if chance.random() < 0.5:
                life.node = successor


async def _assert_same(node: BitcoinNodeService, successor: BitcoinNodeService) -> None:
    assert successor.chain.tip.hash == node.chain.tip.hash
    assert await _all_found(successor.chain) == await _all_found(node.chain)
    assert successor.chain.index.total_sat == node.chain.index.total_sat
    assert successor.chain.index.coin_count == node.chain.index.coin_count
    assert set(successor.pool.entries) == set(node.pool.entries)
    assert successor.pool.spends == node.pool.spends
    assert successor.wallets.all[""].scripts.keys() == node.wallets.all[""].scripts.keys()


async def _all_found(chain: Chain) -> list[object]:
    """Every answer of the indexes about what the active branch holds."""
    index = chain.index
    answers: list[object] = [list(index.coins())]
    for node in chain.tree.active[1:]:
        answers.append(index.block_filter(node.hash))
        for transaction in (await chain.read_block(node)).transactions:
            answers.append(index.transaction(transaction.txid))
            for at, output in enumerate(transaction.outputs):
                name = scripthash(output.script_pubkey)
                answers += [index.history(name), index.unspent(name)]
                answers.append(index.spender(Outpoint(transaction.txid, at)))
    return answers

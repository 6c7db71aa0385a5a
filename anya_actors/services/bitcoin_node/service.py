"""The use cases of the embedded node. One change at a time; reading needs no turn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeVar

from anya_actors.domain.bitcoin.block import Block
from anya_actors.domain.bitcoin.block_tree import BlockNode
from anya_actors.domain.bitcoin.coin import Coin
from anya_actors.domain.bitcoin.errors import RejectedBlockError, RejectedTransactionError
from anya_actors.domain.bitcoin.fee_estimator import FeeEstimator
from anya_actors.domain.bitcoin.hashes import BlockHash, Txid
from anya_actors.domain.bitcoin.mempool import Mempool
from anya_actors.domain.bitcoin.mempool_policy import MempoolPolicy
from anya_actors.domain.bitcoin.mining import NONCES
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction
from anya_actors.domain.machine import AnyaError, UnavailableError
from anya_actors.ports.append_log import AppendLog
from anya_actors.ports.chain_index import ChainIndexStores
from anya_actors.ports.clock import Clock
from anya_actors.ports.consensus import ConsensusEngines, Standing, Verdict
from anya_actors.ports.randomness import Randomness
from anya_actors.services.bitcoin_node.chain import Chain, ChainChange
from anya_actors.services.bitcoin_node.journal import (
    BlockKept,
    BranchInvalidated,
    BranchReconsidered,
    Journal,
    TransactionKept,
    TransactionPrioritised,
    TransactionsDropped,
)
from anya_actors.services.bitcoin_node.miner import Miner
from anya_actors.services.bitcoin_node.node_clock import NodeClock
from anya_actors.services.bitcoin_node.notices import MempoolChange, Notices, Subscriber
from anya_actors.services.bitcoin_node.package_submission import PackageResult
from anya_actors.services.bitcoin_node.proposals import Proposals
from anya_actors.services.bitcoin_node.scheduler import Scheduler
from anya_actors.services.bitcoin_node.submissions import Submissions
from anya_actors.services.bitcoin_node.waiting import WaitingTransactions
from anya_actors.services.bitcoin_node.wallets.collection import Wallets
from anya_actors.services.bitcoin_node.wallets.locks import WalletLocks
from anya_actors.services.bitcoin_node.wallets.sealing import WalletSeals
from anya_actors.services.bitcoin_node.wallets.wallet import Wallet

T = TypeVar("T")

DEFAULT_TRIES: Final = 1_000_000


class UnknownBlockError(AnyaError):
    """No block of this hash is known."""

    code = "unknown-block"
    message = "block {} is not known"
    remedy = "Check the hash."

    def __init__(self, block_hash: str) -> None:
        super().__init__(block_hash)


class BitcoinNodeService:
    """An own Bitcoin node without peers.

    Without ``seals`` its wallets cannot be encrypted. What a mutating method returned is durable. `chain`,
    `pool` and `wallets` may be read at any time between two awaits; only the methods here change them.
    """

    def __init__(
        self,
        *,
        engines: ConsensusEngines,
        log: AppendLog,
        indexes: ChainIndexStores,
        clock: Clock,
        randomness: Randomness,
        mempool_policy: MempoolPolicy | None = None,
        seals: WalletSeals | None = None,
    ) -> None:
        self._journal = Journal(log)
        self.clock = NodeClock(clock)
        self.chain = Chain(engines, self._journal, indexes, self.clock)
        self._waiting = WaitingTransactions(
            self.chain, self._journal, self.clock, mempool_policy or MempoolPolicy()
        )
        self._submissions = Submissions(self._waiting)
        self.wallets = Wallets(self.chain, self._waiting.pool, self._journal, randomness, self.clock)
        self.miner = Miner(self.chain, lambda: self._waiting.pool, self.clock)
        self._proposals = Proposals(self.chain)
        self._notices = Notices()
        self._turn = asyncio.Lock()
        self.scheduler = Scheduler(self.clock)
        self.locks = WalletLocks(
            self.wallets, self._journal, self.scheduler, seals, randomness, self.clock, self._alone
        )
        self.started_s = self.clock.now_s()

    @property
    def pool(self) -> Mempool:
        return self._waiting.pool

    @property
    def records(self) -> int:
        """How many records the journal has."""
        return len(self._journal)

    # Life

    async def start(self) -> None:
        """Read the journal and bring engine, indexes and mempool to where they were."""
        async for position, record in self._journal.all():
            match record:
                case BlockKept():
                    await self.chain.note_block(record.raw, position)
                case TransactionKept() | TransactionsDropped() | TransactionPrioritised():
                    self._waiting.note(record)
                case BranchInvalidated():
                    self.chain.tree.invalidated.add(BlockHash(record.block_hash))
                case BranchReconsidered():
                    self.chain.tree.invalidated.discard(BlockHash(record.block_hash))
                case _:
                    self.wallets.note(record)
        await self.chain.open()
        await self._waiting.restore()

    async def check_health(self) -> None:
        """Raise `UnavailableError` if nothing can be changed any more before a new start."""
        if self._journal.is_lost:
            raise UnavailableError("the embedded Bitcoin node", "its journal must be opened anew")
        if self.chain.has_failed or not self.chain.is_open:
            raise UnavailableError("the embedded Bitcoin node", "its consensus engine must be opened anew")

    async def close(self) -> None:
        """Finish the change under way, then flush the engine and release the journal."""
        async with self._turn:
            self.scheduler.close()
            self.locks.close()
            await self.chain.close()
            await self._journal.close()

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call it on the loop after every change that is done; the answer ends the subscription.

        A `ChainChange` comes when the indexes and the mempool stand where it says, a
        `MempoolChange` after it if transactions entered or left the mempool.
        """
        return self._notices.subscribe(subscriber)

    async def set_time(self, unix_s: int) -> None:
        """Go by this time, which stands still, until a restart; 0: by the machine's clock again."""

        async def change() -> None:
            self.clock.mocked_s = unix_s
            self.chain.follow_clock()

        await self._alone(change)

    async def _alone(self, change: Callable[[], Awaitable[T]]) -> T:
        # A caller that gives up must not leave a change half done.
        async def run() -> T:
            async with self._turn:
                await self.check_health()
                return await change()

        return await asyncio.shield(asyncio.ensure_future(run()))

    # Blocks

    async def submit_block(self, block: Block) -> Verdict:
        """Judge a block and follow it."""
        return await self._alone(lambda: self._submit(block.serialize(), block))

    async def submit_raw_block(self, raw: bytes) -> Verdict:
        """Judge a serialised block and follow it; it is read while the engine judges it.

        Raises `MalformedBlockError` if there is no header; other broken bytes are an invalid block.
        """
        return await self._alone(lambda: self._submit(raw))

    async def _submit(self, raw: bytes, block: Block | None = None) -> Verdict:
        verdict, change = await self.chain.submit(raw, block)
        await self._follow(change)
        return verdict

    async def _follow(self, change: ChainChange) -> None:
        """Bring the mempool behind the chain, then tell those who want to hear of it."""
        await self._waiting.follow(change)
        if change.disconnected or change.connected:
            self._notices.tell(change)
        self._tell_of_mempool()

    def _tell_of_mempool(self) -> None:
        notices = self._waiting.take_news()
        if notices:
            self._notices.tell(MempoolChange(notices))

    async def generate(
        self, script_pubkey: bytes, blocks: int, tries: int = DEFAULT_TRIES
    ) -> list[BlockHash]:
        """Mine blocks that pay to the script; fewer if the tries run out."""
        hashes: list[BlockHash] = []
        while len(hashes) < blocks and tries > 0:
            block = await self._alone(partial(self._mine, script_pubkey, tries))
            if block is None:
                break
            tries -= block.header.nonce
            hashes.append(block.hash)
        return hashes

    async def _mine(self, script_pubkey: bytes, tries: int) -> Block | None:
        block = self.miner.from_mempool(script_pubkey, self.records, min(tries, NONCES))
        if block is not None:
            await self._take_own(block)
        return block

    async def _take_own(self, block: Block) -> None:
        verdict = await self._submit(block.serialize(), block)
        if verdict.standing is not Standing.VALID:
            raise RejectedBlockError(str(block.hash), verdict.reason or verdict.standing.value)

    async def generate_block(
        self, script_pubkey: bytes, chosen: Sequence[Txid | Transaction], *, submit: bool = True
    ) -> Block:
        """Mine one block of exactly these transactions, waiting ones by txid, others whole."""
        return await self._alone(lambda: self._generate_block(script_pubkey, chosen, submit))

    async def _generate_block(
        self, script_pubkey: bytes, chosen: Sequence[Txid | Transaction], submit: bool
    ) -> Block:
        transactions = [item if isinstance(item, Transaction) else self._waiting_one(item) for item in chosen]
        block = self.miner.of(transactions, 0, script_pubkey, self.records, NONCES)
        if block is None:
            raise UnavailableError("a block", "no nonce is right")
        if submit:
            await self._take_own(block)
        else:
            await self._verify_proposal(block)
        return block

    async def verify_proposal(self, block: Block) -> None:
        """Raise `RejectedBlockError` if the block breaks a rule on the tip; its work does not count."""
        await self._alone(lambda: self._verify_proposal(block))

    async def _verify_proposal(self, block: Block) -> None:
        await self._proposals.verify(block, self.clock.now_s())

    def _waiting_one(self, txid: Txid) -> Transaction:
        entry = self.pool.entries.get(txid)
        if entry is None:
            raise RejectedTransactionError("not-in-mempool", str(txid))
        return entry.transaction

    async def invalidate_block(self, block_hash: BlockHash) -> None:
        """Treat a block and its descendants as invalid, durably."""
        await self._alone(lambda: self._rejudge(block_hash, self.chain.invalidate))

    async def reconsider_block(self, block_hash: BlockHash) -> None:
        """Take back `invalidate_block` for a block, its ancestors and its descendants."""
        await self._alone(lambda: self._rejudge(block_hash, self.chain.reconsider))

    async def prefer_block(self, block_hash: BlockHash) -> None:
        """Treat a block as if it had come before all others of the same work, until a restart."""
        await self._alone(lambda: self._rejudge(block_hash, self.chain.prefer))

    async def _rejudge(
        self, block_hash: BlockHash, change: Callable[[BlockNode], Awaitable[ChainChange]]
    ) -> None:
        await self._follow(await change(self.node(block_hash)))

    def node(self, block_hash: BlockHash) -> BlockNode:
        """The known block of this hash; raises `UnknownBlockError`."""
        node = self.chain.tree.nodes.get(block_hash)
        if node is None:
            raise UnknownBlockError(str(block_hash))
        return node

    # Transactions

    async def test_transactions(self, transactions: Sequence[Transaction]) -> PackageResult:
        """What submitting them would give, changing nothing; several are judged as one package."""
        return await self._alone(lambda: self._submissions.test(transactions))

    async def submit_transaction(
        self, transaction: Transaction, max_feerate_sat_per_kvb: int | None = None
    ) -> Txid:
        """Take a transaction into the mempool, durably; one that waits already is no error.

        Raises `RejectedTransactionError` or `FeeTooHighError`.
        """
        return await self._alone(lambda: self._take(transaction, max_feerate_sat_per_kvb))

    async def _take(self, transaction: Transaction, max_feerate_sat_per_kvb: int | None) -> Txid:
        try:
            return await self._submissions.take(transaction, max_feerate_sat_per_kvb)
        finally:
            self._tell_of_mempool()

    async def submit_package(
        self, package: Sequence[Transaction], max_feerate_sat_per_kvb: int | None = None
    ) -> PackageResult:
        """Take a child with its parents into the mempool, durably, as far as they may enter."""
        return await self._alone(lambda: self._take_package(package, max_feerate_sat_per_kvb))

    async def _take_package(
        self, package: Sequence[Transaction], max_feerate_sat_per_kvb: int | None
    ) -> PackageResult:
        try:
            return await self._submissions.take_package(package, max_feerate_sat_per_kvb)
        finally:
            self._tell_of_mempool()

    async def prioritise(self, txid: Txid, delta_sat: int) -> None:
        """Count a transaction as paying more, or less, when blocks are made and room is short; durable."""
        await self._alone(lambda: self._waiting.prioritise(txid, delta_sat))

    @property
    def fees(self) -> FeeEstimator:
        """What was observed of feerates and confirmations since the start."""
        return self._waiting.estimator

    @property
    def mempool_policy(self) -> MempoolPolicy:
        return self._waiting.policy

    def mempool_floor_sat_per_kvb(self) -> int:
        """The least feerate that the mempool asks for because it was full; 0 if it was not."""
        return self._waiting.floor_sat_per_kvb()

    async def find_transaction(self, txid: Txid) -> tuple[Transaction, BlockNode | None] | None:
        """A waiting transaction, or one of the active branch with its block."""
        entry = self.pool.entries.get(txid)
        if entry is not None:
            return entry.transaction, None
        place = self.chain.index.transaction(txid)
        if place is None:
            return None
        node = self.chain.tree.nodes[place[0]]
        block = await self.chain.read_block(node)
        return block.transactions[place[1]], node

    def coin(self, outpoint: Outpoint) -> Coin | None:
        """The coin of an output, confirmed (spent by a waiting transaction or not) or waiting."""
        return self._waiting.acceptance.coin(outpoint)

    # Wallets

    async def in_turn(self, change: Callable[[], Awaitable[T]]) -> T:
        """Make a change of the wallets when no other change is under way."""
        return await self._alone(change)

    async def send(
        self,
        wallet: Wallet,
        build: Callable[[], Awaitable[Transaction]],
        *,
        comment: str = "",
        to: str = "",
        replaces: Txid | None = None,
    ) -> Transaction:
        """Build a transaction of a wallet and take it into the mempool, with no other change between."""

        async def sending() -> Transaction:
            transaction = await build()
            await self._take(transaction, None)
            await self.wallets.keep_sent(wallet, transaction, comment=comment, to=to, replaces=replaces)
            return transaction

        return await self._alone(sending)

"""A Bitcoin node in memory: blocks, reorganisations, a mempool, and failures on demand.

It keeps the rules that a wallet can break (missing, spent and immature inputs, amounts, scripts by
the kernel, the minimum fee, replacement by fee), with Core's reject reasons, and no others.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Sequence

from anya_actors.adapters.bitcoinkernel.engine import verify_scripts
from anya_actors.adapters.memory.relatives import ancestors, descendants
from anya_actors.domain.bitcoin.address import parse_address
from anya_actors.domain.bitcoin.block import REGTEST_BITS, Block
from anya_actors.domain.bitcoin.coin import Coin
from anya_actors.domain.bitcoin.errors import RejectedTransactionError
from anya_actors.domain.bitcoin.hashes import BlockHash, Txid
from anya_actors.domain.bitcoin.mining import (
    block_subsidy_sat,
    coinbase_transaction,
    solve,
    unsolved_block,
)
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.script import is_unspendable, p2wpkh_script
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxOutput
from anya_actors.domain.machine import NotSupportedError
from anya_actors.ports.bitcoin_rpc import (
    Acceptance,
    BlockNotFoundError,
    BroadcastRejectedError,
    ChainInfo,
    FoundHeader,
    FoundTransaction,
    MempoolInfo,
    NodeUnreachableError,
    RpcRefusedError,
    TransactionNotFoundError,
    UnspentOutput,
    Utxo,
    WaitingTransaction,
)

_NOWHERE = p2wpkh_script(bytes(20))
_START_UNIX_S = 1_700_000_000


class MemoryBitcoinNode:
    """A `BitcoinRpc` and, in the same object, the world around it that tests move.

    ``down`` makes every call fail. ``lose_answers`` makes that many calls of `broadcast` and
    `generate_to_address` take effect and then fail; ``full_after`` refuses mining after that many
    blocks of one call. ``taken`` lists every accepted broadcast.
    """

    def __init__(self, network: Network = Network.REGTEST) -> None:
        self.network = network
        self.down = False
        self.lose_answers = 0
        self.full_after: int | None = None
        self.reject_reason: str | None = None
        self.feerate_sat_per_vb: int | None = None
        self.initial_block_download = False
        self.taken: list[Txid] = []
        self._blocks: dict[BlockHash, tuple[Block, int]] = {}
        self._active: list[BlockHash] = []
        self._spent: dict[BlockHash, dict[Outpoint, Coin]] = {}
        self._utxos: dict[Outpoint, Coin] = {}
        self._homes: dict[Txid, BlockHash] = {}
        self._mempool: dict[Txid, Transaction] = {}
        self._nonces = itertools.count(1)
        self._connect(self._make_block(_NOWHERE, ()))

    # -- the world ----------------------------------------------------------------------------

    @property
    def height(self) -> int:
        return len(self._active) - 1

    @property
    def best_hash(self) -> BlockHash:
        return self._active[-1]

    def mine(
        self, count: int = 1, script_pubkey: bytes = _NOWHERE, *, empty: bool = False
    ) -> list[BlockHash]:
        """Mine blocks at once, with what waits in the mempool unless ``empty``."""
        mined = []
        for _ in range(count):
            block = self._make_block(script_pubkey, () if empty else tuple(self._mempool.values()))
            self._connect(block)
            mined.append(block.hash)
        return mined

    def reorganise(self, depth: int, length: int | None = None, *, empty: bool = True) -> None:
        """Replace the newest ``depth`` blocks by ``length`` others (by default one more)."""
        returned: list[Transaction] = []
        for _ in range(depth):
            returned = [*self._disconnect().transactions[1:], *returned]
        waiting = [*returned, *self._mempool.values()]
        self._mempool = {}
        self._readmit(waiting)
        self.mine(depth + 1 if length is None else length, empty=empty)

    def fall_behind(self, depth: int) -> list[Block]:
        """Take the newest blocks off, as from a node that reads them anew; `catch_up` takes them."""
        return [self._disconnect() for _ in range(depth)][::-1]

    def catch_up(self, blocks: Iterable[Block]) -> None:
        """Read these blocks again, oldest first."""
        for block in blocks:
            self._connect(block)

    def lose_mempool(self) -> None:
        """Forget every waiting transaction, as a node does that restarts without its file."""
        self._mempool = {}

    def balance_sat(self, scripts: Iterable[bytes]) -> int:
        """What the unspent outputs of these scripts hold, in blocks."""
        wanted = set(scripts)
        return sum(coin.amount_sat for coin in self._utxos.values() if coin.script_pubkey in wanted)

    def outputs_to(self, script_pubkey: bytes) -> list[int]:
        """The amounts of every output to the script in the active chain, spent or not."""
        return [
            output.amount_sat
            for block_hash in self._active
            for transaction in self._blocks[block_hash][0].transactions
            for output in transaction.outputs
            if output.script_pubkey == script_pubkey
        ]

    # -- BitcoinRpc ---------------------------------------------------------------------------

    async def chain_info(self) -> ChainInfo:
        await self._reach()
        return ChainInfo(
            chain=self.network.core_name,
            height=self.height,
            headers=self.height,
            best_hash=self.best_hash,
            median_time_unix_s=self._blocks[self.best_hash][0].header.time_s,
            initial_block_download=self.initial_block_download,
        )

    async def block_hash(self, height: int) -> BlockHash:
        await self._reach()
        if not 0 <= height < len(self._active):
            raise BlockNotFoundError(str(height))
        return self._active[height]

    async def block_hashes(self, heights: range) -> list[BlockHash]:
        await self._reach()
        return self._active[heights.start : heights.stop]

    async def header(self, block_hash: BlockHash) -> FoundHeader:
        await self._reach()
        block, height = self._find(block_hash)
        active = height < len(self._active) and self._active[height] == block_hash
        return FoundHeader(block.header, height, self.height - height + 1 if active else -1)

    async def block(self, block_hash: BlockHash) -> Block:
        await self._reach()
        return self._find(block_hash)[0]

    async def spent_by(self, block: Block) -> list[tuple[TxOutput, ...]]:
        await self._reach()
        self._find(block.hash)
        spent, told = self._spent[block.hash], block.transactions[1:]
        return [(), *(tuple(spent[each.prevout].output for each in one.inputs) for one in told)]

    async def transaction(self, txid: Txid) -> FoundTransaction:
        await self._reach()
        if txid in self._mempool:
            return FoundTransaction(self._mempool[txid], None, 0)
        home = self._homes.get(txid)
        if home is None:
            raise TransactionNotFoundError(str(txid))
        block, height = self._blocks[home]
        found = next(one for one in block.transactions if one.txid == txid)
        return FoundTransaction(found, home, self.height - height + 1)

    async def transactions(self, txids: Sequence[Txid]) -> list[FoundTransaction]:
        known = [txid for txid in txids if txid in self._mempool or txid in self._homes]
        return [await self.transaction(txid) for txid in known]

    async def broadcast(self, transaction: Transaction) -> None:
        await self._reach()
        if self.reject_reason is not None:
            raise BroadcastRejectedError(str(transaction.txid), self.reject_reason)
        try:
            self._admit(transaction)
        except RejectedTransactionError as rejection:
            raise BroadcastRejectedError(str(transaction.txid), rejection.reason) from None
        self.taken.append(transaction.txid)
        self._answer()

    async def test_acceptance(self, transaction: Transaction) -> Acceptance:
        await self._reach()
        if transaction.txid in self._mempool:
            raise BroadcastRejectedError(str(transaction.txid), "txn-already-in-mempool")
        try:
            self._judge(transaction)
        except RejectedTransactionError as rejection:
            raise BroadcastRejectedError(str(transaction.txid), rejection.reason) from None
        return Acceptance(self._fee_sat(transaction), transaction.vsize)

    async def mempool_info(self) -> MempoolInfo:
        await self._reach()
        waiting = self._mempool.values()
        vsize = sum(transaction.vsize for transaction in waiting)
        return MempoolInfo(len(self._mempool), vsize, sum(map(self._fee_sat, waiting)), 1000)

    async def waiting(self, txid: Txid) -> WaitingTransaction:
        await self._reach()
        if txid not in self._mempool:
            raise TransactionNotFoundError(str(txid))
        lines = ancestors(self._mempool, txid), descendants(self._mempool, txid)
        sums = [(len(one), sum(tx.vsize for tx in one), sum(map(self._fee_sat, one))) for one in lines]
        transaction = self._mempool[txid]
        fee_sat = self._fee_sat(transaction)
        return WaitingTransaction(
            txid, transaction.vsize, fee_sat, _START_UNIX_S, self.height, *sums[0], *sums[1]
        )

    async def unspent_of(self, script_pubkey: bytes) -> list[UnspentOutput]:
        await self._reach()
        found = [
            UnspentOutput(outpoint, coin.amount_sat, coin.height, coin.is_coinbase)
            for outpoint, coin in self._utxos.items()
            if coin.script_pubkey == script_pubkey
        ]
        return sorted(found, key=lambda one: (one.height, one.outpoint))

    async def mempool_txids(self) -> frozenset[Txid]:
        await self._reach()
        return frozenset(self._mempool)

    async def utxo(self, outpoint: Outpoint, *, include_mempool: bool = True) -> Utxo | None:
        await self._reach()
        if include_mempool and outpoint in self._mempool_spends():
            return None
        coin = self._utxos.get(outpoint)
        if coin is not None:
            depth = self.height - coin.height + 1
            return Utxo(coin.amount_sat, coin.script_pubkey, coin.is_coinbase, depth)
        parent = self._mempool.get(outpoint.txid) if include_mempool else None
        if parent is None or outpoint.index >= len(parent.outputs):
            return None
        output = parent.outputs[outpoint.index]
        return Utxo(output.amount_sat, output.script_pubkey, False, 0)

    async def estimate_feerate(self, target_blocks: int) -> int | None:
        await self._reach()
        return self.feerate_sat_per_vb

    async def generate_to_address(self, blocks: int, address: str) -> list[BlockHash]:
        await self._reach()
        if self.network is not Network.REGTEST:
            raise NotSupportedError("generatetoaddress", "only regtest mines on request")
        script_pubkey = parse_address(address, self.network)
        if self.full_after is not None and self.full_after < blocks:
            self.mine(self.full_after, script_pubkey)
            raise RpcRefusedError("generatetoaddress", "Disk space is too low!", -1)
        mined = self.mine(blocks, script_pubkey)
        self._answer()
        return mined

    async def close(self) -> None:
        return None

    # -- inside -------------------------------------------------------------------------------

    async def _reach(self) -> None:
        # Pass control on, as a call over a socket does.
        await asyncio.sleep(0)
        if self.down:
            raise NodeUnreachableError("memory", "the test switched it off")

    def _answer(self) -> None:
        if self.lose_answers > 0:
            self.lose_answers -= 1
            raise NodeUnreachableError("memory", "the answer was lost")

    def _find(self, block_hash: BlockHash) -> tuple[Block, int]:
        found = self._blocks.get(block_hash)
        if found is None:
            raise BlockNotFoundError(str(block_hash))
        return found

    def _make_block(self, script_pubkey: bytes, transactions: tuple[Transaction, ...]) -> Block:
        height = len(self._active)
        reward_sat = block_subsidy_sat(height, self.network) + sum(map(self._fee_sat, transactions))
        nonce = next(self._nonces).to_bytes(4, "big")
        coinbase = coinbase_transaction(height, script_pubkey, reward_sat, transactions, nonce)
        previous = self._active[-1] if self._active else BlockHash(bytes(32))
        time_s = _START_UNIX_S + 600 * height
        block = solve(unsolved_block(previous, time_s, REGTEST_BITS, (coinbase, *transactions)))
        assert block is not None, "regtest's target is met by every second nonce"  # noqa: S101
        return block

    def _connect(self, block: Block) -> None:
        height = len(self._active)
        spent: dict[Outpoint, Coin] = {}
        for transaction in block.transactions:
            if not transaction.is_coinbase:
                spent.update((one.prevout, self._utxos.pop(one.prevout)) for one in transaction.inputs)
            for index, output in enumerate(transaction.outputs):
                if not is_unspendable(output.script_pubkey):
                    coin = Coin(output.amount_sat, output.script_pubkey, height, transaction.is_coinbase)
                    self._utxos[Outpoint(transaction.txid, index)] = coin
            self._homes[transaction.txid] = block.hash
            self._mempool.pop(transaction.txid, None)
        self._blocks[block.hash] = (block, height)
        self._spent[block.hash] = spent
        self._active.append(block.hash)

    def _disconnect(self) -> Block:
        block, _ = self._blocks[self._active.pop()]
        for transaction in reversed(block.transactions):
            for index in range(len(transaction.outputs)):
                self._utxos.pop(Outpoint(transaction.txid, index), None)
            del self._homes[transaction.txid]
        made = {transaction.txid for transaction in block.transactions}
        self._utxos.update(
            (outpoint, coin)
            for outpoint, coin in self._spent[block.hash].items()
            if outpoint.txid not in made
        )
        return block

    def _readmit(self, transactions: Iterable[Transaction]) -> None:
        for transaction in transactions:
            try:
                self._admit(transaction)
            except RejectedTransactionError:
                continue

    def _mempool_spends(self) -> set[Outpoint]:
        return {one.prevout for waiting in self._mempool.values() for one in waiting.inputs}

    def _coin_of(self, outpoint: Outpoint) -> Coin | None:
        parent = self._mempool.get(outpoint.txid)
        if parent is not None and outpoint.index < len(parent.outputs):
            output = parent.outputs[outpoint.index]
            return Coin(output.amount_sat, output.script_pubkey, len(self._active), False)
        return self._utxos.get(outpoint)

    def _fee_sat(self, transaction: Transaction) -> int:
        spent = [self._coin_of(one.prevout) for one in transaction.inputs]
        if None in spent:
            raise RejectedTransactionError("bad-txns-inputs-missingorspent")
        total_sat = sum(coin.amount_sat for coin in spent if coin is not None)
        return total_sat - sum(output.amount_sat for output in transaction.outputs)

    def _admit(self, transaction: Transaction) -> None:
        txid = transaction.txid
        if txid in self._mempool:
            return
        if any(Outpoint(txid, index) in self._utxos for index in range(len(transaction.outputs))):
            return
        for gone in self._judge(transaction):
            del self._mempool[gone]
        self._mempool[txid] = transaction

    def _judge(self, transaction: Transaction) -> set[Txid]:
        """Raise if the mempool refuses it; what it would replace there."""
        spent: list[TxOutput] = []
        for one in transaction.inputs:
            coin = self._coin_of(one.prevout)
            if coin is None:
                raise RejectedTransactionError("bad-txns-inputs-missingorspent")
            if not coin.is_mature_at(len(self._active)):
                raise RejectedTransactionError("bad-txns-premature-spend-of-coinbase")
            spent.append(coin.output)
        fee_sat = self._fee_sat(transaction)
        if fee_sat < 0:
            raise RejectedTransactionError("bad-txns-in-belowout")
        if fee_sat < transaction.vsize:
            raise RejectedTransactionError("min relay fee not met")
        replaced = self._replaced_by(transaction, fee_sat)
        verify_scripts(transaction, spent)
        return replaced

    def _replaced_by(self, transaction: Transaction, fee_sat: int) -> set[Txid]:
        """What must leave the mempool for it: those that spend its coins, and all that spend theirs."""
        spends = {one.prevout for one in transaction.inputs}
        gone: set[Txid] = set()
        for txid, waiting in self._mempool.items():
            if any(one.prevout in spends or one.prevout.txid in gone for one in waiting.inputs):
                gone.add(txid)
        if spends & {Outpoint(txid, at) for txid in gone for at in range(len(self._mempool[txid].outputs))}:
            raise RejectedTransactionError("bad-txns-spends-conflicting-tx")
        # BIP125, rules 3 and 4.
        if gone and fee_sat < sum(self._fee_sat(self._mempool[txid]) for txid in gone) + transaction.vsize:
            raise RejectedTransactionError("insufficient fee")
        return gone

"""Follows the node's chain and mempool for every wallet, and then for the event bus.

Each wallet and the ``chain`` key have their own cursor, committed together with what its blocks
did. A crash anywhere leaves each of them at some block, and following goes on from there: no block
is missed and none counts twice. Wallets go first, so that whoever hears of a block finds every
wallet's balance up to date.
"""

from __future__ import annotations

import asyncio
import contextlib
from itertools import islice
from typing import Final

import structlog

from anya_actors.domain.bitcoin.block import Block
from anya_actors.domain.bitcoin.chain_follower import (
    RETAINED_BLOCKS,
    ChainCursor,
    ChainFollowed,
    ReorgTooDeepError,
)
from anya_actors.domain.bitcoin.hashes import BlockHash, Txid
from anya_actors.domain.bitcoin.payment import PaymentVanished, Phase
from anya_actors.domain.bitcoin.subscriptions import WatchedTransactionsSeen, Watcher
from anya_actors.domain.bitcoin.transaction import Transaction
from anya_actors.domain.bitcoin.wallet import PendingTransaction, Wallet, WalletRescanned
from anya_actors.domain.bitcoin.wallet_blocks import (
    Scanner,
    TransactionsSeen,
    TransactionsVanished,
)
from anya_actors.domain.machine import AnyaError, UnavailableError
from anya_actors.ports.bitcoin_rpc import (
    BitcoinRpc,
    BlockNotFoundError,
    ChainInfo,
)
from anya_actors.ports.clock import Clock
from anya_actors.ports.state_store import FencedError
from anya_actors.services.bitcoin.ledger import CHAIN_KEY, SUBSCRIPTIONS_KEY, Ledger, wallet_key
from anya_actors.services.bitcoin.settings import BitcoinSettings
from anya_actors.services.bitcoin.silent_scanning import ScanHeldUpError, SilentScanner
from anya_actors.services.bitcoin.tracks import ChainTrack, SubscriptionsTrack, Track, WalletTrack, cursor_at

BATCH_BLOCKS: Final = 64
BATCH_BYTES: Final = 1_000_000
CACHED_BLOCKS: Final = 2 * BATCH_BLOCKS
MEMPOOL_READS: Final = 500
"""How many unknown transactions of the mempool one pass reads; the rest come with the next."""

_MAX_ROUNDS: Final = 20

_log = structlog.get_logger(__name__)


class WrongChainError(AnyaError):
    """The node is of another network than the settings say; nothing of it is believed."""

    code = "wrong-chain"
    message = "the Bitcoin node is on {}, but the settings say {}"
    remedy = "Correct bitcoin.network or the node's URL."

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(found, expected)


class Follower:
    """Brings wallets up to the node's tip, in a loop and on demand."""

    def __init__(
        self,
        ledger: Ledger,
        rpc: BitcoinRpc,
        silent: SilentScanner,
        clock: Clock,
        settings: BitcoinSettings,
    ) -> None:
        self._ledger = ledger
        self._rpc = rpc
        self._silent = silent
        self._clock = clock
        self._settings = settings
        self._turn = asyncio.Lock()
        self._wake = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._blocks: dict[BlockHash, Block] = {}
        self._seen: set[Txid] = set()
        self._mempool_due_s = 0.0
        self._troubles: dict[str, str] = {}

    # -- the loop -----------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to follow in the background."""
        self._loop = asyncio.create_task(self._run())

    def wake(self) -> None:
        """Look at the node now instead of at the next interval."""
        self._mempool_due_s = 0.0
        self._wake.set()

    def look_again(self) -> None:
        """Forget what of the mempool was looked at: someone new wants to know of it."""
        self._seen.clear()

    async def close(self) -> None:
        if self._loop is not None:
            self._loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loop

    def check_health(self) -> None:
        """Raise if the loop has ended, which it never should."""
        if self._loop is not None and self._loop.done():
            raise UnavailableError("the chain follower", "its loop has ended")

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self.follow(mempool=self._clock.monotonic_s() >= self._mempool_due_s)
                self._trouble("node", None)
            except FencedError:
                return
            except AnyaError as error:
                self._trouble("node", error)
            except Exception:  # noqa: BLE001 - told in the log with its traceback
                # A defect of ours must not end the following of other blocks.
                _log.exception("following the chain failed")
            await self._pause()

    async def _pause(self) -> None:
        woken = asyncio.create_task(self._wake.wait())
        rested = asyncio.ensure_future(self._clock.sleep(self._settings.poll_interval_s))
        try:
            await asyncio.wait({woken, rested}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
            rested.cancel()

    def _trouble(self, what: str, error: AnyaError | None) -> None:
        # Told once when it begins and once when it ends, not at every poll.
        now = None if error is None else str(error)
        if now == self._troubles.get(what):
            return
        if now is None:
            del self._troubles[what]
            _log.info("following again", what=what)
        else:
            self._troubles[what] = now
            _log.warning("following waits", what=what, error=now)

    # -- one pass -----------------------------------------------------------------------------

    async def follow(self, *, mempool: bool = True) -> None:
        """Bring every wallet, and then the published chain, to the node's tip.

        Raises an `UnavailableError` when the node does not answer, and `WrongChainError`.
        """
        async with self._turn:
            info = await self._rpc.chain_info()
            if info.chain != self._settings.network.core_name:
                raise WrongChainError(info.chain, self._settings.network.core_name)
            names = await self._ledger.wallet_names()
            for track in await self._tracks(names):
                await self._follow_track(track, info)
            if mempool:
                await self._watch_mempool(names, info)

    async def _tracks(self, names: list[str]) -> list[Track]:
        tracks: list[Track] = [WalletTrack(self._ledger, self._silent, name) for name in names]
        if await self._ledger.watchlist() is not None:
            tracks.append(SubscriptionsTrack(self._ledger))
        return [*tracks, ChainTrack(self._ledger)]

    async def _follow_track(self, track: Track, info: ChainInfo) -> None:
        # One wallet that cannot follow must not keep the others from it.
        try:
            trouble = await self._sync_or_start_over(track, info)
        except ScanHeldUpError as error:
            trouble = error
        self._trouble(track.key, trouble)

    async def _sync_or_start_over(self, track: Track, info: ChainInfo) -> AnyaError | None:
        """What keeps the track from following, if anything does."""
        try:
            await self._sync(track, info)
        except ReorgTooDeepError as error:
            # A node that has still to read its blocks has not left ours: it is waited for.
            if info.initial_block_download or not await self._start_over(track, info):
                return error
        return None

    async def _start_over(self, track: Track, info: ChainInfo) -> bool:
        """Follow again from where the track was born; whether it can."""
        birth_height = await track.birth_height()
        if birth_height is None:
            return False
        cursor = await cursor_at(self._rpc, min(birth_height, info.height))
        _, count = await self._ledger.cursor(track.key)
        await self._ledger.follow(track.key, WalletRescanned(cursor, reorged=True), count)
        self._seen.clear()
        await self._sync(track, info)
        return True

    async def _sync(self, track: Track, info: ChainInfo) -> None:
        if track.key == CHAIN_KEY and await self._ledger.chain() is None:
            await self._meet_chain(info)
        for _ in range(_MAX_ROUNDS):
            cursor, _ = await self._ledger.cursor(track.key)
            if cursor.tip_hash == info.best_hash or _is_catching_up(info, cursor):
                return
            await self._leave_fork(track, await self._fork_height(track, cursor, info))
            await self._connect_up_to(track, info.height)
            info = await self._rpc.chain_info()

    async def _meet_chain(self, info: ChainInfo) -> None:
        oldest = max(0, info.height - RETAINED_BLOCKS + 1)
        hashes = await self._rpc.block_hashes(range(oldest, info.height + 1))
        if hashes[-1:] != [info.best_hash] or (await self._rpc.chain_info()).best_hash != info.best_hash:
            raise UnavailableError("the chain", "its tip moved while it was read")
        cursor = ChainCursor(info.height, tuple(bytes(known) for known in hashes))
        await self._ledger.engine.handle(
            CHAIN_KEY, ChainFollowed(cursor), message_id=f"follow/{CHAIN_KEY}/met"
        )

    async def _fork_height(self, track: Track, cursor: ChainCursor, info: ChainInfo) -> int:
        """The greatest height at which the node's chain and ours agree."""
        above, step = min(cursor.height, info.height) + 1, 1
        while above > 0:
            if above <= cursor.oldest_height:
                cursor = await self._remember(track, cursor)
            below = max(cursor.oldest_height, above - step)
            theirs = await self._rpc.block_hashes(range(below, above))
            for at in range(len(theirs) - 1, -1, -1):
                if theirs[at] == cursor.hash_at(below + at):
                    return below + at
            above, step = below, min(2 * step, RETAINED_BLOCKS)
        raise ReorgTooDeepError(0)

    async def _remember(self, track: Track, cursor: ChainCursor) -> ChainCursor:
        """Ask the node for the ancestors of our oldest block; each hash vouches for the next one down."""
        oldest, older = BlockHash(cursor.hashes[0]), []
        try:
            for _ in range(min(RETAINED_BLOCKS, cursor.oldest_height)):
                oldest = (await self._rpc.header(oldest)).header.previous
                older.append(bytes(oldest))
        except BlockNotFoundError:
            raise ReorgTooDeepError(cursor.oldest_height) from None
        _, count = await self._ledger.cursor(track.key)
        await self._ledger.follow(track.key, track.remembered(tuple(reversed(older))), count)
        longer, _ = await self._ledger.cursor(track.key)
        return longer

    async def _leave_fork(self, track: Track, fork_height: int) -> None:
        cursor, count = await self._ledger.cursor(track.key)
        if fork_height < cursor.height:
            gone = tuple(bytes(block_hash) for block_hash in cursor.above(fork_height))
            await self._ledger.follow(track.key, track.disconnected(gone), count)
            self._seen.clear()  # what these blocks held may wait in the mempool again

    async def _connect_up_to(self, track: Track, height: int) -> None:
        while True:
            cursor, _ = await self._ledger.cursor(track.key)
            blocks = await self._read_blocks(cursor, height)
            if not blocks:
                return
            await track.connect(blocks)

    async def _read_blocks(self, cursor: ChainCursor, height: int) -> list[Block]:
        """The next blocks on the cursor; none when the node's chain has turned away from it."""
        blocks: list[Block] = []
        previous, size = cursor.tip_hash, 0
        heights = range(cursor.height + 1, min(height, cursor.height + BATCH_BLOCKS) + 1)
        for block_hash in await self._rpc.block_hashes(heights):
            if size >= BATCH_BYTES:
                break
            block = await self._read_block(block_hash)
            if block.header.previous != previous:
                break
            blocks.append(block)
            previous, size = block_hash, size + block.size
        return blocks

    async def _read_block(self, block_hash: BlockHash) -> Block:
        block = self._blocks.get(block_hash)
        if block is None:
            block = await self._rpc.block(block_hash)
            # Kept while other wallets need the same blocks.
            while self._blocks and (
                len(self._blocks) >= CACHED_BLOCKS
                or sum(kept.size for kept in self._blocks.values()) > 4 * BATCH_BYTES
            ):
                del self._blocks[next(iter(self._blocks))]
            self._blocks[block_hash] = block
        return block

    # -- the mempool --------------------------------------------------------------------------

    async def _watch_mempool(self, names: list[str], info: ChainInfo) -> None:
        self._mempool_due_s = self._clock.monotonic_s() + self._settings.mempool_interval_s
        watchlist = await self._ledger.watchlist()
        if not names and (watchlist is None or not watchlist.subscriptions):
            return
        # Only what a node had before this look can be missing from it.
        broadcast = await self._broadcast_payments()
        txids = await self._rpc.mempool_txids()
        self._seen &= txids
        fresh = await self._read_fresh(txids)
        await self._tell_subscribers(fresh)
        settled = (await self._rpc.chain_info()).best_hash == info.best_hash
        for name in names:
            async with self._ledger.locks(wallet_key(name)):
                await self._tell_seen(await self._ledger.wallet(name), fresh, txids)
                # A transaction that is missing from the mempool has vanished only if no block
                # that we have not followed yet can hold it.
                wallet = await self._ledger.wallet(name)
                if settled and wallet.cursor.tip_hash == info.best_hash:
                    await self._tell_vanished(wallet, txids, broadcast)
        self._seen.update(transaction.txid for transaction in fresh)

    async def _tell_subscribers(self, fresh: list[Transaction]) -> None:
        async with self._ledger.locks(SUBSCRIPTIONS_KEY):
            watchlist = await self._ledger.watchlist()
            found = () if watchlist is None else Watcher(watchlist).find(fresh)
            if watchlist is not None and found:
                event = WatchedTransactionsSeen(found)
                await self._ledger.follow(SUBSCRIPTIONS_KEY, event, watchlist.follow_count)

    async def _read_fresh(self, txids: frozenset[Txid]) -> list[Transaction]:
        unknown = list(islice(sorted(txids - self._seen), MEMPOOL_READS))
        found = await self._rpc.transactions(unknown)
        return [one.transaction for one in found if one.block_hash is None]

    async def _tell_seen(self, wallet: Wallet, fresh: list[Transaction], txids: frozenset[Txid]) -> None:
        looked_at = {one.txid: one for one in fresh}
        shared: dict[bytes, bytes] = {}
        trouble = None
        try:
            silent, shared = await self._silent.shared_waiting(wallet, fresh, txids)
            looked_at |= {one.txid: one for one in silent}
        except ScanHeldUpError as error:
            trouble = error
        self._trouble(f"{wallet_key(wallet.name)}/mempool", trouble)
        scanner = Scanner(wallet, shared)
        found = [scanned for scanned in map(scanner.scan, looked_at.values()) if scanned is not None]
        known = {pending.txid for pending in wallet.pending}
        paying = tuple(
            PendingTransaction(one.txid, one.received_sat)
            for one in found
            if one.received and one.txid not in known
        )
        if paying:
            key = wallet_key(wallet.name)
            await self._ledger.follow(key, TransactionsSeen(paying), wallet.follow_count)

    async def _broadcast_payments(self) -> set[str]:
        return {
            payment.payment_id
            for wallet in await self._ledger.wallets()
            for payment in wallet.payments
            if payment.phase is Phase.BROADCAST and not payment.broadcast_owed
        }

    async def _tell_vanished(self, wallet: Wallet, txids: frozenset[Txid], broadcast: set[str]) -> None:
        key = wallet_key(wallet.name)
        gone = tuple(pending.txid for pending in wallet.pending if Txid(pending.txid) not in txids)
        if gone:
            await self._ledger.follow(key, TransactionsVanished(gone), wallet.follow_count)
        for payment in wallet.payments:
            lost = payment.payment_id in broadcast and Txid(payment.txid) not in txids
            # What a node refused once is offered again on the next block, not at every poll.
            if lost and payment.phase is Phase.BROADCAST and payment.refused_height != wallet.cursor.height:
                event = PaymentVanished(payment.payment_id)
                message_id = f"follow/{payment.payment_id}/vanished/{payment.broadcasts}"
                await self._ledger.engine.handle(key, event, message_id=message_id)


def _is_catching_up(info: ChainInfo, cursor: ChainCursor) -> bool:
    """Whether the node is still on its way to a block that we know from before."""
    return info.initial_block_download and cursor.hash_at(info.height) == info.best_hash

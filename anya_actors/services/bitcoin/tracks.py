"""Who follows the chain: each track has its own cursor and its own idea of what a block changes."""

from __future__ import annotations

from typing import Protocol

from anya_actors.domain.bitcoin.block import Block
from anya_actors.domain.bitcoin.chain_follower import (
    RETAINED_BLOCKS,
    ChainConnected,
    ChainCursor,
    ChainDisconnected,
    ChainRemembered,
    ReorgTooDeepError,
    block_ref,
)
from anya_actors.domain.bitcoin.subscriptions import (
    WatchedBlocksConnected,
    WatchedBlocksDisconnected,
    Watcher,
    WatchlistRemembered,
)
from anya_actors.domain.bitcoin.wallet_blocks import BlocksConnected, BlocksDisconnected, Scanner
from anya_actors.domain.machine import Event
from anya_actors.ports.bitcoin_rpc import BitcoinRpc
from anya_actors.services.bitcoin.ledger import CHAIN_KEY, SUBSCRIPTIONS_KEY, Ledger, wallet_key
from anya_actors.services.bitcoin.silent_scanning import SilentScanner


class Track(Protocol):
    """One follower of the chain, by the key of its state."""

    key: str

    async def connect(self, blocks: list[Block]) -> None:
        """Apply the next blocks, oldest first."""

    def disconnected(self, hashes: tuple[bytes, ...]) -> Event:
        """What the state is told when these blocks leave the chain, newest first."""

    def remembered(self, hashes: tuple[bytes, ...]) -> Event:
        """What it is told of its oldest block's ancestors; raises `ReorgTooDeepError` if that is no help."""

    async def birth_height(self) -> int | None:
        """The block on which it can begin anew, after a reorganisation that is too deep to undo."""


async def cursor_at(rpc: BitcoinRpc, height: int) -> ChainCursor:
    """A cursor on the block of this height of the node's chain."""
    hashes = await rpc.block_hashes(range(max(0, height - RETAINED_BLOCKS + 1), height + 1))
    return ChainCursor(height, tuple(bytes(one) for one in hashes))


class ChainTrack:
    """Publishes the blocks themselves."""

    key = CHAIN_KEY

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def connect(self, blocks: list[Block]) -> None:
        cursor, count = await self._ledger.cursor(self.key)
        refs = tuple(block_ref(block, at) for at, block in enumerate(blocks, cursor.height + 1))
        await self._ledger.follow(self.key, ChainConnected(refs), count)

    def disconnected(self, hashes: tuple[bytes, ...]) -> Event:
        return ChainDisconnected(hashes)

    def remembered(self, hashes: tuple[bytes, ...]) -> Event:
        return ChainRemembered(hashes)

    async def birth_height(self) -> int | None:
        return None


class SubscriptionsTrack:
    """Tells subscribers."""

    key = SUBSCRIPTIONS_KEY

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def connect(self, blocks: list[Block]) -> None:
        # A subscription that comes meanwhile must not miss what these blocks hold.
        async with self._ledger.locks(self.key):
            watchlist = await self._ledger.watchlist()
            if watchlist is None:
                return
            watcher = Watcher(watchlist)
            found = tuple(
                watcher.find_in_block(block, at)
                for at, block in enumerate(blocks, watchlist.cursor.height + 1)
            )
            await self._ledger.follow(self.key, WatchedBlocksConnected(found), watchlist.follow_count)

    def disconnected(self, hashes: tuple[bytes, ...]) -> Event:
        return WatchedBlocksDisconnected(hashes)

    def remembered(self, hashes: tuple[bytes, ...]) -> Event:
        return WatchlistRemembered(hashes)

    async def birth_height(self) -> int | None:
        return None


class WalletTrack:
    """Keeps one wallet's coins and payments as the chain has them."""

    def __init__(self, ledger: Ledger, silent: SilentScanner, name: str) -> None:
        self._ledger = ledger
        self._silent = silent
        self._name = name
        self.key = wallet_key(name)

    async def connect(self, blocks: list[Block]) -> None:
        # Scanned with the keys that the wallet has at the moment of the commit: an address told to
        # someone a moment ago may already be paid in these blocks.
        async with self._ledger.locks(self.key):
            wallet = await self._ledger.wallet(self._name)
            scanner = Scanner(wallet, await self._silent.shared(wallet, blocks))
            scanned = tuple(
                scanner.scan_block(block, height)
                for height, block in enumerate(blocks, wallet.cursor.height + 1)
            )
            await self._ledger.follow(self.key, BlocksConnected(scanned), wallet.follow_count)

    def disconnected(self, hashes: tuple[bytes, ...]) -> Event:
        return BlocksDisconnected(hashes)

    def remembered(self, hashes: tuple[bytes, ...]) -> Event:
        # The coins that those blocks spent are no longer known: hashes alone do not bring them back.
        raise ReorgTooDeepError(-1)

    async def birth_height(self) -> int | None:
        return max(0, (await self._ledger.wallet(self._name)).birth_height)

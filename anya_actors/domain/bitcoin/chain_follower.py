"""Following a chain block by block, so that no reorganisation is missed and none counted twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from anya_actors.domain.bitcoin.block import Block
from anya_actors.domain.bitcoin.events import BitcoinBlockConnected, BitcoinBlockDisconnected
from anya_actors.domain.bitcoin.hashes import BlockHash
from anya_actors.domain.machine import AnyaError, Event, Step

RETAINED_BLOCKS: Final = 288
"""How many of the newest hashes a cursor keeps: what a reorganisation of less than that needs."""


class BlockOutOfOrderError(AnyaError):
    """A block that does not stand on the last one, or is not the last one."""

    code = "block-out-of-order"
    message = "block {} does not fit on the tip {}"
    remedy = "The follower finds the fork and goes on by itself."

    def __init__(self, block_hash: str, tip_hash: str) -> None:
        super().__init__(block_hash, tip_hash)


class ReorgTooDeepError(AnyaError):
    """The node's chain has nothing in common with the part of ours that we remember."""

    code = "reorg-too-deep"
    message = "the node's chain forked from ours below height {}, and it does not know our blocks below that"
    remedy = "Check that the platform talks to the same network and node as before; then restore a backup."

    def __init__(self, oldest_height: int) -> None:
        super().__init__(oldest_height)


class BlockRef(msgspec.Struct, frozen=True):
    """A block by name; hashes in wire order."""

    height: int
    hash: bytes
    previous_hash: bytes
    time_unix_s: int


class ChainCursor(msgspec.Struct, frozen=True):
    """The newest block followed, at ``height``, and the hashes that lead to it, newest last."""

    height: int
    hashes: tuple[bytes, ...]

    @property
    def tip_hash(self) -> BlockHash:
        return BlockHash(self.hashes[-1])

    @property
    def oldest_height(self) -> int:
        return self.height - len(self.hashes) + 1

    def hash_at(self, height: int) -> BlockHash | None:
        """The hash at this height, or None if it is not remembered."""
        if not self.oldest_height <= height <= self.height:
            return None
        return BlockHash(self.hashes[height - self.oldest_height])

    def connect(self, block: BlockRef) -> ChainCursor:
        """The cursor on ``block``; raises `BlockOutOfOrderError` if it has another parent."""
        if block.previous_hash != self.hashes[-1] or block.height != self.height + 1:
            raise BlockOutOfOrderError(str(BlockHash(block.hash)), str(self.tip_hash))
        return ChainCursor(block.height, (*self.hashes, block.hash)[-RETAINED_BLOCKS:])

    def disconnect(self, block_hash: bytes) -> ChainCursor:
        """The cursor on the parent of its tip, which must be ``block_hash``."""
        if block_hash != self.hashes[-1]:
            raise BlockOutOfOrderError(str(BlockHash(block_hash)), str(self.tip_hash))
        if len(self.hashes) == 1:
            raise ReorgTooDeepError(self.oldest_height)
        return ChainCursor(self.height - 1, self.hashes[:-1])

    def lengthen(self, older: Sequence[bytes]) -> ChainCursor:
        """The cursor with the hashes below its oldest one, lowest first: they lead to it."""
        return ChainCursor(self.height, (*older, *self.hashes))

    def above(self, fork_height: int) -> tuple[BlockHash, ...]:
        """The hashes to disconnect, newest first, until the tip is at ``fork_height``."""
        count = self.height - fork_height
        return tuple(BlockHash(known) for known in reversed(self.hashes[len(self.hashes) - count :]))


def block_ref(block: Block, height: int) -> BlockRef:
    """The block's name at this height."""
    return BlockRef(height, bytes(block.hash), bytes(block.header.previous), block.header.time_s)


class FollowedChain(msgspec.Struct, frozen=True, tag=True):
    """How far block events have been published. ``follow_count`` numbers the changes."""

    cursor: ChainCursor
    follow_count: int = 0


class ChainFollowed(Event, frozen=True):
    """The chain as it stood when the platform met it; what came before is not told."""

    cursor: ChainCursor


class ChainConnected(Event, frozen=True):
    """Blocks that joined the chain, oldest first."""

    blocks: tuple[BlockRef, ...]


class ChainDisconnected(Event, frozen=True):
    """Blocks that left the chain, newest first; hashes in wire order."""

    hashes: tuple[bytes, ...]


class ChainRemembered(Event, frozen=True):
    """Ancestors of the oldest block that the cursor knew, lowest first; hashes in wire order."""

    hashes: tuple[bytes, ...]


def remember_chain(chain: FollowedChain, event: ChainRemembered) -> Step[FollowedChain]:
    return _moved(chain, chain.cursor.lengthen(event.hashes), [])


def connect_chain(chain: FollowedChain, event: ChainConnected) -> Step[FollowedChain]:
    cursor = chain.cursor
    for block in event.blocks:
        cursor = cursor.connect(block)
    return _moved(chain, cursor, [_connected(block) for block in event.blocks])


def disconnect_chain(chain: FollowedChain, event: ChainDisconnected) -> Step[FollowedChain]:
    cursor = chain.cursor
    published = []
    for block_hash in event.hashes:
        published.append(BitcoinBlockDisconnected(cursor.height, str(BlockHash(block_hash))))
        cursor = cursor.disconnect(block_hash)
    return _moved(chain, cursor, published)


def _connected(block: BlockRef) -> BitcoinBlockConnected:
    return BitcoinBlockConnected(
        block.height, str(BlockHash(block.hash)), str(BlockHash(block.previous_hash)), block.time_unix_s
    )


def _moved(
    chain: FollowedChain,
    cursor: ChainCursor,
    published: Sequence[BitcoinBlockConnected | BitcoinBlockDisconnected],
) -> Step[FollowedChain]:
    followed = replace(chain, cursor=cursor, follow_count=chain.follow_count + 1)
    return Step(followed, events=tuple(published))

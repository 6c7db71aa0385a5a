"""The chain that a wallet had followed before a rescan, until the rescan has come as far again.

A rescan forgets coins, and with them what would tell that their blocks have left the chain. This
remembers it: where the chain followed anew is another one, what was told of the old is taken back.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from anya_actors.domain.bitcoin.chain_follower import BlockRef, ChainCursor


class ToldChain(msgspec.Struct, frozen=True):
    """The cursor before the rescan, and what was told as confirmed above its start: txid and height."""

    cursor: ChainCursor
    transactions: tuple[tuple[bytes, int], ...] = ()

    def with_more(self, transactions: Iterable[tuple[bytes, int]]) -> ToldChain:
        """With what a further rescan forgets."""
        return ToldChain(self.cursor, tuple(dict.fromkeys((*self.transactions, *transactions))))

    def without(self, height: int) -> ToldChain:
        """Without what was in a block that has been disconnected, and told so."""
        left = tuple(one for one in self.transactions if one[1] != height)
        return ToldChain(self.cursor, left)

    def is_left_by(self, block: BlockRef) -> bool:
        """Whether the block shows that this is no longer the chain."""
        return self.cursor.hash_at(block.height) not in (None, block.hash)

    def ends_at(self, block: BlockRef) -> bool:
        """Whether the rescan has come as far again."""
        return block.height >= self.cursor.height

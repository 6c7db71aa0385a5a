"""Where the embedded node keeps what it looks up in its chain: ordered rows, changed block by block.

Calls are synchronous and quick: services read in the event loop. `prepare` and the reads may be
called in a thread meanwhile. The node can build everything here anew from its journal, so a write
need not be synced; but it must be whole or absent after any crash, and never present without
those before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol


class ChainIndexStore(Protocol):
    """Rows of bytes in the order of their keys, which begin with an ASCII letter.

    Every method raises `IndexDamagedError` when what lies on disk cannot be understood; the next
    `ChainIndexStores.open` then gives an empty store.
    """

    def get(self, key: bytes) -> bytes | None:
        """The row, or None."""

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Each key's row or None, in their order."""

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Every row whose key begins with ``prefix`` and is not less than ``start``, in order.

        Rows as they were when the iteration began.
        """

    def prepare(self, puts: Sequence[tuple[bytes, bytes]], deletes: Sequence[bytes]) -> Any:
        """Make a batch ready for `write`; changes nothing."""

    def write(self, batch: Any) -> None:
        """Apply a prepared batch, all or nothing; it can be read when this returns."""

    def clear(self) -> None:
        """Drop every row."""

    def close(self) -> None:
        """Release the store; the last call."""


class ChainIndexStores(Protocol):
    """Opens the store of one data directory."""

    def open(self) -> ChainIndexStore:
        """Open it, empty if it is new or was found damaged; blocks."""

"""A list of records that only grows and survives any crash."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from anya_actors.domain.machine import AnyaError


class DamagedLogError(AnyaError):
    """A record in the middle of a log does not match its checksum: not a torn write, damage."""

    code = "damaged-log"
    message = "record {1} of {0} is damaged"
    remedy = "Restore the file from a backup; nothing was changed."

    def __init__(self, name: str, index: int) -> None:
        super().__init__(name, index)


class LogFullError(AnyaError):
    """The disk takes no more; the records were not appended."""

    code = "store-full"
    message = "{} cannot be written: {}"
    remedy = "Free disk space, then send the call again with the same message id."

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)


class AppendLog(Protocol):
    """Records numbered from 0. A torn last write is cut off when the log is opened."""

    def __len__(self) -> int:
        """How many records there are."""

    async def append(self, *records: bytes) -> int:
        """Add records, all or nothing, synced when it returns; the first one's index.

        Concurrent appends share one sync.
        """

    async def read(self, start: int, limit: int) -> list[bytes]:
        """Up to ``limit`` records from index ``start``."""

    async def rewrite(self, change: Callable[[bytes], bytes], *more: bytes) -> None:
        """Put ``change(record)`` in every record's place and add ``more``; all or nothing, whatever crashes.

        ``change`` is called in the order of the records, perhaps in another thread. Raises what it raises.
        When it returns, the log holds what was replaced nowhere any more.
        """

    async def close(self) -> None:
        """Release the file."""

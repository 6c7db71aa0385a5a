"""An append log in memory."""

from __future__ import annotations

from collections.abc import Callable


class MemoryAppendLog:
    """An `AppendLog` that is gone with the process."""

    def __init__(self) -> None:
        self._records: list[bytes] = []

    def __len__(self) -> int:
        return len(self._records)

    async def append(self, *records: bytes) -> int:
        first = len(self._records)
        self._records.extend(records)
        return first

    async def read(self, start: int, limit: int) -> list[bytes]:
        return self._records[start : start + limit]

    async def rewrite(self, change: Callable[[bytes], bytes], *more: bytes) -> None:
        self._records = [*map(change, self._records), *more]

    async def close(self) -> None:
        """Nothing to release."""

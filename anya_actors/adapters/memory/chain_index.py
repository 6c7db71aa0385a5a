"""Index rows in memory."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

Batch: TypeAlias = tuple[Mapping[bytes, bytes], frozenset[bytes]]


class MemoryChainIndex:
    """A `ChainIndexStore` that is gone with the process."""

    def __init__(self) -> None:
        self._rows: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []

    def get(self, key: bytes) -> bytes | None:
        return self._rows.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return [self._rows.get(key) for key in keys]

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        first = bisect_left(self._keys, max(prefix, start))
        found = []
        for at in range(first, len(self._keys)):
            key = self._keys[at]
            if not key.startswith(prefix):
                break
            found.append((key, self._rows[key]))
        return iter(found)

    def prepare(self, puts: Sequence[tuple[bytes, bytes]], deletes: Sequence[bytes]) -> Batch:
        return MappingProxyType(dict(puts)), frozenset(deletes)

    def write(self, batch: Batch) -> None:
        puts, deletes = batch
        gone = {key for key in deletes if self._rows.pop(key, None) is not None}
        fresh = puts.keys() - self._rows.keys()
        self._rows.update(puts)
        if gone:
            self._keys = [key for key in self._keys if key not in gone or key in puts]
            fresh -= gone
        # Sorted runs are merged, not sorted anew.
        self._keys += sorted(fresh)
        self._keys.sort()

    def clear(self) -> None:
        self._rows.clear()
        self._keys.clear()

    def close(self) -> None:
        """Nothing to release."""


class MemoryChainIndexes:
    """Opens the same store again and again, as a disk would."""

    def __init__(self) -> None:
        self.store = MemoryChainIndex()

    def open(self) -> MemoryChainIndex:
        return self.store

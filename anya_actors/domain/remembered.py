"""A bounded memory of what was worked out before: the least recently used goes first."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """Values by key, as long as their sizes together stay below the limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: dict[K, tuple[V, int]] = {}
        self._total = 0

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: K) -> V | None:
        """The value, which is now the one used last."""
        found = self._values.pop(key, None)
        if found is None:
            return None
        self._values[key] = found
        return found[0]

    def put(self, key: K, value: V, size: int) -> None:
        """Remember; what is larger than the limit is not kept."""
        known = self._values.pop(key, None)
        if known is not None:
            self._total -= known[1]
        self._values[key] = (value, size)
        self._total += size
        while self._total > self._limit:
            _, gone = self._values.pop(next(iter(self._values)))
            self._total -= gone

"""How often a key acted in the last second."""

from __future__ import annotations

from collections import deque
from typing import Final

WINDOW_S: Final = 1.0


class LastSecond:
    """Counts what was done in the second up to now, whatever the beat of the clock's seconds."""

    __slots__ = ("_done", "_sum")

    def __init__(self) -> None:
        self._done: deque[tuple[float, int]] = deque()
        self._sum = 0

    def take(self, now_s: float, count: int, limit: int) -> bool:
        """Count ``count`` more if that stays within ``limit``; whether it did. Time never runs back."""
        while self._done and now_s - self._done[0][0] >= WINDOW_S:
            self._sum -= self._done.popleft()[1]
        if self._sum + count > limit:
            return False
        if count:
            self._done.append((now_s, count))
            self._sum += count
        return True

"""The operating system's source of chance."""

from __future__ import annotations

import secrets


class SystemRandomness:
    """A `Randomness` that draws every byte from the operating system."""

    def __init__(self) -> None:
        self._source = secrets.SystemRandom()

    def token_bytes(self, size: int) -> bytes:
        return secrets.token_bytes(size)

    def uniform(self) -> float:
        return self._source.random()

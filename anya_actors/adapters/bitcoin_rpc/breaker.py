"""A circuit breaker: who did not answer several times is left in peace for a moment."""

from __future__ import annotations

from anya_actors.ports.bitcoin_rpc import NodeUnreachableError
from anya_actors.ports.clock import Clock


class CircuitBreaker:
    """Opens after ``threshold`` failures in a row; then one call each ``rest_s`` may try again."""

    def __init__(self, clock: Clock, *, threshold: int = 5, rest_s: float = 1.0) -> None:
        self._clock = clock
        self._threshold = threshold
        self._rest_s = rest_s
        self._failures = 0
        self._retry_at_s = 0.0

    def check(self, url: str) -> None:
        """Raise `NodeUnreachableError` at once while the circuit is open."""
        if self._failures < self._threshold:
            return
        now_s = self._clock.monotonic_s()
        if now_s < self._retry_at_s:
            raise NodeUnreachableError(url, f"it did not answer {self._failures} times in a row")
        self._retry_at_s = now_s + self._rest_s

    def failed(self) -> None:
        self._failures += 1
        self._retry_at_s = self._clock.monotonic_s() + self._rest_s

    def succeeded(self) -> None:
        self._failures = 0

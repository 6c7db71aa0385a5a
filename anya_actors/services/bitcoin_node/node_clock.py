"""The time that the node goes by: the machine's, or one that a test has set (``setmocktime``)."""

from __future__ import annotations

from anya_actors.ports.clock import Clock


class NodeClock:
    """A `Clock` whose wall-clock time can be made to stand still. Delays are real ones all the same."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.mocked_s = 0
        """Unix seconds; 0 where the machine's clock holds."""

    def now_unix_ms(self) -> int:
        return self.mocked_s * 1000 if self.mocked_s else self._clock.now_unix_ms()

    def now_s(self) -> int:
        """Seconds since the Unix epoch."""
        return self.now_unix_ms() // 1000

    def monotonic_s(self) -> float:
        return self._clock.monotonic_s()

    async def sleep(self, delay_s: float) -> None:
        await self._clock.sleep(delay_s)

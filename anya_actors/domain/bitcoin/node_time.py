"""What a regtest node's time may be set to."""

from __future__ import annotations

from typing import Final

MAX_MOCK_TIME_S: Final = (1 << 63) // 10**9
"""So that it still fits into 64 bits in nanoseconds, as in Core."""

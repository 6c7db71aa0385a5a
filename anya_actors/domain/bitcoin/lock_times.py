"""When a transaction may enter a block: lock times (BIP65's sense, BIP113) and BIP68."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from anya_actors.domain.bitcoin.transaction import SEQUENCE_FINAL, Transaction

LOCK_TIME_THRESHOLD: Final = 500_000_000
"""Below: a height. From here on: Unix seconds."""

_DISABLED, _TIME_TYPE, _MASK = 1 << 31, 1 << 22, 0xFFFF
_GRANULARITY: Final = 9  # units of 512 seconds


def is_final(transaction: Transaction, height: int, median_time_past_s: int) -> bool:
    """Whether a block of this height, on a tip of this median time, may hold it."""
    if transaction.lock_time == 0:
        return True
    limit = height if transaction.lock_time < LOCK_TIME_THRESHOLD else median_time_past_s
    if transaction.lock_time < limit:
        return True
    return all(tx_input.sequence == SEQUENCE_FINAL for tx_input in transaction.inputs)


def meets_sequence_locks(
    transaction: Transaction,
    coin_heights: Sequence[int],
    height: int,
    median_time_past_s: int,
    median_time_past_at: Callable[[int], int],
) -> bool:
    """Whether the relative lock times of all inputs have passed for a block of this height (BIP68).

    ``coin_heights`` are those of the coins spent (the next height for unconfirmed ones);
    ``median_time_past_at(h)`` is the median time of the block at height ``h``.
    """
    if transaction.version & 0xFFFFFFFF < 2:
        return True
    for tx_input, coin_height in zip(transaction.inputs, coin_heights, strict=True):
        if tx_input.sequence & _DISABLED:
            continue
        delay = tx_input.sequence & _MASK
        if tx_input.sequence & _TIME_TYPE:
            # Counted from the median time of the block before the coin's own.
            since_s = median_time_past_at(max(coin_height - 1, 0))
            if since_s + (delay << _GRANULARITY) > median_time_past_s:
                return False
        elif coin_height + delay > height:
            return False
    return True

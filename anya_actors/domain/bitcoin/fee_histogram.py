"""How the waiting transactions bid for blocks: the histogram of Electrum and Esplora."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

BIN_VSIZE: Final = 50_000


def fee_histogram(entries: Iterable[tuple[int, int]]) -> list[tuple[float, int]]:
    """Pairs of feerate in sat/vB and total vsize, the highest rates first; entries are (fee, vsize).

    All that a pair counts pay at least its rate, and less than the rate of the pair before. A bin
    ends when it holds over 50,000 vB. Rates are rounded down, so that "at least" stays true.
    """
    by_rate = sorted(((_rate(fee_sat, vsize), vsize) for fee_sat, vsize in entries), reverse=True)
    pairs: list[tuple[float, int]] = []
    last, size = 0.0, 0
    for rate, vsize in by_rate:
        if size > BIN_VSIZE and rate != last:
            pairs.append((last, size))
            size = 0
        last = rate
        size += vsize
    if size:
        pairs.append((last, size))
    return pairs


def _rate(fee_sat: int, vsize: int) -> float:
    return fee_sat * 1000 // vsize / 1000

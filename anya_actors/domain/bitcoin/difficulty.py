"""How much work each network demands of its next header (Core, ``pow.cpp`` and ``chainparams.cpp``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from anya_actors.domain.bitcoin.block import BlockHeader, target_of
from anya_actors.domain.bitcoin.network import Network

SPACING_S: Final = 600
RETARGET_BLOCKS: Final = 2016
TIMESPAN_S: Final = SPACING_S * RETARGET_BLOCKS
MAX_TIMEWARP_S: Final = 600
"""By how much a period's first block may precede the last of the period before it (BIP94)."""

HeaderAt = Callable[[int], BlockHeader]


@dataclass(frozen=True)
class DifficultyRules:
    """What differs between the networks.

    ``allows_easy_blocks``: a block twenty minutes late may be the easiest. ``retargets``: difficulty
    follows time. ``bip94``: testnet4's cure for time warps and lost difficulty.
    """

    easiest_bits: int
    allows_easy_blocks: bool = False
    retargets: bool = True
    bip94: bool = False

    @property
    def easiest_target(self) -> int:
        return target_of(self.easiest_bits)

    def next_bits(self, height: int, time_s: int, header_at: HeaderAt) -> int:
        """The bits that the header at this height must have. ``header_at`` gives those below it.

        It is asked for headers down to the beginning of the difficulty period that ends below ``height``.
        """
        last = header_at(height - 1)
        if not self.retargets:
            return last.bits
        if height % RETARGET_BLOCKS == 0:
            return self._retarget(header_at(height - RETARGET_BLOCKS), last)
        if not self.allows_easy_blocks:
            return last.bits
        if time_s > last.time_s + 2 * SPACING_S:
            return self.easiest_bits
        below = height - 1
        while below % RETARGET_BLOCKS and header_at(below).bits == self.easiest_bits:
            below -= 1
        return header_at(below).bits

    def _retarget(self, first: BlockHeader, last: BlockHeader) -> int:
        span_s = min(max(last.time_s - first.time_s, TIMESPAN_S // 4), TIMESPAN_S * 4)
        # testnet4 reckons from the period's first block, which is never an easy one.
        before = target_of(first.bits if self.bip94 else last.bits)
        return bits_of(min(before * span_s // TIMESPAN_S, self.easiest_target))


RULES: Final = {
    Network.MAINNET: DifficultyRules(0x1D00FFFF),
    Network.TESTNET: DifficultyRules(0x1D00FFFF, allows_easy_blocks=True),
    Network.TESTNET4: DifficultyRules(0x1D00FFFF, allows_easy_blocks=True, bip94=True),
    Network.SIGNET: DifficultyRules(0x1E0377AE),
    Network.REGTEST: DifficultyRules(0x207FFFFF, allows_easy_blocks=True, retargets=False),
}


def bits_of(target: int) -> int:
    """The shortest encoding of a target, whose lower digits it drops (Core, ``GetCompact``)."""
    size = (target.bit_length() + 7) // 8
    mantissa = target << 8 * (3 - size) if size <= 3 else target >> 8 * (size - 3)
    if mantissa & 0x00800000:
        # The top bit would be read as a sign.
        mantissa >>= 8
        size += 1
    return size << 24 | mantissa

"""Chains of headers, checked as a light client can: work, difficulty, times, checkpoints.

A `HeaderChain` holds only headers that passed every rule which headers alone can be held to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from anya_actors.domain.bitcoin.block import BlockHeader, meets_target, target_of, work_of
from anya_actors.domain.bitcoin.difficulty import MAX_TIMEWARP_S, RETARGET_BLOCKS, RULES
from anya_actors.domain.bitcoin.errors import RejectedBlockError
from anya_actors.domain.bitcoin.hashes import BlockHash
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.machine import InvalidInputError

MAX_FUTURE_S: Final = 2 * 60 * 60
_MEDIAN_BLOCKS: Final = 11

# Heights from which a header's version must be at least 2, 3 and 4 (BIP34, BIP66, BIP65).
_VERSION_HEIGHTS: Final[Mapping[Network, tuple[int, int, int]]] = {
    Network.MAINNET: (227_931, 363_725, 388_381),
    Network.TESTNET: (21_111, 330_776, 581_885),
    Network.TESTNET4: (1, 1, 1),
    Network.SIGNET: (1, 1, 1),
    Network.REGTEST: (1, 1, 1),
}


class UnknownHeaderError(InvalidInputError):
    """A header that the chain does not contain, or cannot reach from where it begins."""

    code = "unknown-header"
    message = "{} is not in the chain of headers: {}"
    remedy = "Extend the chain to it, or begin the chain at an earlier difficulty period."


@dataclass(frozen=True)
class Anchor:
    """A header one trusts, at which a chain begins. ``work_before`` is the work of all below it."""

    height: int
    header: BlockHeader
    work_before: int = 0


def _genesis(merkle_root: str, time_s: int, bits: int, nonce: int) -> Anchor:
    root = bytes.fromhex(merkle_root)[::-1]
    return Anchor(0, BlockHeader(1, BlockHash(bytes(32)), root, time_s, bits, nonce))


_FIRST_ROOT: Final = "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b"
GENESIS: Final[Mapping[Network, Anchor]] = {
    Network.MAINNET: _genesis(_FIRST_ROOT, 1231006505, 0x1D00FFFF, 2083236893),
    Network.TESTNET: _genesis(_FIRST_ROOT, 1296688602, 0x1D00FFFF, 414098458),
    Network.TESTNET4: _genesis(
        "7aa0a7ae1e223414cb807e40cd57e667b718e42aaf9306db9102fe28912b7b4e", 1714777860, 0x1D00FFFF, 393743547
    ),
    Network.SIGNET: _genesis(_FIRST_ROOT, 1598918400, 0x1E0377AE, 52613770),
    Network.REGTEST: _genesis(_FIRST_ROOT, 1296688602, 0x207FFFFF, 2),
}
"""The first header of each network (Core, ``chainparams.cpp``)."""


class HeaderChain:
    """One branch of headers on top of an anchor, by default the network's genesis.

    ``checkpoints`` name the hashes that certain heights must have. An anchor other than the genesis
    should be the first block of a difficulty period, because the rules look back that far. Of two
    chains the one with more `work` is the better.
    """

    def __init__(
        self,
        network: Network,
        anchor: Anchor | None = None,
        checkpoints: Mapping[int, BlockHash] | None = None,
    ) -> None:
        self.network = network
        self._anchor = anchor or GENESIS[network]
        self._rules = RULES[network]
        self._checkpoints = dict(checkpoints or {})
        self._headers = [self._anchor.header]
        self._heights = {self._anchor.header.hash: self._anchor.height}
        self.work = self._anchor.work_before + work_of(self._anchor.header.bits)

    @property
    def first_height(self) -> int:
        return self._anchor.height

    @property
    def height(self) -> int:
        return self.first_height + len(self._headers) - 1

    @property
    def tip(self) -> BlockHeader:
        return self._headers[-1]

    def header_at(self, height: int) -> BlockHeader:
        """The header at a height; raises `UnknownHeaderError`."""
        if not self.first_height <= height <= self.height:
            reason = f"it spans heights {self.first_height} to {self.height}"
            raise UnknownHeaderError(f"height {height}", reason)
        return self._headers[height - self.first_height]

    def height_of(self, block_hash: BlockHash) -> int:
        """The height of a header of this chain; raises `UnknownHeaderError`."""
        height = self._heights.get(block_hash)
        if height is None:
            raise UnknownHeaderError(f"block {block_hash}", "no header has this hash")
        return height

    def median_time_past_s(self) -> int:
        """The median time of the tip and the ten before it (BIP113)."""
        times = sorted(header.time_s for header in self._headers[-_MEDIAN_BLOCKS:])
        return times[len(times) // 2]

    def extend(self, headers: Iterable[BlockHeader], *, now_s: int) -> None:
        """Append headers, each checked; raises `RejectedBlockError` with Core's reason.

        Those before a bad one stay. ``now_s`` is the present time, which no header may be far ahead of.
        """
        for header in headers:
            self._check(header, now_s)
            self._headers.append(header)
            self._heights[header.hash] = self.height
            self.work += work_of(header.bits)

    def cut(self, height: int) -> None:
        """Forget the headers above a height, for a branch that turns off there."""
        self.header_at(height)
        while self.height > height:
            dropped = self._headers.pop()
            del self._heights[dropped.hash]
            self.work -= work_of(dropped.bits)

    def _check(self, header: BlockHeader, now_s: int) -> None:
        height = self.height + 1
        reason = self._fault(header, height, now_s)
        expected = self._checkpoints.get(height)
        if reason is None and expected is not None and header.hash != expected:
            reason = "checkpoint mismatch"
        if reason is not None:
            raise RejectedBlockError(str(header.hash), reason)

    def _fault(self, header: BlockHeader, height: int, now_s: int) -> str | None:
        """Why the header cannot follow the tip, in Core's words (``ContextualCheckBlockHeader``)."""
        if header.previous != self.tip.hash:
            return "prev-blk-not-found"
        target = target_of(header.bits)
        if not 0 < target <= self._rules.easiest_target or not meets_target(header.hash, header.bits):
            return "high-hash"
        if header.bits != self._rules.next_bits(height, header.time_s, self.header_at):
            return "bad-diffbits"
        if self._knows_median and header.time_s <= self.median_time_past_s():
            return "time-too-old"
        starts_period = height % RETARGET_BLOCKS == 0
        if self._rules.bip94 and starts_period and header.time_s < self.tip.time_s - MAX_TIMEWARP_S:
            return "time-timewarp-attack"
        if header.time_s > now_s + MAX_FUTURE_S:
            return "time-too-new"
        least = sum(height >= since for since in _VERSION_HEIGHTS[self.network])
        if least and header.version < least + 1:
            return f"bad-version(0x{header.version & 0xFFFFFFFF:08x})"
        return None

    @property
    def _knows_median(self) -> bool:
        # Above an anchor the first blocks lack some of the eleven: nothing can be said of their time.
        return self.first_height == 0 or len(self._headers) >= _MEDIAN_BLOCKS

"""What Electrum clients know of a script: its history, and the status that sums it up."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import msgspec

from anya_actors.domain.bitcoin.hashes import Txid


class WaitingTouch(msgspec.Struct, frozen=True, gc=False):
    """A waiting transaction that pays to a script or spends from it."""

    txid: Txid
    fee_sat: int
    has_waiting_parents: bool

    @property
    def height(self) -> int:
        """What Electrum says instead of a height: -1 if it spends what is itself unconfirmed."""
        return -1 if self.has_waiting_parents else 0


def in_electrum_order(touches: Iterable[WaitingTouch]) -> list[WaitingTouch]:
    """First those with confirmed inputs, then the others, each by the txid as people read it."""
    return sorted(touches, key=lambda touch: (-touch.height, str(touch.txid)))


def status_of(confirmed: Sequence[tuple[Txid, int]], waiting: Sequence[WaitingTouch]) -> str | None:
    """The status of a script: confirmed (txid, height) in blockchain order, then waiting ones in
    Electrum's; None without any."""
    if not confirmed and not waiting:
        return None
    pieces = [f"{txid}:{height}:" for txid, height in confirmed]
    pieces += [f"{touch.txid}:{touch.height}:" for touch in waiting]
    return hashlib.sha256("".join(pieces).encode()).hexdigest()

"""Who wants to hear how the node changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from anya_actors.domain.bitcoin.mempool import MempoolNotice
from anya_actors.services.bitcoin_node.chain import ChainChange


@dataclass(frozen=True, slots=True)
class MempoolChange:
    """Transactions that entered and left the mempool, in order, each with its sequence number."""

    notices: tuple[MempoolNotice, ...]


Notice: TypeAlias = ChainChange | MempoolChange
"""What a subscriber is told."""
Subscriber: TypeAlias = Callable[[Notice], None]


class Notices:
    """Tells subscribers of changes that are done, in the order in which they were made.

    Called on the event loop, between two changes: everything that a subscriber reads then is as
    the notice says. A subscriber must not block; one that raises harms no other and not the node.
    """

    def __init__(self) -> None:
        self._subscribers: list[Subscriber] = []

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Tell it from now on; the answer ends that."""
        self._subscribers.append(subscriber)

        def end() -> None:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)

        return end

    def tell(self, notice: Notice) -> None:
        """Call every subscriber, in the order in which they came."""
        for subscriber in tuple(self._subscribers):
            try:
                subscriber(notice)
            except Exception as error:  # noqa: BLE001 - the change is done; its teller must go on
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "a subscriber of the embedded Bitcoin node failed", "exception": error}
                )

"""Who wants to hear of which script, and what each change of the node touches."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Final, NoReturn

from anya_actors.domain.bitcoin.block import Block
from anya_actors.domain.bitcoin.coin_index import scripthash
from anya_actors.domain.bitcoin.script_history import status_of
from anya_actors.domain.bitcoin.transaction import Outpoint
from anya_actors.serve.electrum.arguments import bad_request
from anya_actors.services.bitcoin_node.chain import ChainChange
from anya_actors.services.bitcoin_node.lookups import Lookups
from anya_actors.services.bitcoin_node.notices import MempoolChange, Notice
from anya_actors.services.bitcoin_node.service import BitcoinNodeService

MAX_OF_ONE: Final = 50_000
MAX_OF_ALL: Final = 500_000
_MAX_CHANGES: Final = 100


class Listening:
    """What one client listens to, and what of it has changed since it was last told.

    News are names, not texts: a client that reads slowly makes nothing grow beyond its own
    subscriptions, and when it reads again it hears of the present state alone.
    """

    def __init__(self) -> None:
        self.statuses: dict[bytes, str | None] = {}
        self.hears_headers = False
        self.new_header = False
        self.touched: set[bytes] = set()
        self.news = asyncio.Event()


class Subscriptions:
    """All clients' subscriptions. Reads of the node happen here, sending elsewhere."""

    def __init__(self, node: BitcoinNodeService, lookups: Lookups) -> None:
        self._node = node
        self._lookups = lookups
        self._listeners: set[Listening] = set()
        self._by_name: dict[bytes, set[Listening]] = {}
        self._total = 0
        self._changes: deque[Notice] = deque()
        self._has_changes = asyncio.Event()

    def enter(self, listening: Listening) -> None:
        self._listeners.add(listening)

    def leave(self, listening: Listening) -> None:
        for name in tuple(listening.statuses):
            self.unsubscribe(listening, name)
        self._listeners.discard(listening)

    def status(self, name: bytes) -> str | None:
        """The status of a script now."""
        confirmed = [(touch.txid, touch.height) for touch in self._node.chain.index.history(name)]
        return status_of(confirmed, self._lookups.waiting_touches(name))

    def subscribe(self, listening: Listening, name: bytes) -> str | None:
        """Tell it of this script's changes; the status now. Raises `ElectrumError` over the limits."""
        if name not in listening.statuses:
            if len(listening.statuses) >= MAX_OF_ONE or self._total >= MAX_OF_ALL:
                raise bad_request("too many subscriptions")
            self._by_name.setdefault(name, set()).add(listening)
            self._total += 1
        listening.statuses[name] = self.status(name)
        return listening.statuses[name]

    def unsubscribe(self, listening: Listening, name: bytes) -> bool:
        """Whether it was subscribed."""
        if name not in listening.statuses:
            return False
        del listening.statuses[name]
        listening.touched.discard(name)
        self._total -= 1
        others = self._by_name[name]
        others.discard(listening)
        if not others:
            del self._by_name[name]
        return True

    def has_changed(self, listening: Listening, name: bytes) -> bool:
        """Whether the status is another than the client was told; what it is told is in ``statuses``."""
        status = self.status(name)
        if status == listening.statuses[name]:
            return False
        listening.statuses[name] = status
        return True

    # Changes of the node

    def hear(self, notice: Notice) -> None:
        """Take note of a change; `follow` looks into it."""
        for listening in self._listeners if isinstance(notice, ChainChange) else ():
            if listening.hears_headers:
                listening.new_header = True
                listening.news.set()
        if not self._by_name:
            return
        self._changes.append(notice)
        if len(self._changes) > _MAX_CHANGES:
            # Too many to look into each: everybody looks at everything.
            self._changes.clear()
            self._wake(list(self._by_name))
        self._has_changes.set()

    async def follow(self) -> NoReturn:
        """Wake those whom changes concern, until cancelled."""
        while True:
            await self._has_changes.wait()
            self._has_changes.clear()
            while self._changes:
                self._wake(await self._touched(self._changes.popleft()))

    def _wake(self, names: Iterable[bytes]) -> None:
        for name in names:
            for listening in self._by_name.get(name, ()):
                listening.touched.add(name)
                listening.news.set()

    async def _touched(self, change: Notice) -> Iterable[bytes]:
        """The subscribed scripts that may have another status."""
        if isinstance(change, MempoolChange):
            names = set[bytes]().union(*(notice.entry.scripthashes() for notice in change.notices))
            return [name for name in names if name in self._by_name]
        if change.disconnected:
            # What those blocks had spent may be known no longer; reorganisations are rare.
            return list(self._by_name)
        touched: set[bytes] = set()
        for block in change.connected:
            touched |= self._waiting_on(block)
            touched |= await self._in_block(block)
        return [name for name in touched if name in self._by_name]

    def _waiting_on(self, block: Block) -> set[bytes]:
        """Scripts of waiting transactions whose parents have just been confirmed."""
        pool = self._node.pool
        touched: set[bytes] = set()
        for transaction in block.transactions:
            for index in range(len(transaction.outputs)):
                child = pool.spends.get(Outpoint(transaction.txid, index))
                if child is not None:
                    touched |= pool.entries[child].scripthashes()
        return touched

    async def _in_block(self, block: Block) -> set[bytes]:
        node = self._node.chain.tree.nodes[block.hash]
        touched: set[bytes] = set()
        for seen in await self._lookups.in_block(node, 0, node.transactions):
            outputs = (*seen.transaction.outputs, *seen.spent)
            touched |= {scripthash(out.script_pubkey) for out in outputs if out is not None}
        return touched

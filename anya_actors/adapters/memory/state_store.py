"""State stores in memory: full semantics, fencing included, and gone with the process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from anya_actors.adapters.memory.records import ActorRecords
from anya_actors.domain.machine import UnavailableError
from anya_actors.ports.state_store import Applied, Commit, FencedError, Owed, Recorded, Stored


class _Shelf:
    """What all activations of one actor share."""

    def __init__(self, actor: str) -> None:
        self.epoch = 0
        self.records = ActorRecords(actor)


class MemoryStateStore:
    """The store of one activation; a later activation of the same actor fences it."""

    def __init__(self, actor: str, epoch: int, shelf: _Shelf) -> None:
        self._actor = actor
        self._epoch = epoch
        self._shelf = shelf
        self._closed = False

    @property
    def actor(self) -> str:
        return self._actor

    @property
    def epoch(self) -> int:
        return self._epoch

    async def _records(self) -> ActorRecords:
        # Pass control on, as every store that really waits does, so that tests meet interleavings.
        await asyncio.sleep(0)
        if self._closed:
            raise UnavailableError(f"the store of {self._actor}", "it has been closed")
        if self._shelf.epoch != self._epoch:
            raise FencedError(self._actor, self._epoch)
        return self._shelf.records

    async def load(self, key: str) -> Stored | None:
        return (await self._records()).load(key)

    async def keys(self, prefix: str = "") -> list[str]:
        return (await self._records()).keys(prefix)

    async def applied(self, message_id: str) -> Applied | None:
        return (await self._records()).applied(message_id)

    async def commit(self, commit: Commit) -> tuple[int, ...]:
        records = await self._records()
        records.check(commit)
        return records.apply(commit)

    async def owed(self) -> list[Owed]:
        return (await self._records()).owed()

    async def settle(self, sequence: int) -> None:
        (await self._records()).settle(sequence)

    async def events_after(self, sequence: int, limit: int) -> list[Recorded]:
        return (await self._records()).events_after(sequence, limit)

    async def forget_events(self, up_to_sequence: int) -> None:
        (await self._records()).forget_events(up_to_sequence)

    async def forget_replies(self, before_unix_ms: int) -> int:
        return (await self._records()).forget_replies(before_unix_ms)

    async def close(self) -> None:
        self._closed = True


class MemoryStateStores:
    """Opens `MemoryStateStore`s; everything lives as long as this object."""

    def __init__(self) -> None:
        self._shelves: dict[str, _Shelf] = {}

    async def activate(self, actor: str) -> MemoryStateStore:
        shelf = self._shelves.setdefault(actor, _Shelf(actor))
        shelf.epoch += 1
        return MemoryStateStore(actor, shelf.epoch, shelf)

    async def names(self, prefix: str = "") -> Sequence[str]:
        return sorted(name for name in self._shelves if name.startswith(prefix))

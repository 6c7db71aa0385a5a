"""A state store over a simulated disk: every actor of a machine in one log, replayed at its start."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from anya_actors.adapters.files.append_log import FileAppendLog
from anya_actors.adapters.memory.records import ActorRecords
from anya_actors.domain.machine import UnavailableError
from anya_actors.ports.append_log import LogFullError
from anya_actors.ports.disk import Disk
from anya_actors.ports.randomness import Randomness
from anya_actors.ports.state_store import Applied, Commit, FencedError, Owed, Recorded, Stored, StoreFullError


class Activated(msgspec.Struct, frozen=True, tag=True):
    """The actor's next activation."""

    actor: str


class Committed(msgspec.Struct, frozen=True, tag=True):
    """One commit, by the activation ``epoch``."""

    actor: str
    epoch: int
    commit: Commit


class Settled(msgspec.Struct, frozen=True, tag=True):
    """One command settled without a commit."""

    actor: str
    sequence: int


class EventsForgotten(msgspec.Struct, frozen=True, tag=True):
    """Events up to a sequence dropped."""

    actor: str
    up_to_sequence: int


class RepliesForgotten(msgspec.Struct, frozen=True, tag=True):
    """Replies dated before a time dropped."""

    actor: str
    before_unix_ms: int


Entry = Activated | Committed | Settled | EventsForgotten | RepliesForgotten

_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[Entry] = msgspec.msgpack.Decoder(Entry)


class Shelf:
    """One actor: its records and the lock under which they change."""

    def __init__(self, actor: str) -> None:
        self.actor = actor
        self.epoch = 0
        self.records = ActorRecords(actor)
        self.lock = asyncio.Lock()
        self.commit_epochs: list[int] = []
        self.barred: set[tuple[int, int]] = set()

    def apply(self, entry: Entry) -> Any:
        """Change what the entry says."""
        if isinstance(entry, Activated):
            self.epoch += 1
            return self.epoch
        if isinstance(entry, Committed):
            self.commit_epochs.append(entry.epoch)
            return self.records.apply(entry.commit)
        if isinstance(entry, Settled):
            return self.records.settle(entry.sequence)
        if isinstance(entry, EventsForgotten):
            return self.records.forget_events(entry.up_to_sequence)
        return self.records.forget_replies(entry.before_unix_ms)


class JournalStores:
    """`StateStores` of one machine. All actors share the log, so their commits share its syncs.

    An entry changes memory after it is on disk; an actor's entries go one at a time. ``fences``
    is False only where a test wants to see a store without fencing found out.
    """

    def __init__(self, log: FileAppendLog, on_lost: Callable[[], None], *, fences: bool = True) -> None:
        self._log = log
        self._on_lost = on_lost
        self._fences = fences
        self.shelves: dict[str, Shelf] = {}

    @classmethod
    async def open(
        cls,
        disk: Disk,
        randomness: Randomness,
        on_lost: Callable[[], None],
        *,
        name: str = "journal",
        fences: bool = True,
    ) -> JournalStores:
        """Replay the log of this name on ``disk``; raises `StoreLockedError` while it is in use.

        ``on_lost`` is called when nobody can tell any more what is on disk: start again then.
        """
        log = await FileAppendLog.open(disk, name, randomness)
        stores = cls(log, on_lost, fences=fences)
        for record in await log.read(0, len(log)):
            entry = _DECODER.decode(record)
            stores.shelf(entry.actor).apply(entry)
        return stores

    def shelf(self, actor: str) -> Shelf:
        """The actor's shelf, made if it is not there."""
        found = self.shelves.get(actor)
        if found is None:
            found = self.shelves[actor] = Shelf(actor)
        return found

    async def activate(self, actor: str) -> JournalStore:
        shelf = self.shelf(actor)
        async with shelf.lock:
            epoch = await self.write(shelf, Activated(actor))
        return JournalStore(self, shelf, epoch)

    async def names(self, prefix: str = "") -> Sequence[str]:
        return sorted(name for name, shelf in self.shelves.items() if shelf.epoch and name.startswith(prefix))

    async def write(self, shelf: Shelf, entry: Entry) -> Any:
        """Put the entry on disk, then in memory; the caller holds the shelf's lock."""
        try:
            await self._log.append(_ENCODER.encode(entry))
        except LogFullError as error:
            raise StoreFullError(shelf.actor, str(error.args[-1])) from error
        except UnavailableError:
            self._on_lost()
            raise
        return shelf.apply(entry)

    def check_epoch(self, shelf: Shelf, epoch: int) -> None:
        if self._fences and shelf.epoch != epoch:
            raise FencedError(shelf.actor, epoch)


class JournalStore:
    """The `StateStore` of one activation.

    A write over the network has a ``number``, and bars those that its sender has given up.
    """

    def __init__(self, stores: JournalStores, shelf: Shelf, epoch: int) -> None:
        self.number = 0
        self.given_up: frozenset[int] = frozenset()
        self._stores = stores
        self._shelf = shelf
        self._epoch = epoch
        self._closed = False

    @property
    def actor(self) -> str:
        return self._shelf.actor

    @property
    def epoch(self) -> int:
        return self._epoch

    async def load(self, key: str) -> Stored | None:
        return self._records().load(key)

    async def keys(self, prefix: str = "") -> list[str]:
        return self._records().keys(prefix)

    async def applied(self, message_id: str) -> Applied | None:
        return self._records().applied(message_id)

    async def owed(self) -> list[Owed]:
        return self._records().owed()

    async def events_after(self, sequence: int, limit: int) -> list[Recorded]:
        return self._records().events_after(sequence, limit)

    async def commit(self, commit: Commit) -> tuple[int, ...]:
        async with self._shelf.lock:
            self._begin_write().check(commit)
            sequences: tuple[int, ...] = await self._stores.write(
                self._shelf, Committed(self.actor, self._epoch, commit)
            )
            return sequences

    async def settle(self, sequence: int) -> None:
        await self._write(Settled(self.actor, sequence))

    async def forget_events(self, up_to_sequence: int) -> None:
        await self._write(EventsForgotten(self.actor, up_to_sequence))

    async def forget_replies(self, before_unix_ms: int) -> int:
        dropped: int = await self._write(RepliesForgotten(self.actor, before_unix_ms))
        return dropped

    async def close(self) -> None:
        self._closed = True

    async def _write(self, entry: Entry) -> Any:
        async with self._shelf.lock:
            self._begin_write()
            return await self._stores.write(self._shelf, entry)

    def _records(self) -> ActorRecords:
        if self._closed:
            raise UnavailableError(f"the store of {self.actor}", "it has been closed")
        self._stores.check_epoch(self._shelf, self._epoch)
        return self._shelf.records

    def _begin_write(self) -> ActorRecords:
        """Under the shelf's lock: no write before this one is under way any more."""
        self._shelf.barred.update((self._epoch, number) for number in self.given_up)
        if (self._epoch, self.number) in self._shelf.barred:
            raise UnavailableError(f"the store of {self.actor}", "its sender has given this write up")
        return self._records()

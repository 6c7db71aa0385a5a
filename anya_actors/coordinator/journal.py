"""What the supervisor must remember across its own death: which processes it has started."""

from __future__ import annotations

import asyncio

import msgspec

from anya_actors.domain.encoding import Schema
from anya_actors.ports.state_store import Commit, StateStore

PREFIX = "child/"


class Entry(msgspec.Struct, frozen=True):
    """One actor's process. Written before the process is started."""

    actor: str
    label: str
    supervisor: str
    dynamic: bool
    launches: int
    restarts: int = 0
    active: bool = True
    standby: str | None = None


ENTRY: Schema[Entry] = Schema("supervised process", Entry)


class Journal:
    """The entries, each under its actor's name in the coordinator's own store."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._versions: dict[str, int] = {}
        self._entries: dict[str, Entry] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def open(self) -> list[Entry]:
        """Read what the predecessor wrote."""
        await self._store.forget_replies(1)  # all of them: their ids carry an epoch that is over
        for key in await self._store.keys(PREFIX):
            stored = await self._store.load(key)
            if stored is not None:
                entry = ENTRY.decode(stored.state)
                self._versions[entry.actor] = stored.version
                self._entries[entry.actor] = entry
        return list(self._entries.values())

    def entry(self, actor: str) -> Entry | None:
        """What was last written of ``actor``."""
        return self._entries.get(actor)

    async def write(self, entry: Entry) -> None:
        """Remember ``entry``, synced; writes of one actor happen in the order of their calls."""
        # Seen at once: who writes next for the same actor builds on it.
        self._entries[entry.actor] = entry
        key = PREFIX + entry.actor
        async with self._locks.setdefault(entry.actor, asyncio.Lock()):
            version = self._versions.pop(entry.actor, None)
            if version is None:  # never written, or the last write may or may not have happened
                stored = await self._store.load(key)
                version = 0 if stored is None else stored.version
            message_id = f"{key}@{self._store.epoch}.{version + 1}"
            await self._store.commit(Commit(key, version, ENTRY.encode(entry), message_id))
            self._versions[entry.actor] = version + 1

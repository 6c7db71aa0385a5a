"""What the supervisor must remember across its own death: which processes it has started."""

from __future__ import annotations

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

    async def open(self) -> list[Entry]:
        """Read what the predecessor wrote."""
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
        """Remember ``entry``, synced."""
        version = self._versions.get(entry.actor, 0)
        # Claimed before the write: a second write of the same actor must not take the same version.
        self._versions[entry.actor] = version + 1
        self._entries[entry.actor] = entry
        key = PREFIX + entry.actor
        message_id = f"{key}@{self._store.epoch}.{version + 1}"
        await self._store.commit(Commit(key, version, ENTRY.encode(entry), message_id))

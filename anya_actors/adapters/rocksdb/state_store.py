"""State stores in RocksDB: one writer by file lock, many commits by one sync."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, unquote

from rocksdict import WriteBatch

from anya_actors.adapters.files.disk import make_folder
from anya_actors.adapters.rocksdb.database import Database
from anya_actors.adapters.rocksdb.layout import (
    EVENT,
    META,
    OWED,
    REPLY,
    decode_owed,
    decode_reply,
    decode_stored,
    decode_text,
    encode_owed,
    encode_reply,
    encode_stored,
    event_key,
    owed_key,
    reply_key,
    sequence_of,
    state_key,
    version_of,
)
from anya_actors.domain.machine import AnyaError, InvalidInputError, UnavailableError
from anya_actors.ports.state_store import (
    Applied,
    Commit,
    FencedError,
    MessageAppliedError,
    Owed,
    Recorded,
    Stored,
    StoreFullError,
    VersionConflictError,
)

_LONGEST_NAME = 240
_FORGET_AT_ONCE = 1000


class RocksdbStateStore:
    """The store of one activation.

    A commit is written at once (microseconds, with the GIL held) and returns after the next sync
    that began later; one sync in a thread serves every commit that waits. Reads see only what is
    synced. After a failed write or sync nothing is taken on until the database has been closed
    and opened anew, so that memory and disk agree again; that is tried at the next commit.
    """

    def __init__(self, actor: str, folder: Path, database: Database) -> None:
        self._actor = actor
        self._folder = folder
        self._database = database
        self._meta = database.meta()
        self._failure: AnyaError | None = None
        self._closed = False
        self._waiting: list[asyncio.Future[None]] = []
        self._syncer: asyncio.Task[None] | None = None
        self._reopening = asyncio.Lock()

    @property
    def actor(self) -> str:
        return self._actor

    @property
    def epoch(self) -> int:
        return self._meta.epoch

    # -- reads: of what is on disk --------------------------------------------------------------

    async def load(self, key: str) -> Stored | None:
        found = self._readable().get(state_key(key))
        return None if found is None else decode_stored(found)

    async def keys(self, prefix: str = "") -> list[str]:
        return [decode_text(key[1:]) for key, _ in self._readable().scan(state_key(prefix))]

    async def applied(self, message_id: str) -> Applied | None:
        found = self._readable().get(reply_key(message_id))
        return None if found is None else decode_reply(found)[1]

    async def owed(self) -> list[Owed]:
        return [decode_owed(key, value) for key, value in self._readable().scan(OWED)]

    async def events_after(self, sequence: int, limit: int) -> list[Recorded]:
        events: list[Recorded] = []
        if limit > 0:
            for key, value in self._readable().scan(EVENT, event_key(max(sequence, 0) + 1)):
                events.append(Recorded(sequence_of(key), value))
                if len(events) == limit:
                    break
        return events

    # -- changes --------------------------------------------------------------------------------

    async def commit(self, commit: Commit) -> tuple[int, ...]:
        await self._writable()
        refusal = self._refusal(commit, self._database.newest)
        if refusal is not None and self._refusal(commit, self._database.get) is None:
            # It rests on a commit that is still on its way to the disk and could yet fail.
            await self._synced()
            await self._writable()
            refusal = self._refusal(commit, self._database.newest)
        if refusal is not None:
            raise refusal
        first = self._meta.last_command + 1
        meta = replace(
            self._meta,
            last_command=self._meta.last_command + len(commit.commands),
            last_event=self._meta.last_event + len(commit.events),
        )
        batch = WriteBatch(raw_mode=True)
        batch[state_key(commit.key)] = encode_stored(Stored(commit.expected_version + 1, commit.state))
        batch[reply_key(commit.message_id)] = encode_reply(commit)
        for sequence, command in enumerate(commit.commands, first):
            batch[owed_key(sequence)] = encode_owed(commit.key, command)
        for sequence, event in enumerate(commit.events, self._meta.last_event + 1):
            batch[event_key(sequence)] = event
        for sequence in commit.settles:
            batch.delete(owed_key(sequence))
        batch[META] = meta.encode()
        self._write(batch)
        self._meta = meta
        await self._synced()
        return tuple(range(first, meta.last_command + 1))

    async def settle(self, sequence: int) -> None:
        await self._change(lambda batch: batch.delete(owed_key(sequence)))

    async def forget_events(self, up_to_sequence: int) -> None:
        if up_to_sequence > 0:
            end = event_key(up_to_sequence + 1)
            await self._change(lambda batch: batch.delete_range(event_key(0), end))

    async def forget_replies(self, before_unix_ms: int) -> int:
        await self._writable()
        forgotten, start = 0, REPLY
        while True:
            old, seen = WriteBatch(raw_mode=True), 0
            for key, value in self._readable().scan(REPLY, start):
                seen, start = seen + 1, key + b"\0"
                if decode_reply(value)[0] < before_unix_ms:
                    old.delete(key)
                if seen == _FORGET_AT_ONCE:
                    break
            if len(old):
                forgotten += len(old)
                self._write(old)
                await self._synced()
            if seen < _FORGET_AT_ONCE:
                return forgotten
            await asyncio.sleep(0)

    async def close(self) -> None:
        self._closed = True
        if self._syncer is not None:
            await self._syncer
        async with self._reopening:
            await asyncio.to_thread(self._database.close)

    async def _change(self, fill: Callable[[WriteBatch], None]) -> None:
        await self._writable()
        batch = WriteBatch(raw_mode=True)
        fill(batch)
        self._write(batch)
        await self._synced()

    def _refusal(self, commit: Commit, read: Callable[[bytes], bytes | None]) -> AnyaError | None:
        """Why ``commit`` cannot follow on what ``read`` sees."""
        if read(reply_key(commit.message_id)) is not None:
            return MessageAppliedError(self._actor, commit.message_id)
        stored = read(state_key(commit.key))
        found = 0 if stored is None else version_of(stored)
        if found != commit.expected_version:
            return VersionConflictError(self._actor, commit.key, found, commit.expected_version)
        return None

    # -- the way to the disk ----------------------------------------------------------------------

    def _write(self, batch: WriteBatch) -> None:
        try:
            self._database.write(batch)
        except AnyaError as error:
            self._failure = error
            raise

    async def _synced(self) -> None:
        """Return once everything written so far is on disk."""
        synced: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(synced)
        if self._syncer is None:
            self._syncer = asyncio.create_task(self._sync_all())
        await synced

    async def _sync_all(self) -> None:
        group: list[asyncio.Future[None]] = []
        failed: AnyaError | None = None
        try:
            while self._waiting:
                group, self._waiting = self._waiting, []
                # A sync that succeeds after one that failed says nothing: what failed may be lost.
                failed = failed or await self._sync()
                _tell(group, failed)
        except BaseException as error:
            _tell(group + self._waiting, UnavailableError(f"the store of {self._actor}", repr(error)))
            raise
        finally:
            self._syncer = None

    async def _sync(self) -> AnyaError | None:
        database = self._database
        try:
            await asyncio.to_thread(database.sync)
        except AnyaError as error:
            self._failure = error
            # The commits were written and may be found after all when the store opens again.
            return UnavailableError(f"the store of {self._actor}", f"a sync failed: {error.args[-1]}")
        return None

    def _readable(self) -> Database:
        if self._closed:
            raise UnavailableError(f"the store of {self._actor}", "it has been closed")
        return self._database

    async def _writable(self) -> None:
        """Return when commits can be taken; after a failure, open the database anew."""
        while True:
            if self._closed:
                raise UnavailableError(f"the store of {self._actor}", "it has been closed")
            if self._failure is None:
                return
            async with self._reopening:
                if self._failure is not None and not self._closed:
                    await self._reopen(self._failure)

    async def _reopen(self, failure: AnyaError) -> None:
        """Close and open the database; whatever is found then was committed, whatever is not was not."""
        if isinstance(failure, StoreFullError) and not self._database.has_room_to_recover():
            raise failure
        if self._syncer is not None:
            await self._syncer
        await asyncio.to_thread(self._database.close)
        self._database = await asyncio.to_thread(Database, self._actor, self._folder)
        meta = self._database.meta()
        if meta.epoch != self._meta.epoch:
            # For a moment nobody held the lock.
            raise FencedError(self._actor, self._meta.epoch)
        self._meta = meta
        self._failure = None


def _tell(waiting: Sequence[asyncio.Future[None]], error: AnyaError | None) -> None:
    for synced in waiting:
        if synced.done():
            continue
        if error is None:
            synced.set_result(None)
        else:
            synced.set_exception(error)


class RocksdbStateStores:
    """Opens `RocksdbStateStore`s, each in its own directory under one root."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def activate(self, actor: str) -> RocksdbStateStore:
        """Take the actor's next epoch and open its store.

        Raises `StoreLockedError` while another activation lives, here or in another process.
        """
        name = quote(actor, safe="")
        if not name.strip(".") or len(name) > _LONGEST_NAME:
            raise InvalidInputError("actor", f"{actor[:80]!r} cannot name a directory")
        folder = self._root / name
        return RocksdbStateStore(actor, folder, await asyncio.to_thread(_activate, actor, folder))

    async def names(self, prefix: str = "") -> Sequence[str]:
        return sorted(name for name in await asyncio.to_thread(self._names) if name.startswith(prefix))

    def _names(self) -> list[str]:
        if not self._root.is_dir():
            return []
        return [unquote(folder.name) for folder in self._root.iterdir() if folder.is_dir()]


def _activate(actor: str, folder: Path) -> Database:
    make_folder(folder)
    database = Database(actor, folder)
    try:
        meta = database.meta()
        batch = WriteBatch(raw_mode=True)
        batch[META] = replace(meta, epoch=meta.epoch + 1).encode()
        database.write(batch)
        database.sync()
    except BaseException:
        database.close()
        raise
    return database

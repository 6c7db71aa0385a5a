"""RocksDB under a store: one sync for many, nothing shown that is not synced, doubts resolved."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from anya_actors.adapters.rocksdb.database import Database
from anya_actors.adapters.rocksdb.state_store import RocksdbStateStores
from anya_actors.domain.machine import InvalidInputError, UnavailableError
from anya_actors.ports.state_store import Commit, MessageAppliedError, Stored, StoreFullError


class Syncs:
    """Counts the syncs of every database, and lets the next ones fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.failing = 0
        self._sync = Database.sync
        monkeypatch.setattr(Database, "sync", lambda database: self.sync(database))

    def sync(self, database: Database) -> None:
        self.count += 1
        if self.failing:
            self.failing -= 1
            raise StoreFullError("bank/main", "IO error: No space left on device")
        self._sync(database)


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> Syncs:
    return Syncs(monkeypatch)


async def test_200_concurrent_commits_share_a_few_syncs(tmp_path: Path, syncs: Syncs) -> None:
    store = await RocksdbStateStores(tmp_path).activate("bank/main")
    before = syncs.count
    await asyncio.gather(*(store.commit(Commit(f"k{n}", 0, b"", f"m{n}")) for n in range(200)))
    assert syncs.count - before <= 3
    await store.close()


async def test_a_commit_that_is_not_synced_yet_is_seen_by_nobody(tmp_path: Path, syncs: Syncs) -> None:
    store = await RocksdbStateStores(tmp_path).activate("bank/main")
    commit = asyncio.create_task(store.commit(Commit("k", 0, b"s", "m", commands=(b"c",), events=(b"e",))))
    await asyncio.sleep(0)  # written by now, and not synced
    assert (await store.load("k"), await store.applied("m")) == (None, None)
    assert (await store.keys(), await store.owed(), await store.events_after(0, 1)) == ([], [], [])
    await commit
    assert await store.load("k") == Stored(1, b"s")
    assert len(await store.owed()) == len(await store.events_after(0, 1)) == 1
    await store.close()


async def test_after_a_failed_sync_the_next_write_settles_whether_the_commits_happened(
    tmp_path: Path, syncs: Syncs
) -> None:
    stores = RocksdbStateStores(tmp_path)
    store = await stores.activate("bank/main")
    await store.commit(Commit("k", 0, b"old", "m0", events=(b"e",)))
    syncs.failing = 1
    commits = [Commit("k", 1, b"new", "m1", events=(b"e",)), Commit("other", 0, b"new", "m2", events=(b"e",))]
    outcomes = await asyncio.gather(*map(store.commit, commits), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [UnavailableError, UnavailableError]
    await store.settle(0)
    for commit in commits:
        happened = await store.applied(commit.message_id) is not None
        found = await store.load(commit.key)
        assert (found is not None and found.state == b"new") == happened
        if happened:
            with pytest.raises(MessageAppliedError):
                await store.commit(commit)
        else:
            await store.commit(commit)
    await store.close()
    store = await stores.activate("bank/main")
    assert [event.sequence for event in await store.events_after(0, 9)] == [1, 2, 3]
    assert await store.load("k") == Stored(2, b"new")
    await store.close()


async def test_a_commit_written_while_a_sync_fails_is_not_acknowledged_by_the_next_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # After a failed sync the kernel may have dropped the pages: the next sync succeeds all the same,
    # and what was written behind the hole is lost with the power.
    store = await RocksdbStateStores(tmp_path).activate("bank/main")
    syncing, fail = threading.Event(), threading.Event()

    def sync(_: Database) -> None:
        monkeypatch.undo()
        syncing.set()
        fail.wait(10)
        raise UnavailableError("the store of bank/main", "IO error: Input/output error")

    monkeypatch.setattr(Database, "sync", sync)
    first = asyncio.create_task(store.commit(Commit("k1", 0, b"", "m1")))
    await asyncio.to_thread(syncing.wait, 10)
    second = asyncio.create_task(store.commit(Commit("k2", 0, b"", "m2")))
    await asyncio.sleep(0)  # written by now, behind the first
    fail.set()
    outcomes = await asyncio.gather(first, second, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [UnavailableError, UnavailableError]
    await store.settle(0)  # opens the database anew
    await store.close()


async def test_a_conflict_with_a_commit_that_then_fails_is_not_told_as_a_conflict(
    tmp_path: Path, syncs: Syncs
) -> None:
    store = await RocksdbStateStores(tmp_path).activate("bank/main")
    syncs.failing = 1
    rivals = [store.commit(Commit("k", 0, b"%d" % n, f"m{n}")) for n in range(2)]
    outcomes = await asyncio.gather(*rivals, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [UnavailableError, UnavailableError]
    await store.close()


@pytest.mark.parametrize("name", ["", ".", "..", "x" * 300])
async def test_a_name_that_cannot_name_a_directory_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInputError):
        await RocksdbStateStores(tmp_path).activate(name)

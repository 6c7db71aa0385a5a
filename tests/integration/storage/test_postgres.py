"""PostgreSQL going away, crashing and filling up under a store."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from anya_actors.adapters.postgresql.state_store import PostgresStateStores
from anya_actors.domain.machine import AnyaError, UnavailableError
from anya_actors.ports.state_store import Commit, MessageAppliedError, StateStore, StoreFullError
from anya_actors.testing.postgres import PostgresServer, find_programs

pytestmark = pytest.mark.postgres

SEED = 20261123


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    if find_programs() is None:
        pytest.skip("PostgreSQL's initdb is not installed")
    with PostgresServer() as running:
        yield running


async def test_an_unreachable_server_is_told_as_such_without_the_password(tmp_path: Path) -> None:
    stores = PostgresStateStores(f"postgresql://anya:secret@/postgres?host={tmp_path}")
    with pytest.raises(UnavailableError) as told:
        await stores.activate("a/1")
    assert "secret" not in str(told.value)
    await stores.close()


async def test_a_full_database_refuses_the_commit_and_takes_it_when_there_is_room(
    server: PostgresServer,
) -> None:
    """The server's own word for a full disk is SQLSTATE 53100; a trigger says it here."""
    stores = PostgresStateStores(server.url)
    store = await stores.activate("a/1")
    admin = await asyncpg.connect(server.url)
    await admin.execute(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END$$;"
        "CREATE TRIGGER full_disk BEFORE INSERT ON anya_reply EXECUTE FUNCTION full_disk()"
    )
    with pytest.raises(StoreFullError):
        await store.commit(Commit("k", 0, b"s", "m", commands=(b"c",), events=(b"e",)))
    assert (await store.load("k"), await store.owed(), await store.events_after(0, 9)) == (None, [], [])
    await admin.execute("DROP TRIGGER full_disk ON anya_reply")
    assert await store.commit(Commit("k", 0, b"s", "m", commands=(b"c",), events=(b"e",))) == (1,)
    await admin.close()
    await store.close()
    await stores.close()


async def test_a_server_that_crashes_under_load_loses_no_acknowledged_commit(server: PostgresServer) -> None:
    chance = random.Random(SEED)
    stores = PostgresStateStores(server.url)
    store = await stores.activate("a/1")
    acknowledged, unknown = set[int](), set[int]()

    async def write(number: int) -> None:
        try:
            await store.commit(
                Commit(f"k{number}", 0, b"%d" % number, f"m{number}", events=(b"%d" % number,))
            )
        except UnavailableError:
            unknown.add(number)
        else:
            acknowledged.add(number)

    for turn in range(3):
        writes = [asyncio.create_task(write(turn * 600 + number)) for number in range(600)]
        for written in itertools.islice(asyncio.as_completed(writes), chance.randrange(1, 400)):
            await written
        await asyncio.to_thread(server.kill)
        await asyncio.gather(*writes)
        await asyncio.to_thread(server.start)
        await check_and_resend(store, acknowledged, unknown)
    assert unknown
    events = await store.events_after(0, 10_000)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert sorted(int(event.event) for event in events) == sorted(acknowledged | unknown)
    await store.close()
    await stores.close()


async def check_and_resend(store: StateStore, acknowledged: set[int], unknown: set[int]) -> None:
    """What was acknowledged is there; what was not is applied once when it is sent again."""
    keys = {int(key[1:]) for key in await store.keys()}
    assert acknowledged <= keys
    for number in unknown:
        again = Commit(f"k{number}", 0, b"%d" % number, f"m{number}", events=(b"%d" % number,))
        was_applied = await store.applied(f"m{number}") is not None
        assert was_applied == (number in keys)
        try:
            await store.commit(again)
            assert not was_applied
        except MessageAppliedError:
            assert was_applied


async def test_the_epoch_is_checked_in_the_transaction_not_before_it(server: PostgresServer) -> None:
    """A stale commit that already waits for the row lock is refused when the activation is through."""
    stores, rival = PostgresStateStores(server.url), PostgresStateStores(server.url)
    stale = await stores.activate("a/1")
    admin = await asyncpg.connect(server.url)
    holder = admin.transaction()
    await holder.start()
    # Hold the row as an activation in the middle of its transaction does.
    await admin.execute("UPDATE anya_actor SET epoch = epoch + 1")
    commit = asyncio.create_task(stale.commit(Commit("k", 0, b"stale", "m")))
    settle = asyncio.create_task(stale.settle(1))
    watcher = await asyncpg.connect(server.url)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    while await watcher.fetchval(waiting) < 2:
        pass
    await holder.commit()
    for task in (commit, settle):
        with pytest.raises(AnyaError, match="epoch 1 is over"):
            await task
    newer = await rival.activate("a/1")
    assert newer.epoch == 3
    assert await newer.load("k") is None
    for opened in (admin, watcher, stores, rival):
        await opened.close()

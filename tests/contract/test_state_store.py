"""What every `StateStore` promises, over memory, RocksDB and PostgreSQL."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from anya_actors.adapters.memory.state_store import MemoryStateStores
from anya_actors.adapters.postgresql.state_store import PostgresStateStores
from anya_actors.adapters.rocksdb.state_store import RocksdbStateStores
from anya_actors.domain.machine import UnavailableError
from anya_actors.ports.state_store import (
    Applied,
    Commit,
    FencedError,
    MessageAppliedError,
    Owed,
    Recorded,
    StateStore,
    StateStores,
    Stored,
    StoreLockedError,
    VersionConflictError,
)
from anya_actors.testing.postgres import PostgresServer, find_programs

ACTOR = "bank/main"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    if find_programs() is None:
        pytest.skip("PostgreSQL's initdb is not installed")
    with PostgresServer() as running:
        yield running


@pytest.fixture(params=["memory", "rocksdb", pytest.param("postgresql", marks=pytest.mark.postgres)])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StateStores]:
    if request.param == "memory":
        yield MemoryStateStores()
    elif request.param == "rocksdb":
        yield RocksdbStateStores(tmp_path)
    else:
        url = request.getfixturevalue("server").url
        connection = await asyncpg.connect(url)
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        await connection.close()
        postgres = PostgresStateStores(url)
        yield postgres
        await postgres.close()


@pytest.fixture
async def store(stores: StateStores) -> AsyncIterator[StateStore]:
    opened = await stores.activate(ACTOR)
    yield opened
    await opened.close()


async def reopened(stores: StateStores, store: StateStore) -> StateStore:
    await store.close()
    return await stores.activate(ACTOR)


# -- state ----------------------------------------------------------------------------------------


async def test_an_untouched_store_is_empty(store: StateStore) -> None:
    assert (store.actor, store.epoch) == (ACTOR, 1)
    assert await store.load("k") is None
    assert await store.keys() == []
    assert await store.applied("m") is None
    assert await store.owed() == []
    assert await store.events_after(0, 10) == []


async def test_a_commit_is_found_whole_by_the_next_activation(stores: StateStores, store: StateStore) -> None:
    commit = Commit("k", 0, b"state", "m", b"print", b"reply", (b"c1", b"c2"), (b"e1", b"e2", b"e3"))
    assert await store.commit(commit) == (1, 2)
    store = await reopened(stores, store)
    assert store.epoch == 2
    assert await store.load("k") == Stored(1, b"state")
    assert await store.applied("m") == Applied(b"print", b"reply")
    assert await store.owed() == [Owed(1, "k", b"c1"), Owed(2, "k", b"c2")]
    assert await store.events_after(0, 10) == [Recorded(1, b"e1"), Recorded(2, b"e2"), Recorded(3, b"e3")]
    await store.close()


async def test_the_version_counts_the_commits_of_its_key(store: StateStore) -> None:
    for version in range(5):
        await store.commit(Commit("k", version, b"%d" % version, f"m{version}"))
    assert await store.load("k") == Stored(5, b"4")


@pytest.mark.parametrize("expected", [0, 2, 7])
async def test_a_commit_on_another_version_changes_nothing(store: StateStore, expected: int) -> None:
    await store.commit(Commit("k", 0, b"first", "m1"))
    with pytest.raises(VersionConflictError) as told:
        await store.commit(Commit("k", expected, b"x", "m2", commands=(b"c",), events=(b"e",)))
    assert told.value.args == (ACTOR, "k", 1, expected)
    assert await store.load("k") == Stored(1, b"first")
    assert await store.applied("m2") is None
    assert (await store.owed(), await store.events_after(0, 1)) == ([], [])


async def test_a_key_that_must_exist_and_does_not_is_a_conflict_at_version_0(store: StateStore) -> None:
    with pytest.raises(VersionConflictError) as told:
        await store.commit(Commit("k", 3, b"x", "m"))
    assert told.value.args == (ACTOR, "k", 0, 3)


async def test_keys_are_listed_by_prefix_in_the_order_of_their_text(store: StateStore) -> None:
    names = ["b", "a/2", "a/10", "a", "é", "a\x00z", "𝄞", "\uffff", "", "a%", "a_"]
    for name in names:
        await store.commit(Commit(name, 0, name.encode(), f"m{name}"))
    assert await store.keys() == sorted(names)
    assert await store.keys("a/") == ["a/10", "a/2"]
    assert await store.keys("a%") == ["a%"]
    assert await store.keys("zz") == []
    assert await store.load("a\x00z") == Stored(1, b"a\x00z")


async def test_every_text_may_name_a_key_and_a_message_and_every_byte_be_stored(store: StateStore) -> None:
    odd = "\ud800 lone, \x00 nul, ' quote"
    await store.commit(Commit(odd, 0, bytes(range(256)), odd, b"\x00", b"\xff\x00", (b"\x00",), (b"",)))
    assert await store.keys() == [odd]
    assert await store.load(odd) == Stored(1, bytes(range(256)))
    assert await store.applied(odd) == Applied(b"\x00", b"\xff\x00")
    assert await store.owed() == [Owed(1, odd, b"\x00")]
    assert await store.events_after(0, 1) == [Recorded(1, b"")]


async def test_a_state_of_four_megabytes_is_kept(stores: StateStores, store: StateStore) -> None:
    await store.commit(Commit("k", 0, b"x" * (4 << 20), "m"))
    store = await reopened(stores, store)
    assert await store.load("k") == Stored(1, b"x" * (4 << 20))
    await store.close()


# -- messages -------------------------------------------------------------------------------------


async def test_a_repeated_message_is_refused_whatever_key_and_version_it_names(store: StateStore) -> None:
    await store.commit(Commit("k", 0, b"1", "m", reply=b"first"))
    for key, version in (("k", 1), ("k", 0), ("other", 0)):
        with pytest.raises(MessageAppliedError) as told:
            await store.commit(Commit(key, version, b"2", "m", reply=b"second", commands=(b"c",)))
        assert told.value.args == (ACTOR, "m")
    assert await store.applied("m") == Applied(b"", b"first")
    assert await store.keys() == ["k"]
    assert await store.owed() == []


async def test_of_one_message_sent_many_times_at_once_one_is_applied(store: StateStore) -> None:
    async def send(n: int) -> bool:
        try:
            await store.commit(Commit(f"k{n}", 0, b"", "m", commands=(b"c",)))
        except MessageAppliedError:
            # Whoever is told so finds the answer.
            assert await store.applied("m") is not None
            return False
        return True

    assert sum(await asyncio.gather(*(send(n) for n in range(20)))) == 1
    assert len(await store.owed()) == 1


async def test_old_answers_are_dropped_by_their_date_and_newer_ones_stay(store: StateStore) -> None:
    for n in range(20):
        await store.commit(Commit(f"k{n % 5}", n // 5, b"", f"m{n}", at_unix_ms=n))
    assert await store.forget_replies(5) == 5
    assert await store.forget_replies(5) == 0
    assert await store.applied("m4") is None
    assert await store.applied("m5") is not None
    # A forgotten id can be applied anew.
    await store.commit(Commit("k0", 4, b"", "m0"))


async def test_thousands_of_answers_are_dropped_in_one_call(store: StateStore) -> None:
    await asyncio.gather(*(store.commit(Commit(f"k{n}", 0, b"", f"m{n}", at_unix_ms=n)) for n in range(2500)))
    assert await store.forget_replies(2400) == 2400
    assert await store.applied("m2399") is None
    assert await store.applied("m2400") is not None


# -- outbox ---------------------------------------------------------------------------------------


async def test_a_commit_settles_what_it_names_and_owes_what_it_brings(store: StateStore) -> None:
    await store.commit(Commit("k", 0, b"", "m1", commands=(b"c1", b"c2")))
    assert await store.commit(Commit("k", 1, b"", "m2", commands=(b"c3",), settles=(1, 99))) == (3,)
    assert await store.owed() == [Owed(2, "k", b"c2"), Owed(3, "k", b"c3")]


async def test_settling_alone_leaves_the_state_and_may_be_repeated(
    stores: StateStores, store: StateStore
) -> None:
    await store.commit(Commit("k", 0, b"s", "m1", commands=(b"c1", b"c2")))
    await store.settle(1)
    await store.settle(1)
    store = await reopened(stores, store)
    assert await store.owed() == [Owed(2, "k", b"c2")]
    assert await store.load("k") == Stored(1, b"s")
    await store.close()


async def test_a_sequence_is_never_given_twice_even_when_all_is_settled(
    stores: StateStores, store: StateStore
) -> None:
    await store.commit(Commit("k", 0, b"", "m1", commands=(b"c",)))
    await store.settle(1)
    store = await reopened(stores, store)
    assert await store.commit(Commit("k", 1, b"", "m2", commands=(b"c",))) == (2,)
    await store.close()


# -- events ---------------------------------------------------------------------------------------


async def test_events_are_read_on_from_a_sequence_in_pages(store: StateStore) -> None:
    await store.commit(Commit("k", 0, b"", "m", events=tuple(b"%d" % n for n in range(1, 8))))
    assert await store.events_after(2, 3) == [Recorded(3, b"3"), Recorded(4, b"4"), Recorded(5, b"5")]
    assert await store.events_after(6, 100) == [Recorded(7, b"7")]
    assert await store.events_after(7, 100) == []
    assert await store.events_after(0, 0) == []


async def test_dropped_events_leave_their_numbers_taken(stores: StateStores, store: StateStore) -> None:
    await store.commit(Commit("k", 0, b"", "m1", events=(b"1", b"2", b"3")))
    await store.forget_events(2)
    assert await store.events_after(0, 10) == [Recorded(3, b"3")]
    await store.forget_events(3)
    await store.forget_events(0)
    store = await reopened(stores, store)
    await store.commit(Commit("k", 1, b"", "m2", events=(b"4",)))
    assert await store.events_after(0, 10) == [Recorded(4, b"4")]
    await store.close()


# -- concurrency ----------------------------------------------------------------------------------


async def test_200_concurrent_commits_all_count_and_number_without_gaps(
    stores: StateStores, store: StateStore
) -> None:
    async def commit(n: int) -> tuple[int, ...]:
        return await store.commit(
            Commit(f"k{n}", 0, b"%d" % n, f"m{n}", commands=(b"%d" % n,) * 2, events=(b"%d" % n,))
        )

    given = await asyncio.gather(*(commit(n) for n in range(200)))
    store = await reopened(stores, store)
    assert sorted(sequence for pair in given for sequence in pair) == list(range(1, 401))
    by_sequence = {owed.sequence: owed for owed in await store.owed()}
    for n, pair in enumerate(given):
        assert await store.load(f"k{n}") == Stored(1, b"%d" % n)
        assert [by_sequence[sequence].command for sequence in pair] == [b"%d" % n] * 2
    events = await store.events_after(0, 1000)
    assert [event.sequence for event in events] == list(range(1, 201))
    assert sorted(int(event.event) for event in events) == list(range(200))
    await store.close()


async def test_of_concurrent_commits_on_one_version_one_wins(store: StateStore) -> None:
    async def commit(n: int) -> bool:
        try:
            await store.commit(Commit("k", 0, b"%d" % n, f"m{n}"))
        except VersionConflictError:
            return False
        return True

    won = await asyncio.gather(*(commit(n) for n in range(20)))
    assert sum(won) == 1
    assert await store.load("k") == Stored(1, b"%d" % won.index(True))


async def test_counting_under_a_lock_counts_every_time(store: StateStore) -> None:
    lock = asyncio.Lock()

    async def count(n: int) -> None:
        async with lock:
            stored = await store.load("k")
            version, value = (0, 0) if stored is None else (stored.version, int(stored.state))
            await store.commit(Commit("k", version, b"%d" % (value + 1), f"m{n}"))

    await asyncio.gather(*(count(n) for n in range(50)))
    assert await store.load("k") == Stored(50, b"50")


# -- activations ----------------------------------------------------------------------------------


async def test_actors_do_not_see_each_other(stores: StateStores, store: StateStore) -> None:
    other = await stores.activate("bank/other")
    await store.commit(Commit("k", 0, b"mine", "m", commands=(b"c",), events=(b"e",)))
    assert (other.actor, other.epoch) == ("bank/other", 1)
    assert await other.load("k") is None
    assert await other.applied("m") is None
    assert await other.commit(Commit("k", 0, b"theirs", "m", commands=(b"d",))) == (1,)
    assert await store.owed() == [Owed(1, "k", b"c")]
    await other.close()


async def test_every_activated_actor_is_listed(stores: StateStores, store: StateStore) -> None:
    await (await stores.activate("bank/Other one_%")).close()
    await (await stores.activate("coordinator")).close()
    assert list(await stores.names()) == ["bank/Other one_%", "bank/main", "coordinator"]
    assert list(await stores.names("bank/")) == ["bank/Other one_%", "bank/main"]
    assert list(await stores.names("x")) == []


async def test_a_second_activation_is_refused_or_fences_the_first_for_ever(
    stores: StateStores, store: StateStore
) -> None:
    await store.commit(Commit("k", 0, b"1", "m1", commands=(b"c",)))
    try:
        newer = await stores.activate(ACTOR)
    except StoreLockedError:
        # The file lock lets only one live. The refused one has taken no epoch.
        await store.commit(Commit("k", 1, b"2", "m2"))
        await store.close()
        successor = await stores.activate(ACTOR)
        assert successor.epoch == 2
        await successor.close()
        return
    assert newer.epoch == 2
    stale_calls = (
        lambda: store.commit(Commit("k", 1, b"stale", "m2")),
        lambda: store.commit(Commit("fresh", 0, b"stale", "m3")),
        lambda: store.settle(1),
        lambda: store.load("k"),
        lambda: store.keys(),
        lambda: store.applied("m1"),
        lambda: store.owed(),
        lambda: store.events_after(0, 1),
        lambda: store.forget_events(1),
        lambda: store.forget_replies(1),
    )
    for _ in range(2):
        for call in stale_calls:
            with pytest.raises(FencedError) as told:
                await call()
            assert told.value.args == (ACTOR, 1)
        await newer.commit(Commit("k", (await newer.load("k") or Stored(0, b"")).version, b"new", f"n{_}"))
    assert await newer.owed() == [Owed(1, "k", b"c")]
    assert await newer.keys() == ["k"]
    await newer.close()


async def test_of_many_rivals_only_the_last_activation_commits(stores: StateStores) -> None:
    """Activations and commits race; whatever the order, committed epochs never go back."""
    committed: list[int] = []

    async def rival(n: int) -> None:
        try:
            mine = await stores.activate("rival/1")
        except StoreLockedError:
            return
        try:
            for turn in range(5):
                stored = await mine.load("k")
                await mine.commit(
                    Commit("k", stored.version if stored else 0, b"%d" % mine.epoch, f"{n}/{turn}")
                )
                committed.append(mine.epoch)
        except (FencedError, VersionConflictError):
            pass
        finally:
            await mine.close()

    await asyncio.gather(*(rival(n) for n in range(8)))
    last = await stores.activate("rival/1")
    stored = await last.load("k")
    assert stored is not None
    assert stored.version == len(committed)
    assert int(stored.state) == max(committed)
    await last.close()


async def test_a_closed_store_says_so(stores: StateStores) -> None:
    store = await stores.activate(ACTOR)
    await store.close()
    with pytest.raises(UnavailableError, match="closed"):
        await store.load("k")
    with pytest.raises(UnavailableError, match="closed"):
        await store.commit(Commit("k", 0, b"", "m"))


async def test_rocksdb_refuses_a_second_process(tmp_path: Path) -> None:
    store = await RocksdbStateStores(tmp_path).activate(ACTOR)
    code = (
        "import asyncio, sys, pathlib\n"
        "from anya_actors.adapters.rocksdb.state_store import RocksdbStateStores\n"
        f"asyncio.run(RocksdbStateStores(pathlib.Path(sys.argv[1])).activate({ACTOR!r}))\n"
    )
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(tmp_path), stderr=asyncio.subprocess.PIPE
    )
    _, complaint = await child.communicate()
    assert b"StoreLockedError" in complaint
    await store.close()

"""What every `ChainIndexStore` promises, over memory and RocksDB."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anya_actors.adapters.memory.chain_index import MemoryChainIndexes
from anya_actors.adapters.rocksdb.chain_index import RocksdbChainIndexes
from anya_actors.domain.bitcoin.index_changes import IndexDamagedError
from anya_actors.domain.machine import UnavailableError
from anya_actors.ports.chain_index import ChainIndexStore, ChainIndexStores
from anya_actors.ports.state_store import StoreLockedError


@pytest.fixture(params=["memory", "rocksdb"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> ChainIndexStores:
    return MemoryChainIndexes() if request.param == "memory" else RocksdbChainIndexes(tmp_path / "indexes")


@pytest.fixture
def store(stores: ChainIndexStores) -> Iterator[ChainIndexStore]:
    opened = stores.open()
    yield opened
    opened.close()


def _write(store: ChainIndexStore, puts: dict[bytes, bytes], deletes: list[bytes]) -> None:
    store.write(store.prepare(sorted(puts.items()), deletes))


def test_rows_are_found_by_their_keys_alone_or_together(store: ChainIndexStore) -> None:
    assert store.get(b"a") is None
    _write(store, {b"a": b"1", b"b": b""}, [])
    assert store.get(b"a") == b"1"
    assert store.get_many([b"b", b"c", b"a", b"b"]) == [b"", None, b"1", b""]
    assert store.get_many([]) == []


def test_a_prepared_batch_changes_nothing_before_it_is_written(store: ChainIndexStore) -> None:
    _write(store, {b"a": b"1"}, [])
    batch = store.prepare([(b"a", b"2"), (b"b", b"3")], [])
    assert store.get_many([b"a", b"b"]) == [b"1", None]
    store.write(batch)
    assert store.get_many([b"a", b"b"]) == [b"2", b"3"]


def test_a_row_that_is_deleted_and_put_by_one_batch_is_there(store: ChainIndexStore) -> None:
    _write(store, {b"a": b"1", b"b": b"1"}, [])
    _write(store, {b"a": b"2", b"c": b"2"}, [b"a", b"b", b"c", b"d"])
    assert list(store.scan(b"")) == [(b"a", b"2"), (b"c", b"2")]


def test_a_scan_gives_the_rows_of_a_prefix_in_order_from_a_start(store: ChainIndexStore) -> None:
    _write(store, {key: key for key in (b"a", b"b1", b"b2", b"b20", b"b3", b"c")}, [])
    assert [key for key, _ in store.scan(b"b")] == [b"b1", b"b2", b"b20", b"b3"]
    assert [key for key, _ in store.scan(b"b", b"b2")] == [b"b2", b"b20", b"b3"]
    assert list(store.scan(b"d")) == []


def test_a_scan_sees_the_rows_that_were_there_when_it_began(store: ChainIndexStore) -> None:
    _write(store, {b"a1": b"", b"a2": b""}, [])
    found = store.scan(b"a")
    _write(store, {b"a3": b""}, [b"a2"])
    assert [key for key, _ in found] == [b"a1", b"a2"]


def test_a_cleared_store_is_empty_and_takes_rows_again(store: ChainIndexStore) -> None:
    _write(store, {b"a": b"1", b"z": b"1"}, [])
    store.clear()
    assert list(store.scan(b"")) == []
    _write(store, {b"a": b"2"}, [])
    assert store.get(b"a") == b"2"


def test_what_was_written_is_found_when_it_is_opened_again(stores: ChainIndexStores) -> None:
    store = stores.open()
    _write(store, {b"a": b"1"}, [])
    store.close()
    store = stores.open()
    assert store.get(b"a") == b"1"
    store.close()


KEYS = st.binary(max_size=2).map(lambda end: b"k" + end)
CHANGES = st.lists(
    st.tuples(
        st.dictionaries(KEYS, st.binary(max_size=2), max_size=5),
        st.lists(KEYS, max_size=5),
    ),
    max_size=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(CHANGES)
def test_any_changes_leave_what_a_dictionary_would_hold(
    store: ChainIndexStore, changes: list[tuple[dict[bytes, bytes], list[bytes]]]
) -> None:
    store.clear()
    model: dict[bytes, bytes] = {}
    for puts, deletes in changes:
        _write(store, puts, deletes)
        for key in deletes:
            model.pop(key, None)
        model.update(puts)
    assert list(store.scan(b"")) == sorted(model.items())


def test_a_folder_is_held_by_one_process_and_a_closed_store_refuses(tmp_path: Path) -> None:
    stores = RocksdbChainIndexes(tmp_path / "indexes")
    store = stores.open()
    with pytest.raises(StoreLockedError):
        stores.open()
    store.close()
    store.close()
    with pytest.raises(UnavailableError, match="closed"):
        store.get(b"a")


@pytest.mark.parametrize("pattern", ["CURRENT", "MANIFEST-*", "*.sst", "*.log"])
def test_a_damaged_database_is_found_out_or_opens_whole(tmp_path: Path, pattern: str) -> None:
    stores = RocksdbChainIndexes(tmp_path / "indexes")
    store = stores.open()
    rows = {bytes([at]) * 8: bytes(100) for at in range(200)}
    _write(store, rows, [])
    store.close()
    store = stores.open()  # what lay in the log now lies in a table
    store.close()
    for path in (tmp_path / "indexes").glob(pattern):
        path.write_bytes(b"\x00" * path.stat().st_size)
    store = stores.open()
    try:
        found = dict(store.scan(b""))
        assert found in ({}, rows)
    except IndexDamagedError:
        store.close()
        store = stores.open()
        assert list(store.scan(b"")) == []
    store.close()


def test_a_lost_database_opens_empty(tmp_path: Path) -> None:
    stores = RocksdbChainIndexes(tmp_path / "indexes")
    store = stores.open()
    _write(store, {b"a": b"1"}, [])
    store.close()
    for path in (tmp_path / "indexes").iterdir():
        path.unlink()
    store = stores.open()
    assert store.get(b"a") is None
    store.close()

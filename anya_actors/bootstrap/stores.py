"""Which store the durable actors use."""

from __future__ import annotations

from anya_actors.adapters.files.secret_file import read_secret_file
from anya_actors.config import Settings
from anya_actors.ports.state_store import StateStores


def open_stores(settings: Settings) -> StateStores:
    """RocksDB below the data directory, or the PostgreSQL that ``store.dsn_file`` names.

    Called in each actor's own process: no connection and no password crosses Ray.
    """
    if settings.store.kind == "rocksdb":
        from anya_actors.adapters.rocksdb.state_store import RocksdbStateStores

        return RocksdbStateStores(settings.state_dir)
    from anya_actors.adapters.postgresql.state_store import PostgresStateStores

    if settings.store.dsn_file is None:
        raise AssertionError("load_settings lets no postgresql pass without a dsn_file")
    return PostgresStateStores(read_secret_file(settings.store.dsn_file).reveal())

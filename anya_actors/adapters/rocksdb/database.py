"""One RocksDB, opened small: a laptop runs many actors, and each has one of its own."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import structlog
from rocksdict import BlockBasedOptions, Cache, DBRecoveryMode, Options, Rdict, Snapshot, WriteBatch

from anya_actors.adapters.rocksdb.layout import META, Meta
from anya_actors.domain.machine import AnyaError, UnavailableError
from anya_actors.ports.state_store import StoreFullError, StoreLockedError

_KIB, _MIB = 1 << 10, 1 << 20
# Recovery writes what the log holds into a table: less room than this is not worth a try.
ROOM_TO_RECOVER = 8 * _MIB
_FULL = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))

_NOT_FOUND = "key not found"

_log = structlog.get_logger(__name__)

# One for all databases of the process; held for ever, since every open database points to it.
_CACHE = Cache(_MIB)


def _options() -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_paranoid_checks(True)
    # Power loss can leave a log whose unsynced end has holes: everything before the first hole is
    # kept, which is everything that was ever acknowledged.
    options.set_wal_recovery_mode(DBRecoveryMode.point_in_time())
    options.set_write_buffer_size(_MIB)
    options.set_max_write_buffer_number(2)
    options.set_arena_block_size(64 * _KIB)
    options.set_manifest_preallocation_size(64 * _KIB)
    options.set_max_total_wal_size(4 * _MIB)
    options.set_max_open_files(64)
    options.set_max_background_jobs(1)
    options.set_table_cache_num_shard_bits(0)
    options.set_keep_log_file_num(1)
    options.set_max_log_file_size(_MIB)
    options.set_stats_dump_period_sec(0)
    options.set_stats_persist_period_sec(0)
    options.set_skip_stats_update_on_db_open(True)
    blocks = BlockBasedOptions()
    blocks.set_block_cache(_CACHE)
    options.set_block_based_table_factory(blocks)
    return options


class Database:
    """A RocksDB of one actor, held by this process alone while it is open.

    `get` and `scan` see what is known to be on disk, so nothing is ever told or acted upon that a
    crash could still take back. `write` changes only what `newest` sees, until a `sync` that began
    later has succeeded.
    """

    def __init__(self, actor: str, folder: Path) -> None:
        """Open or create it; raises `StoreLockedError`, `StoreFullError`, `UnavailableError`."""
        self._actor = actor
        self._folder = folder
        try:
            rocks = Rdict(str(folder), _options())
        except Exception as error:  # rocksdict raises nothing narrower
            raise self._translated(error) from error
        # Whatever recovery read from the log it has written into a synced table: all is on disk.
        self._rocks: Rdict | None = rocks
        self._view: Snapshot | None = rocks.snapshot()
        self._next_view: Snapshot | None = None

    def newest(self, key: bytes) -> bytes | None:
        """The value as last written, on disk or not."""
        found: bytes | None = self._open.get(key)
        return found

    def get(self, key: bytes) -> bytes | None:
        """The value that is on disk."""
        if self._view is None:
            raise self._not_open()
        try:
            value: bytes = self._view[key]
        except Exception as error:  # rocksdict raises nothing narrower
            if str(error) == _NOT_FOUND:
                return None
            raise self._translated(error) from error
        return value

    def scan(self, prefix: bytes, start: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Everything on disk whose key begins with ``prefix``, from ``start``, sorted.

        What a write that is not synced yet has removed is left out already.
        """
        # An iterator of rocksdict's snapshot sees what was written after it (0.3.29); its reads
        # of single keys do not. So keys come from the one and values from the other.
        place = self._open.iter()
        place.seek(prefix if start is None else start)
        while place.valid():
            key: bytes = place.key()
            if not key.startswith(prefix):
                return
            value = self.get(key)
            if value is not None:
                yield key, value
            place.next()
        try:
            place.status()
        except Exception as error:  # rocksdict raises nothing narrower
            raise self._translated(error) from error

    def meta(self) -> Meta:
        found = self.newest(META)
        return Meta() if found is None else Meta.decode(found)

    def write(self, batch: WriteBatch) -> None:
        """Apply ``batch`` as a whole, not yet synced; raises `StoreFullError`, `UnavailableError`.

        After an error this object takes no further writes: open another.
        """
        try:
            self._open.write(batch)
        except Exception as error:  # rocksdict raises nothing narrower
            raise self._translated(error) from error

    def sync(self) -> None:
        """Put every write made before on disk and in sight. Blocks, without the GIL."""
        # Kept here and not in a local: the frames of a failed sync outlive it in its traceback.
        self._next_view = self._open.snapshot()
        try:
            self._open.flush_wal(True)
        except Exception as error:  # rocksdict raises nothing narrower
            raise self._translated(error) from error
        self._view = self._next_view

    def has_room_to_recover(self) -> bool:
        """Whether closing and opening it anew has a chance on a disk that was full."""
        return shutil.disk_usage(self._folder).free >= ROOM_TO_RECOVER

    def close(self) -> None:
        """Release the database and its lock; closing again does nothing."""
        rocks, self._rocks = self._rocks, None
        # A living snapshot would keep the database, and its lock, open; so would another reference.
        self._view = self._next_view = None
        if rocks is None:
            return
        try:
            rocks.close()
        except Exception as error:  # noqa: BLE001 - rocksdict raises nothing narrower
            # After a failed write it complains of it once more; what it could not write was never
            # acknowledged.
            _log.warning("a store closed with an error", actor=self._actor, error=str(error))

    @property
    def _open(self) -> Rdict:
        if self._rocks is None:
            raise self._not_open()
        return self._rocks

    def _not_open(self) -> UnavailableError:
        return UnavailableError(f"the store of {self._actor}", "it is not open")

    def _translated(self, error: Exception) -> AnyaError:
        reason = str(error)
        if "lock hold by current process" in reason or "While lock file" in reason:
            return StoreLockedError(self._actor, str(self._folder))
        if any(text in reason for text in _FULL):
            return StoreFullError(self._actor, reason)
        return UnavailableError(f"the store of {self._actor}", reason)

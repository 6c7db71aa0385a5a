"""Index rows in one RocksDB.

Writes go to its log without a sync: after a power cut the rows stand at some earlier block, whole,
and the node follows its chain from there.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import structlog
from rocksdict import BlockBasedOptions, Cache, DBRecoveryMode, Options, Rdict, WriteBatch

from anya_actors.domain.bitcoin.index_changes import IndexDamagedError
from anya_actors.domain.machine import AnyaError, UnavailableError
from anya_actors.ports.state_store import StoreFullError, StoreLockedError

T = TypeVar("T")

_MIB = 1 << 20
_OWNER = "the embedded Bitcoin node's indexes"
_FULL = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
_LOCKED = ("lock hold by current process", "While lock file")

_log = structlog.get_logger(__name__)

# One for all databases of the process; held for ever, since every open database points to it.
_CACHE = Cache(8 * _MIB)


def _options() -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_paranoid_checks(True)
    # What survives is a beginning of what was written: each batch whole, none without those before it.
    options.set_wal_recovery_mode(DBRecoveryMode.point_in_time())
    options.set_write_buffer_size(4 * _MIB)
    options.set_max_write_buffer_number(3)
    options.set_max_total_wal_size(16 * _MIB)
    options.set_max_open_files(128)
    options.set_max_background_jobs(2)
    options.set_keep_log_file_num(1)
    options.set_max_log_file_size(_MIB)
    options.set_stats_dump_period_sec(0)
    options.set_stats_persist_period_sec(0)
    options.set_skip_stats_update_on_db_open(True)
    blocks = BlockBasedOptions()
    blocks.set_block_cache(_CACHE)
    blocks.set_cache_index_and_filter_blocks(True)
    blocks.set_bloom_filter(10, False)
    options.set_block_based_table_factory(blocks)
    return options


class RocksdbChainIndex:
    """A `ChainIndexStore` on disk, held by this process alone while it is open."""

    def __init__(self, rocks: Rdict, mark_damaged: Callable[[], None]) -> None:
        self._rocks: Rdict | None = rocks
        self._mark_damaged = mark_damaged

    def _ask(self, question: Callable[[Rdict], T]) -> T:
        if self._rocks is None:
            raise UnavailableError(_OWNER, "they are closed")
        try:
            return question(self._rocks)
        except Exception as error:  # rocksdict raises nothing narrower
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> AnyaError:
        reason = str(error)
        if any(text in reason for text in _FULL):
            return StoreFullError(_OWNER, reason)
        self._mark_damaged()
        return IndexDamagedError(reason)

    def get(self, key: bytes) -> bytes | None:
        found: bytes | None = self._ask(lambda rocks: rocks.get(key))
        return found

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        if not keys:
            return []
        found: Any = self._ask(lambda rocks: rocks.get(list(keys)))
        return list(found)

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        place = self._ask(lambda rocks: rocks.iter())
        place.seek(max(prefix, start))
        return self._rows(place, prefix)

    def _rows(self, place: Any, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        while place.valid():
            key = place.key()
            if not key.startswith(prefix):
                return
            yield key, place.value()
            place.next()
        self._ask(lambda _: place.status())

    def prepare(self, puts: Sequence[tuple[bytes, bytes]], deletes: Sequence[bytes]) -> WriteBatch:
        batch = WriteBatch(raw_mode=True)
        for key in deletes:
            batch.delete(key)
        for key, row in puts:
            batch.put(key, row)
        return batch

    def write(self, batch: WriteBatch) -> None:
        self._ask(lambda rocks: rocks.write(batch))

    def clear(self) -> None:
        # Every key is less than this one: the first byte of each is a letter.
        self._ask(lambda rocks: rocks.delete_range(b"", b"\xff"))

    def close(self) -> None:
        rocks, self._rocks = self._rocks, None
        if rocks is None:
            return
        try:
            rocks.close()
        except Exception as error:  # noqa: BLE001 - rocksdict raises nothing narrower
            # What it could not write the node finds out at its next start, and makes up for.
            _log.warning("the indexes closed with an error", error=str(error))


class RocksdbChainIndexes:
    """Opens the RocksDB in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # Beside the database, since a database that is damaged may be wiped as a whole.
        self._damage = folder.with_name(folder.name + ".damaged")

    def open(self) -> RocksdbChainIndex:
        """Raises `StoreLockedError`, `StoreFullError` or `UnavailableError`."""
        if self._damage.exists():
            self._wipe()
        try:
            rocks = Rdict(str(self._folder), _options())
        except Exception as error:  # noqa: BLE001 - rocksdict raises nothing narrower
            rocks = self._open_anew(error)
        return RocksdbChainIndex(rocks, self._damage.touch)

    def _open_anew(self, error: Exception) -> Rdict:
        """Make it anew, unless only a lock or a full disk stands in the way."""
        reason = str(error)
        if any(text in reason for text in _LOCKED):
            raise StoreLockedError(_OWNER, str(self._folder)) from error
        if any(text in reason for text in _FULL):
            raise StoreFullError(_OWNER, reason) from error
        _log.warning("the indexes are damaged and are made anew", error=reason)
        self._wipe()
        try:
            return Rdict(str(self._folder), _options())
        except Exception as second:  # rocksdict raises nothing narrower
            raise UnavailableError(_OWNER, str(second)) from second

    def _wipe(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        self._damage.unlink(missing_ok=True)

"""One platform's hold on its data directory: the lock, and the file that tells where it listens."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

import msgspec
import psutil

from anya_actors.bootstrap.addresses import Addresses
from anya_actors.cli.faults import DataDirectoryError, DataDirectoryLockedError, NotRunningError
from anya_actors.cli.processes import clear_temporary, end_all
from anya_actors.config import Settings

# A killed platform is cleaned up by its watchdog within 10 s; a new one waits that long for it.
_CLEAN_UP_S: Final = 12.0


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """``run/platform.json``: what other commands need to find this platform.

    ``started_unix_s`` is the launcher's start as the kernel counts it; with the process id it
    names one process for ever, so that nobody signals a stranger. ``ray_token_file`` opens a Ray that
    is the platform's own.
    """

    instance: str
    pid: int
    started_unix_s: float
    phase: Literal["starting", "ready"]
    temp_dir: str
    log_dir: str
    admin_token_file: str
    addresses: Addresses | None = None
    ray_address: str | None = None
    ray_token_file: str | None = None

    def launcher(self) -> psutil.Process | None:
        """The launcher's process, or None if it is gone."""
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.pid)
            if process.create_time() == self.started_unix_s and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None


def record_file(data_dir: Path) -> Path:
    """Where the record of a data directory's platform stands."""
    return data_dir / "run" / "platform.json"


def read_record(data_dir: Path) -> Record | None:
    """The record, or None where no platform has run (or its file is damaged)."""
    try:
        return msgspec.json.decode(record_file(data_dir).read_bytes(), type=Record)
    except (OSError, msgspec.DecodeError):
        return None


def running(settings: Settings) -> Record:
    """The record of the platform that runs on this data directory; raises `NotRunningError`."""
    record = read_record(settings.data_dir)
    if record is None or record.launcher() is None:
        raise NotRunningError(str(settings.data_dir))
    return record


def write_private(path: Path, content: bytes | bytearray) -> None:
    """Write a file that only its owner can read, whole or not at all; on disk when it returns."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, content)  # not through a buffer, which would keep it in memory
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(fresh, path)
    # Keys are sealed with a new passphrase at once: its name must not be lost with the power.
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class DataDirectory:
    """A data directory held by this process alone, from `__enter__` to `__exit__`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.lock = -1

    def __enter__(self) -> Self:
        """Create, lock and sweep; raises `DataDirectoryError` or `DataDirectoryLockedError`."""
        settings = self._settings
        try:
            for path in (settings.data_dir, settings.run_dir):
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.lock = os.open(settings.run_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise DataDirectoryError(str(settings.data_dir), error.strerror or str(error)) from None
        try:
            self._take()
        except BaseException:
            os.close(self.lock)
            raise
        self._sweep()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Forget the addresses and give the directory back."""
        record_file(self._settings.data_dir).unlink(missing_ok=True)
        os.close(self.lock)

    def write(self, record: Record) -> None:
        """Tell other commands about this platform."""
        write_private(record_file(self._settings.data_dir), msgspec.json.encode(record))

    def _take(self) -> None:
        until = time.monotonic() + _CLEAN_UP_S
        while True:
            try:
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    raise DataDirectoryError(str(self._settings.data_dir), str(error.strerror)) from None
            else:
                os.truncate(self.lock, 0)
                os.pwrite(self.lock, str(os.getpid()).encode(), 0)
                return
            holder = int(os.pread(self.lock, 20, 0) or b"0")
            # The holder is dead and the lock is held still: its watchdog is at work.
            if _lives(holder) or time.monotonic() > until:
                raise DataDirectoryLockedError(str(self._settings.data_dir), holder)
            time.sleep(0.1)

    def _sweep(self) -> None:
        """End what an earlier platform left if its launcher and its watchdog were both killed."""
        record = read_record(self._settings.data_dir)
        if record is not None:
            end_all(record.instance)
            clear_temporary(Path(record.temp_dir), Path(record.log_dir))
            record_file(self._settings.data_dir).unlink(missing_ok=True)


def _lives(pid: int) -> bool:
    try:
        return bool(pid > 0 and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False

"""A folder of the machine's file system."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from anya_actors.domain.machine import InvalidInputError
from anya_actors.ports.state_store import StoreLockedError


class SystemFile:
    """One open file. Reads and writes name their offset, so threads do not disturb each other."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size

    def size(self) -> int:
        return self._size

    def read(self, offset: int, size: int) -> bytes:
        parts: list[bytes] = []
        while size > 0:
            part = os.pread(self._descriptor, size, offset)
            if not part:
                break
            parts.append(part)
            offset += len(part)
            size -= len(part)
        return b"".join(parts)

    def append(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            # A disk that fills up writes a part first and raises on the next call.
            written = os.pwrite(self._descriptor, rest, self._size)
            self._size += written
            rest = rest[written:]

    def sync(self) -> None:
        os.fdatasync(self._descriptor)

    def truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)
        self._size = size
        os.fsync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


class SystemDisk:
    """A `Disk` over one folder, which is made if it is not there. Files are private to the user.

    A file is locked while it is open: opening it again, here or in another process, raises
    `StoreLockedError`. The lock ends with the process, whatever kills it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        make_folder(folder)

    def open(self, name: str) -> SystemFile:
        path = self._path(name)
        fresh = not path.exists()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is_same(descriptor, path):
                raise BlockingIOError  # whoever held it put another file in its place meanwhile
            if fresh:
                self._sync_folder()
            _forget_cached(descriptor)
            return SystemFile(descriptor)
        except BlockingIOError as error:
            os.close(descriptor)
            raise StoreLockedError(name, str(path)) from error
        except BaseException:
            os.close(descriptor)
            raise

    def exists(self, name: str) -> bool:
        return self._path(name).exists()

    def remove(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)
        self._sync_folder()

    def rename(self, name: str, to: str) -> None:
        self._path(name).replace(self._path(to))
        self._sync_folder()

    def _path(self, name: str) -> Path:
        if Path(name).name != name or name in ("", ".."):
            raise InvalidInputError("file name", f"{name!r} is not a plain name")
        return self._folder / name

    def _sync_folder(self) -> None:
        sync_folder(self._folder)


def _is_same(descriptor: int, path: Path) -> bool:
    return path.exists() and os.path.samestat(os.fstat(descriptor), path.stat())


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, private to the user; their names are on disk when it returns."""
    missing: list[Path] = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(exist_ok=True, mode=0o700)
        sync_folder(each.parent)


def sync_folder(folder: Path) -> None:
    """Put the names of what lies in the folder on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _forget_cached(descriptor: int) -> None:
    """Let reads come from the disk.

    After a failed sync the kernel takes the pages for clean: they can be read, the next sync
    succeeds, and they were never written. Dropped from the cache, they show what is really there.
    """
    os.fsync(descriptor)
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

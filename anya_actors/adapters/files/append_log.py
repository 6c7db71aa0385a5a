"""An append log in one file: group commit, torn ends cut off, damage refused."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from anya_actors.adapters.files.frames import (
    HEADER_SIZE,
    MAX_BODY_SIZE,
    SALT_SIZE,
    FrameIndex,
    encode_frame,
    header,
    read_frame,
    read_salt,
    scan,
)
from anya_actors.adapters.files.rewriting import (
    Change,
    frames_of,
    fresh_name,
    remove_unfinished,
    write_changed,
)
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.domain.machine import InvalidInputError, UnavailableError
from anya_actors.ports.append_log import DamagedLogError, LogFullError
from anya_actors.ports.disk import Disk, File
from anya_actors.ports.randomness import Randomness


@dataclass(frozen=True, slots=True)
class _Waiting:
    """One ``append`` on its way to the disk."""

    records: tuple[bytes, ...]
    written: asyncio.Future[int]


class FileAppendLog:
    """An `AppendLog` in one file of a `Disk`. Only one may be open on a file at a time.

    Appends that arrive while a sync is under way are written and synced together after it. If a
    write or a sync fails, the file is cut back to what was synced before and the appends of that
    group raise `LogFullError`. If it cannot even be cut, nobody knows what is on disk: these and
    all later appends raise `UnavailableError` until the log is opened anew.
    """

    def __init__(
        self, disk: Disk, name: str, file: File, salt: bytes, index: FrameIndex, randomness: Randomness
    ) -> None:
        self._disk = disk
        self._randomness = randomness
        self._name = name
        self._file = file
        self._salt = salt
        self._index = index
        self._waiting: list[_Waiting] = []
        self._writer: asyncio.Task[None] | None = None
        self._reads: set[asyncio.Task[list[bytes]]] = set()
        self._refusal: str | None = None

    @classmethod
    async def open(cls, disk: Disk, name: str, randomness: Randomness | None = None) -> FileAppendLog:
        """Open or create the log; cut a torn end. Raises `DamagedLogError`, `LogFullError`."""
        randomness = randomness or SystemRandomness()
        salt = randomness.token_bytes(SALT_SIZE)
        file, salt, index = await asyncio.to_thread(_open, disk, name, salt)
        return cls(disk, name, file, salt, index, randomness)

    def __len__(self) -> int:
        return self._index.records

    async def append(self, *records: bytes) -> int:
        """Add records, all or nothing; they are synced when it returns.

        Cancelling the caller does not take the records back.
        """
        if sum(map(len, records)) + 4 * len(records) > MAX_BODY_SIZE:
            raise InvalidInputError("records", "one append takes less than 4 GiB")
        self._refuse_if_lost()
        if not records:
            return self._index.records
        written: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(records, written))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all())
        return await written

    async def read(self, start: int, limit: int) -> list[bytes]:
        end = min(start + limit, self._index.records)
        if start < 0 or start >= end:
            return []
        # A caller that gives up must not let the file be closed under the thread that reads it.
        read = asyncio.create_task(
            asyncio.to_thread(_read, self._name, self._file, self._salt, self._index, start, end)
        )
        self._reads.add(read)
        read.add_done_callback(self._reads.discard)
        return await asyncio.shield(read)

    async def rewrite(self, change: Change, *more: bytes) -> None:
        """Put ``change(record)`` in every record's place and add ``more``; all of it, or nothing of it.

        The successor is written beside the file and takes its place when it is on disk. Appends wait.
        Cancelling the caller does not stop it.
        """
        while self._writer is not None:
            await asyncio.wait((self._writer,))
        self._refuse_if_lost()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._writer = asyncio.create_task(self._rewrite(change, more, done))
        await done

    async def _rewrite(self, change: Change, more: Sequence[bytes], done: asyncio.Future[None]) -> None:
        try:
            await self._take_successor(change, more)
        except BaseException as error:
            if not done.done():
                done.set_exception(error)
            if not isinstance(error, Exception):
                raise
        finally:
            self._writer = asyncio.create_task(self._write_all()) if self._waiting else None
        if not done.done():
            done.set_result(None)

    async def _take_successor(self, change: Change, more: Sequence[bytes]) -> None:
        salt, old = self._randomness.token_bytes(SALT_SIZE), self._file
        frames = frames_of(old, self._salt, self._index, self._name)
        file, index = await asyncio.to_thread(
            write_changed, self._disk, self._name, salt, frames, change, more
        )
        try:
            await asyncio.to_thread(self._disk.rename, fresh_name(self._name), self._name)
        except OSError as error:
            self._refusal = f"nobody knows whether its successor took its place: {error.strerror or error}"
            await asyncio.to_thread(file.close)
            raise UnavailableError(f"log {self._name}", self._refusal) from error
        self._file, self._salt, self._index = file, salt, index
        if self._reads:
            await asyncio.wait(set(self._reads))
        await asyncio.to_thread(old.close)

    async def close(self) -> None:
        while self._writer is not None:
            await self._writer
        if self._refusal is None:
            self._refusal = "it has been closed"
            await asyncio.to_thread(self._file.close)

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting, []
                await self._write_group(group)
        finally:
            self._writer = None

    async def _write_group(self, group: Sequence[_Waiting]) -> None:
        try:
            self._refuse_if_lost()
            frames = self._encode(group)
            await asyncio.to_thread(self._write, b"".join(frames))
        except (LogFullError, UnavailableError) as error:
            _refuse(group, error)
            return
        except BaseException as error:
            self._refusal = f"its writer ended: {error!r}"
            _refuse(group, UnavailableError(f"log {self._name}", self._refusal))
            raise
        for waiting, frame in zip(group, frames, strict=True):
            first = self._index.records
            self._index.add(self._index.end, len(waiting.records), self._index.end + len(frame))
            if not waiting.written.done():
                waiting.written.set_result(first)

    def _encode(self, group: Sequence[_Waiting]) -> list[bytes]:
        frames: list[bytes] = []
        group_offset = offset = self._index.end
        index = self._index.records
        for waiting in group:
            frames.append(encode_frame(self._salt, offset, index, group_offset, waiting.records))
            offset += len(frames[-1])
            index += len(waiting.records)
        return frames

    def _write(self, data: bytes) -> None:
        """In a thread: put ``data`` on disk, or leave the file as it was."""
        try:
            self._file.append(data)
            self._file.sync()
        except OSError as error:
            reason = error.strerror or str(error)
            try:
                # After a failed sync the kernel may have dropped the pages: what lies there now
                # says nothing about the disk.
                self._file.truncate(self._index.end)
            except OSError as second:
                self._refusal = f"after a failed write ({reason}) it could not be cut back: {second.strerror}"
                raise UnavailableError(f"log {self._name}", self._refusal) from second
            raise LogFullError(self._name, reason) from error

    def _refuse_if_lost(self) -> None:
        if self._refusal is not None:
            raise UnavailableError(f"log {self._name}", self._refusal)


def _read(name: str, file: File, salt: bytes, index: FrameIndex, start: int, end: int) -> list[bytes]:
    """In a thread: records ``start`` to ``end``, each frame checked again."""
    found: list[bytes] = []
    while start < end:
        offset, first = index.frame_of(start)
        frame = read_frame(file, salt, offset)
        if frame is None or frame.first_index != first:
            raise DamagedLogError(name, start)
        found.extend(frame.records[start - first : end - first])
        start = first + len(frame.records)
    return found


def _refuse(group: Sequence[_Waiting], error: Exception) -> None:
    for waiting in group:
        if not waiting.written.done():
            waiting.written.set_exception(error)


def _open(disk: Disk, name: str, fresh_salt: bytes) -> tuple[File, bytes, FrameIndex]:
    try:
        file = disk.open(name)
    except OSError as error:
        raise LogFullError(name, error.strerror or str(error)) from error
    try:
        remove_unfinished(disk, name)
        salt = read_salt(file)
        if salt is None:
            # Records are written only after the header is synced: a file no longer than a header
            # is one whose creation was cut short; a longer one has lost its header.
            if file.size() > HEADER_SIZE:
                raise DamagedLogError(name, 0)
            file.truncate(0)
            file.append(header(fresh_salt))
            file.sync()
            return file, fresh_salt, FrameIndex()
        index = scan(file, salt, name)
        if index.end < file.size():
            file.truncate(index.end)
        return file, salt, index
    except OSError as error:
        file.close()
        raise LogFullError(name, error.strerror or str(error)) from error
    except BaseException:
        file.close()
        raise

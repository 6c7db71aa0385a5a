"""A log's file written anew, beside it: record for record, some of them changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final

from anya_actors.adapters.files.frames import FrameIndex, encode_frame, header, read_frame
from anya_actors.ports.append_log import DamagedLogError, LogFullError
from anya_actors.ports.disk import Disk, File

_CHUNK_BYTES: Final = 1 << 20

Change = Callable[[bytes], bytes]


def fresh_name(name: str) -> str:
    """Where the successor of a log's file is written."""
    return f"{name}.fresh"


def remove_unfinished(disk: Disk, name: str) -> None:
    """Remove what a predecessor wrote that never took the log's place. Raises ``OSError``."""
    if disk.exists(fresh_name(name)):
        disk.remove(fresh_name(name))


def frames_of(file: File, salt: bytes, index: FrameIndex, name: str) -> Iterator[tuple[bytes, ...]]:
    """The records of each frame, checked again; raises `DamagedLogError`."""
    start = 0
    while start < index.records:
        offset, first = index.frame_of(start)
        frame = read_frame(file, salt, offset)
        if frame is None or frame.first_index != first:
            raise DamagedLogError(name, start)
        yield frame.records
        start += len(frame.records)


def write_changed(
    disk: Disk,
    name: str,
    salt: bytes,
    frames: Iterator[tuple[bytes, ...]],
    change: Change,
    more: Sequence[bytes],
) -> tuple[File, FrameIndex]:
    """In a thread: the successor of the log's file, synced, not yet in its place.

    Raises `LogFullError` and what ``change`` raises; then nothing is left of it.
    """
    try:
        remove_unfinished(disk, name)
        file = disk.open(fresh_name(name))
    except OSError as error:
        raise LogFullError(name, error.strerror or str(error)) from error
    try:
        return file, _write(file, salt, frames, change, more)
    except BaseException as error:
        file.close()
        with suppress(OSError):
            remove_unfinished(disk, name)
        if isinstance(error, OSError):
            raise LogFullError(name, error.strerror or str(error)) from error
        raise


def _write(
    file: File, salt: bytes, frames: Iterator[tuple[bytes, ...]], change: Change, more: Sequence[bytes]
) -> FrameIndex:
    index = FrameIndex()
    waiting = bytearray(header(salt))

    def add(records: Sequence[bytes]) -> None:
        end = index.end
        waiting.extend(encode_frame(salt, end, index.records, end, records))
        index.add(end, len(records), file.size() + len(waiting))
        if len(waiting) >= _CHUNK_BYTES:
            file.append(bytes(waiting))
            waiting.clear()

    for records in frames:
        add([change(record) for record in records])
    if more:
        add(more)
    file.append(bytes(waiting))
    file.sync()
    return index

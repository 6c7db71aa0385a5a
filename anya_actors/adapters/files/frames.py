"""How a log's records lie in its file, and what a reader makes of a file after a crash.

The file begins with a header that holds a salt. Then come frames, one for each ``append``::

    magic 4 | body length 4 | first record's index 8 | group's offset 8 | checksum 16 | body

A body is its records, each after its length (4 bytes). All numbers are big-endian. The checksum
(BLAKE2b) is keyed with the salt and covers the frame's own offset, its header and its body: what a
file system leaves lying from another file, or from elsewhere in this one, never passes.

Frames that are synced together are one *group*, and a group is written only after the one before
it is on disk. So if a frame is broken and a whole frame of a **later** group stands behind it, the
broken one had been synced: that is damage. Otherwise it is the torn end of the last write.
"""

from __future__ import annotations

import hashlib
import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from anya_actors.ports.append_log import DamagedLogError
from anya_actors.ports.disk import File

_HEADER_MAGIC = b"anyalog1"
SALT_SIZE = 16
HEADER_SIZE = len(_HEADER_MAGIC) + SALT_SIZE + 16
_MAGIC = b"\xa5anf"
_HEAD = struct.Struct(">4sIQQ16s")
_OFFSET = struct.Struct(">Q")
_LENGTH = struct.Struct(">I")
_SCAN_SIZE = 1 << 20
MAX_BODY_SIZE = (1 << 32) - 1


def header(salt: bytes) -> bytes:
    """The first bytes of a log file."""
    start = _HEADER_MAGIC + salt
    return start + hashlib.blake2b(start, digest_size=16).digest()


def read_salt(file: File) -> bytes | None:
    """The salt of a log file, or None if the header is not whole."""
    found = file.read(0, HEADER_SIZE)
    salt = found[len(_HEADER_MAGIC) : len(_HEADER_MAGIC) + SALT_SIZE]
    return salt if len(found) == HEADER_SIZE and found == header(salt) else None


@dataclass(frozen=True, slots=True)
class Frame:
    """A whole frame as found in the file. ``end`` is the offset behind it."""

    first_index: int
    group_offset: int
    end: int
    records: tuple[bytes, ...]


def encode_frame(
    salt: bytes, offset: int, first_index: int, group_offset: int, records: Sequence[bytes]
) -> bytes:
    """The bytes of one frame that will lie at ``offset``."""
    body = b"".join(_LENGTH.pack(len(record)) + record for record in records)
    checksum = _checksum(salt, offset, first_index, group_offset, body)
    return _HEAD.pack(_MAGIC, len(body), first_index, group_offset, checksum) + body


def read_frame(file: File, salt: bytes, offset: int) -> Frame | None:
    """The frame at ``offset``, or None if there is no whole one."""
    head = file.read(offset, _HEAD.size)
    if len(head) < _HEAD.size:
        return None
    magic, length, first_index, group_offset, checksum = _HEAD.unpack(head)
    body_offset = offset + _HEAD.size
    if magic != _MAGIC or body_offset + length > file.size():
        return None
    body = file.read(body_offset, length)
    if len(body) < length or checksum != _checksum(salt, offset, first_index, group_offset, body):
        return None
    return Frame(first_index, group_offset, body_offset + length, tuple(_split(body)))


def _checksum(salt: bytes, offset: int, first_index: int, group_offset: int, body: bytes) -> bytes:
    place = _OFFSET.pack(offset) + _OFFSET.pack(first_index) + _OFFSET.pack(group_offset)
    digest = hashlib.blake2b(place + _OFFSET.pack(len(body)), key=salt, digest_size=16)
    digest.update(body)
    return digest.digest()


def _split(body: bytes) -> Iterator[bytes]:
    place = 0
    while place < len(body):
        (length,) = _LENGTH.unpack_from(body, place)
        place += _LENGTH.size
        yield body[place : place + length]
        place += length


class FrameIndex:
    """Where each record of a log lies: 16 bytes of memory for each frame."""

    def __init__(self) -> None:
        self.records = 0
        self.end = HEADER_SIZE
        self._offsets = array("Q")
        self._first = array("Q")

    def add(self, offset: int, count: int, end: int) -> None:
        self._offsets.append(offset)
        self._first.append(self.records)
        self.records += count
        self.end = end

    def frame_of(self, index: int) -> tuple[int, int]:
        """The offset of the frame that holds record ``index``, and that frame's first index."""
        place = bisect_right(self._first, index) - 1
        return self._offsets[place], self._first[place]


def scan(file: File, salt: bytes, name: str) -> FrameIndex:
    """Find every frame of the file; ``index.end`` is where the whole part ends.

    Raises `DamagedLogError` if what follows that end is damage and not a torn write.
    """
    index = FrameIndex()
    while index.end < file.size():
        frame = read_frame(file, salt, index.end)
        if frame is None or frame.first_index != index.records:
            if _is_later_group_behind(file, salt, index.end):
                raise DamagedLogError(name, index.records)
            break
        index.add(index.end, len(frame.records), frame.end)
    return index


def _is_later_group_behind(file: File, salt: bytes, broken: int) -> bool:
    for offset in _magics(file, broken + 1):
        frame = read_frame(file, salt, offset)
        if frame is not None and frame.group_offset > broken:
            return True
    return False


def _magics(file: File, start: int) -> Iterator[int]:
    """Every offset from ``start`` where a frame could begin."""
    while start < file.size():
        window = file.read(start, _SCAN_SIZE + len(_MAGIC) - 1)
        place = window.find(_MAGIC)
        while 0 <= place < _SCAN_SIZE:
            yield start + place
            place = window.find(_MAGIC, place + 1)
        start += _SCAN_SIZE

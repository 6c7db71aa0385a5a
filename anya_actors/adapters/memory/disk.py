"""A folder of files in memory, where every write is at once as good as synced."""

from __future__ import annotations


class MemoryFile:
    """One file of a `MemoryDisk`. Two open handles of one name share the content."""

    def __init__(self, content: bytearray) -> None:
        self._content = content

    def size(self) -> int:
        return len(self._content)

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self._content[offset : offset + size])

    def append(self, data: bytes) -> None:
        self._content += data

    def sync(self) -> None:
        """Nothing to do: there is no slower place behind the memory."""

    def truncate(self, size: int) -> None:
        del self._content[size:]

    def close(self) -> None:
        """Nothing to release."""


class MemoryDisk:
    """A `Disk` that lives as long as this object; reopening a file finds what was written.

    ``files`` is open to tests, which look at the bytes and damage them.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytearray] = {}

    def open(self, name: str) -> MemoryFile:
        return MemoryFile(self.files.setdefault(name, bytearray()))

    def exists(self, name: str) -> bool:
        return name in self.files

    def remove(self, name: str) -> None:
        self.files.pop(name, None)

    def rename(self, name: str, to: str) -> None:
        self.files[to] = self.files.pop(name)

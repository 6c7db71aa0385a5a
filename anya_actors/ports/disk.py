"""Files, at the level where crashes happen: what is written is not yet on disk until synced."""

from __future__ import annotations

from typing import Protocol


class File(Protocol):
    """One open file. Calls block; services reach it through adapters that use a thread."""

    def size(self) -> int:
        """Length in bytes."""

    def read(self, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes from ``offset``; fewer at the end."""

    def append(self, data: bytes) -> None:
        """Write at the end. Until `sync` returns, a crash may keep none, some or all of it."""

    def sync(self) -> None:
        """Put everything written on disk (``fdatasync``). Raises ``OSError``."""

    def truncate(self, size: int) -> None:
        """Cut the file to ``size`` bytes, synced."""

    def close(self) -> None:
        """Release the file without a sync."""


class Disk(Protocol):
    """A folder."""

    def open(self, name: str) -> File:
        """Open or create the file of this name; its creation is synced with its folder.

        What is then read is on disk: a predecessor's unsynced writes are synced first, and what a
        failed sync left in the kernel's memory alone is not shown. Raises ``OSError``.
        """

    def exists(self, name: str) -> bool:
        """Whether a file of this name is there."""

    def remove(self, name: str) -> None:
        """Remove the file if it is there, synced with its folder."""

    def rename(self, name: str, to: str) -> None:
        """Let the file ``name`` take the place of ``to``, synced with its folder.

        After a crash it has, or it has not. Files stay open; what was ``to`` is gone when the last that
        has it open closes it. Raises ``OSError``, and then nobody knows.
        """

"""The file beside the kernel's own that says what its last flush held."""

from __future__ import annotations

import os
from pathlib import Path

from anya_actors.adapters.files.disk import sync_folder


class FlushMark:
    """Some bytes that are there whole or not at all. What they say is the caller's."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / "flush_mark"

    def take(self) -> bytes | None:
        """Read the mark and remove it, durably."""
        try:
            found = self._path.read_bytes()
        except FileNotFoundError:
            return None
        self._path.unlink()
        sync_folder(self._directory)
        return found

    def leave(self, mark: bytes) -> None:
        """Put a mark in the place of the one before, durably."""
        fresh = self._directory / "flush_mark.new"
        with fresh.open("wb") as file:
            file.write(mark)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        sync_folder(self._directory)

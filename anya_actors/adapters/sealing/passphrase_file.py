"""The passphrase in a file that only its owner can read."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path
from typing import Final

from anya_actors.domain.keys.secret import Secret
from anya_actors.ports.passphrase import PassphraseSourceError

MAX_BYTES: Final = 4096


class PassphraseFile:
    """Reads a file of mode 0600 (or 0400) that belongs to the user of this process.

    One newline at the end is not part of the passphrase: editors add it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    async def read(self) -> Secret:
        """The passphrase; raise `PassphraseSourceError`."""
        return await asyncio.to_thread(read_private_file, self._path)

    async def read_next(self) -> Secret:
        """What stands in the file beside it."""
        return await asyncio.to_thread(read_private_file, next_of(self._path))

    async def adopt_next(self) -> None:
        """Rename the file beside it over it."""
        await asyncio.to_thread(_adopt, self._path)


def next_of(path: Path) -> Path:
    """Where the next passphrase waits until the HSM is sealed with it: ``<path>.new``."""
    return path.with_name(f"{path.name}.new")


def rename_durably(source: Path, target: Path) -> None:
    """Rename; on disk when it returns. Raises `PassphraseSourceError`."""
    try:
        os.replace(source, target)
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        reason = f"it cannot be renamed to {target}: {os.strerror(error.errno or 0)}"
        raise PassphraseSourceError(str(source), reason) from None


def _adopt(path: Path) -> None:
    rename_durably(next_of(path), path)


def read_private_file(path: Path) -> Secret:
    """What only we can read, without one newline at its end; raise `PassphraseSourceError`."""

    def refused(reason: str) -> PassphraseSourceError:
        return PassphraseSourceError(str(path), reason)

    try:
        # A link could be pointed elsewhere between the check and the reading.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise refused(os.strerror(error.errno or 0)) from None
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise refused("it is not a regular file")
        if facts.st_uid != os.geteuid():
            raise refused("it belongs to another user")
        if stat.S_IMODE(facts.st_mode) & 0o077:
            raise refused(f"others may read it (mode {stat.S_IMODE(facts.st_mode):04o})")
        with Secret(bytearray(MAX_BYTES + 1)) as page:
            size = os.readv(descriptor, [page.buffer])
            end = size - 1 if size and page.buffer[size - 1] == 0x0A else size
            secret = Secret(page.buffer[:end])
    finally:
        os.close(descriptor)
    if size > MAX_BYTES:
        secret.wipe()
        raise refused(f"it is longer than {MAX_BYTES} bytes")
    if not secret.buffer:
        raise refused("it is empty")
    return secret

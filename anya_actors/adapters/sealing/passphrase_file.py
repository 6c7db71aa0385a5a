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
        data = bytearray(MAX_BYTES + 1)
        size = os.readv(descriptor, [data])
    finally:
        os.close(descriptor)
    if size > MAX_BYTES:
        raise refused(f"it is longer than {MAX_BYTES} bytes")
    del data[size:]
    if data.endswith(b"\n"):
        del data[-1:]
    if not data:
        raise refused("it is empty")
    return Secret(data)

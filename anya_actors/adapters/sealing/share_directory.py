"""Where people bring their shares of the passphrase to, and the next ones."""

from __future__ import annotations

import asyncio
from pathlib import Path

from anya_actors.adapters.sealing.passphrase_file import (
    PassphraseFile,
    next_of,
    read_private_file,
    rename_durably,
)
from anya_actors.adapters.sealing.share_joining import SUFFIX, join_apart
from anya_actors.domain.keys.secret import Secret


class ShareDirectory:
    """Reads every ``*.share`` file of a directory, each of mode 0600 and our own, and joins them.

    More shares than the threshold are no error; shares of two splittings do not mix.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    async def read(self) -> Secret:
        """The passphrase; raise `PassphraseSourceError`."""
        return await asyncio.to_thread(join_apart, self._path)

    async def read_next(self) -> Secret:
        """What the shares of the directory beside it give."""
        return await asyncio.to_thread(join_apart, next_of(self._path))

    async def adopt_next(self) -> None:
        """Put the directory beside it in its place; what was there is then ``<path>.old``."""
        await asyncio.to_thread(_adopt, self._path)


class FileOrShares(PassphraseFile):
    """The file, or where there is none the shares: either takes the other's place while the HSM runs."""

    def __init__(self, path: Path, directory: Path) -> None:
        super().__init__(path)
        self._directory = directory

    async def read(self) -> Secret:
        """The passphrase; raise `PassphraseSourceError`."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> Secret:
        split = not self._path.exists() and self._directory.exists()
        return join_apart(self._directory) if split else read_private_file(self._path)


def _adopt(path: Path) -> None:
    """After a crash between the two renames nothing stands at ``path``: the next one is read instead."""
    old = path.with_name(f"{path.name}.old")
    if path.exists():
        for share in old.glob(f"*{SUFFIX}"):
            share.unlink()  # of a passphrase two changes ago; a directory replaces an empty one alone
        rename_durably(path, old)
    rename_durably(next_of(path), path)

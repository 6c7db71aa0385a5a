"""The passphrase in k-of-n shares (SLIP-0039): people who must come together to unseal the HSM.

Only a passphrase that the platform made can be split: its 32 random bytes are the secret, each share
a mnemonic of 33 words that is useless without ``threshold`` - 1 others. The library's strings cannot
be wiped; they live in the HSM's own process, or in the command that splits, and nowhere else.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from pathlib import Path
from typing import Final

from bip39_slip39 import slip39

from anya_actors.adapters.sealing.passphrase_file import (
    PassphraseFile,
    next_of,
    read_private_file,
    rename_durably,
)
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import InvalidInputError
from anya_actors.ports.passphrase import PassphraseSourceError

SECRET_BYTES: Final = 32
MAX_SHARES: Final = 16
SUFFIX: Final = ".share"


def split_passphrase(passphrase: Secret, threshold: int, count: int) -> list[str]:
    """``count`` mnemonics of which any ``threshold`` give the passphrase back."""
    if not 2 <= threshold <= count <= MAX_SHARES:
        raise InvalidInputError("threshold", f"choose 2 to {MAX_SHARES} shares and no greater threshold")
    text = bytes(passphrase.buffer)
    try:
        secret = base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) != SECRET_BYTES or _text_of(secret) != text:
        raise InvalidInputError("the passphrase", "only one that the platform made can be split")
    (shares,) = slip39.mnemonics_from_master_secret(secret, ((threshold, count),))
    return list(shares)


class ShareDirectory:
    """Reads every ``*.share`` file of a directory, each of mode 0600 and our own, and joins them.

    More shares than the threshold are no error; shares of two splittings do not mix.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    async def read(self) -> Secret:
        """The passphrase; raise `PassphraseSourceError`."""
        return await asyncio.to_thread(_read, self._path)

    async def read_next(self) -> Secret:
        """What the shares of the directory beside it give."""
        return await asyncio.to_thread(_read, next_of(self._path))

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
        return _read(self._directory) if split else read_private_file(self._path)


def _read(path: Path) -> Secret:
    try:
        files = sorted(file for file in path.iterdir() if file.suffix == SUFFIX)
    except OSError as error:
        raise PassphraseSourceError(str(path), error.strerror or "it cannot be read") from None
    mnemonics = []
    for file in files:
        with read_private_file(file) as share:
            mnemonics.append(bytes(share.buffer).decode("ascii", "replace"))
    return Secret(bytearray(_text_of(join_shares(path, mnemonics))))


def join_shares(path: Path, mnemonics: list[str]) -> bytes:
    """The secret of shares that were read from ``path``; raise `PassphraseSourceError`."""
    try:
        needed = slip39.share_from_mnemonic(mnemonics[0]).member_threshold if mnemonics else 1
        if len(mnemonics) < needed:
            raise PassphraseSourceError(
                str(path), f"it holds {len(mnemonics)} shares, and {needed} are needed"
            )
        return slip39.master_secret_from_mnemonics(mnemonics[:needed])
    except (ValueError, TypeError):
        # Not quoted: the library's reasons may quote words of a share.
        raise PassphraseSourceError(str(path), "its shares are damaged, or not of one splitting") from None


def _adopt(path: Path) -> None:
    """After a crash between the two renames nothing stands at ``path``: the next one is read instead."""
    old = path.with_name(f"{path.name}.old")
    if path.exists():
        for share in old.glob(f"*{SUFFIX}"):
            share.unlink()  # of a passphrase two changes ago; a directory replaces an empty one alone
        rename_durably(path, old)
    rename_durably(next_of(path), path)


def _text_of(secret: bytes) -> bytes:
    """The passphrase's text, as it was made (``secrets.token_urlsafe``)."""
    return base64.urlsafe_b64encode(secret).rstrip(b"=")

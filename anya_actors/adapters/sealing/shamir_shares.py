"""The passphrase in k-of-n shares (SLIP-0039): people who must come together to unseal the HSM.

Only a passphrase that the platform made can be split: its 32 random bytes are the secret, each share
a mnemonic of 33 words that is useless without ``threshold`` - 1 others. The library's strings cannot
be wiped; they live in the process that joins (``share_joining``), or in the command that splits, and
both end right after.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Final

from bip39_slip39 import slip39

from anya_actors.adapters.sealing.passphrase_file import read_private_file
from anya_actors.adapters.sealing.share_joining import SUFFIX
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import InvalidInputError
from anya_actors.ports.passphrase import PassphraseSourceError

SECRET_BYTES: Final = 32
MAX_SHARES: Final = 16


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


def read_shares(path: Path) -> Secret:
    """The passphrase of the shares in a directory; raise `PassphraseSourceError`."""
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


def _text_of(secret: bytes) -> bytes:
    """The passphrase's text, as it was made (``secrets.token_urlsafe``)."""
    return base64.urlsafe_b64encode(secret).rstrip(b"=")

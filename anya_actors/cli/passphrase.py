"""The file that unseals the HSM, made at the first start."""

from __future__ import annotations

import binascii
import secrets
from pathlib import Path

from anya_actors.adapters.files.secret_file import check_secret_file
from anya_actors.cli.faults import DataDirectoryError, MissingPassphraseError
from anya_actors.cli.instance import write_private
from anya_actors.config import Settings
from anya_actors.domain.keys.secret import Secret

_ENTROPY_BYTES = 32
_URLSAFE = {ord("+"): ord("-"), ord("/"): ord("_")}


def ensure_passphrase(settings: Settings) -> bool:
    """Check the passphrase file, or make one (0600) at the first start. Whether it was made.

    Raises `SecretFileError` for one that others can read, `MissingPassphraseError` where keys were
    sealed before: a fresh passphrase could not open them.
    """
    if settings.hsm.share_directory is not None:
        return False  # the HSM's own process joins the shares, or says what is wrong with them
    path = settings.passphrase_file
    if path.exists():
        check_secret_file(path)  # not read: the launcher is not to have it in its memory
        return False
    if settings.shares_beside.exists():
        return False
    if settings.state_dir.exists():
        raise MissingPassphraseError(str(path), str(settings.data_dir))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _drawn() as passphrase:
            write_private(path, passphrase.buffer)
    except OSError as error:
        raise DataDirectoryError(str(path.parent), error.strerror or str(error)) from None
    return True


def _drawn() -> Secret:
    """A line as `secrets.token_urlsafe` makes it, of which this process keeps no copy."""
    with Secret.taken(secrets.token_bytes(_ENTROPY_BYTES)) as entropy:
        line = Secret.taken(binascii.b2a_base64(entropy.buffer))
    for at, letter in enumerate(line.buffer):
        line.buffer[at] = _URLSAFE.get(letter, letter)
    line.buffer[-2:] = b"\n"  # for its padding and its newline
    return line


def prepare_passphrase(settings: Settings, threshold: int, count: int) -> Path:
    """Where the next passphrase waits for the HSM: what is there already, else a new one (0600).

    Raises `SecretFileError`, `InvalidInputError`, `DataDirectoryError`.
    """
    from anya_actors.adapters.sealing.passphrase_file import next_of

    directory = settings.hsm.share_directory
    path = next_of(settings.passphrase_file if directory is None else directory)
    if path.exists():
        if directory is None:
            check_secret_file(path)
        return path
    try:
        with _drawn() as line, Secret(line.buffer[:-1]) as passphrase:
            if directory is None:
                write_private(path, line.buffer)
            else:
                # Under another name first: half of the shares must not be taken for all.
                draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
                _write_shares(passphrase, draft, threshold, count)
                draft.rename(path)
    except OSError as error:
        raise DataDirectoryError(str(path.parent), error.strerror or str(error)) from None
    return path


def write_shares(passphrase_file: Path, directory: Path, threshold: int, count: int) -> list[Path]:
    """Split the passphrase of a file into new files of mode 0600; their paths.

    Raises `PassphraseSourceError`, `InvalidInputError`, `DataDirectoryError`.
    """
    from anya_actors.adapters.sealing.passphrase_file import read_private_file

    with read_private_file(passphrase_file) as passphrase:
        return _write_shares(passphrase, directory, threshold, count)


def _write_shares(passphrase: Secret, directory: Path, threshold: int, count: int) -> list[Path]:
    from anya_actors.adapters.sealing.shamir_shares import split_passphrase
    from anya_actors.adapters.sealing.share_joining import SUFFIX

    shares = split_passphrase(passphrase, threshold, count)
    paths = [directory / f"{number}{SUFFIX}" for number in range(1, count + 1)]
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path, share in zip(paths, shares, strict=True):
            if path.exists():
                raise DataDirectoryError(str(path), "it is there already")
            write_private(path, share.encode() + b"\n")
    except OSError as error:
        raise DataDirectoryError(str(directory), error.strerror or str(error)) from None
    return paths

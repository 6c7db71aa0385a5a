"""The file that unseals the HSM, made at the first start."""

from __future__ import annotations

import secrets

from anya_actors.cli.faults import DataDirectoryError, MissingPassphraseError
from anya_actors.cli.instance import write_private
from anya_actors.config import Settings, read_secret_file

_ENTROPY_BYTES = 32


def ensure_passphrase(settings: Settings) -> bool:
    """Check the passphrase file, or make one (0600) at the first start. Whether it was made.

    Raises `SecretFileError` for one that others can read, `MissingPassphraseError` where keys were
    sealed before: a fresh passphrase could not open them.
    """
    path = settings.passphrase_file
    if path.exists():
        read_secret_file(path)
        return False
    if settings.state_dir.exists():
        raise MissingPassphraseError(str(path), str(settings.data_dir))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, secrets.token_urlsafe(_ENTROPY_BYTES).encode() + b"\n")
    except OSError as error:
        raise DataDirectoryError(str(path.parent), error.strerror or str(error)) from None
    return True

"""Secrets that people keep in files of their own."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from anya_actors.domain.machine import AnyaError


class SecretFileError(AnyaError):
    """A file that should hold a secret cannot be used."""

    code = "secret-file"
    message = "the secret file {} cannot be used: {}"
    remedy = "Let it hold the secret on one line, readable by its owner alone (chmod 600)."

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)


class Secret:
    """A value that must not be seen: no repr, no str and no pickle gives it away."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself. Call where it is used, and keep no copy."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(hidden)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret must not leave its process; send the path of its file instead")


def read_secret_file(path: Path) -> Secret:
    """The first line of a file that only its owner can read; raises `SecretFileError`."""
    check_secret_file(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SecretFileError(str(path), error.__class__.__name__) from None
    line = text.split("\n", 1)[0].strip()
    if not line:
        raise SecretFileError(str(path), "it is empty")
    return Secret(line)


def check_secret_file(path: Path) -> None:
    """Return if only its owner can read the file, without reading it; raises `SecretFileError`."""
    try:
        facts = path.stat()
    except OSError as error:
        raise SecretFileError(str(path), error.__class__.__name__) from None
    if facts.st_mode & 0o077:
        raise SecretFileError(str(path), f"others may read it (mode {facts.st_mode & 0o777:o})")
    if facts.st_size == 0:
        raise SecretFileError(str(path), "it is empty")

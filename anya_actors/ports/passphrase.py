"""Where the passphrase that unseals the HSM comes from."""

from __future__ import annotations

from typing import Protocol

from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import AnyaError


class PassphraseSourceError(AnyaError):
    """The passphrase cannot be had, or others could have read it."""

    code = "passphrase-source"
    message = "the HSM's passphrase cannot be read from {}: {}"
    remedy = "Write it to a file of mode 0600 that the settings name, or bring enough shares together."

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(source, reason)


class PassphraseSource(Protocol):
    """Gives the passphrase to the HSM's own process; it never crosses to another."""

    async def read(self) -> Secret:
        """The passphrase; the caller wipes it. Raises `PassphraseSourceError`."""

    async def read_next(self) -> Secret:
        """The passphrase that is to take its place; the caller wipes it. Raises `PassphraseSourceError`."""

    async def adopt_next(self) -> None:
        """From now on `read` gives what `read_next` gave. Raises `PassphraseSourceError`."""

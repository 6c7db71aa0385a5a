"""A passphrase that is given, not read."""

from __future__ import annotations

from anya_actors.domain.keys.secret import Secret
from anya_actors.ports.passphrase import PassphraseSourceError


class GivenPassphrase:
    """A `PassphraseSource` for tests. It outlives the HSM that reads it, as a file does."""

    def __init__(self, passphrase: bytes, next_passphrase: bytes | None = None) -> None:
        self.passphrase = passphrase
        self.next_passphrase = next_passphrase

    async def read(self) -> Secret:
        return Secret(self.passphrase)

    async def read_next(self) -> Secret:
        return Secret(self._next())

    async def adopt_next(self) -> None:
        self.passphrase, self.next_passphrase = self._next(), None

    def _next(self) -> bytes:
        if self.next_passphrase is None:
            raise PassphraseSourceError("memory", "none was given")
        return self.next_passphrase

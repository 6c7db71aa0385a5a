"""A passphrase that is given, not read."""

from __future__ import annotations

from anya_actors.domain.keys.secret import Secret


class GivenPassphrase:
    """A `PassphraseSource` for tests."""

    def __init__(self, passphrase: bytes) -> None:
        self._passphrase = passphrase

    async def read(self) -> Secret:
        return Secret(self._passphrase)

"""Argon2id (RFC 9106) on OpenSSL, through cryptography."""

from __future__ import annotations

import asyncio

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from anya_actors.domain.hsm.root import KdfParameters
from anya_actors.domain.keys.secret import Secret


class Argon2Kdf:
    """Derives in a thread: at the default cost it takes about a second and 256 MiB."""

    async def derive(self, passphrase: Secret, salt: bytes, parameters: KdfParameters) -> Secret:
        """32 bytes of key."""
        return await asyncio.to_thread(derive, passphrase, salt, parameters)


def derive(passphrase: Secret, salt: bytes, parameters: KdfParameters) -> Secret:
    """`Argon2Kdf.derive`, blocking."""
    kdf = Argon2id(
        salt=salt,
        length=32,
        iterations=parameters.iterations,
        lanes=parameters.lanes,
        memory_cost=parameters.memory_kib,
    )
    key = bytearray(32)
    kdf.derive_into(passphrase.buffer, key)  # type: ignore[arg-type]  # its stub is narrower than it
    return Secret(key)

"""Argon2id (RFC 9106) on OpenSSL, through cryptography."""

from __future__ import annotations

import asyncio
import ctypes
from typing import Final

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from anya_actors.domain.hsm.root import KdfParameters
from anya_actors.domain.keys.secret import Secret

_LEAST: Final = KdfParameters(memory_kib=8, iterations=1, lanes=1)
_SMALL_SIZES: Final = range(24, 1032, 16)  # of the C allocator, one each
_BLOCKS: Final = 32

_libc: Final = ctypes.CDLL(None)
_libc.malloc.restype = ctypes.c_void_p
_libc.malloc.argtypes = (ctypes.c_size_t,)
_libc.free.argtypes = (ctypes.c_void_p,)


class Argon2Kdf:
    """Derives in a thread: at the default cost it takes about a second and 256 MiB."""

    async def derive(self, passphrase: Secret, salt: bytes, parameters: KdfParameters) -> Secret:
        """32 bytes of key."""
        return await asyncio.to_thread(_derive_and_cover, passphrase, salt, parameters)


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


def _derive_and_cover(passphrase: Secret, salt: bytes, parameters: KdfParameters) -> Secret:
    """`derive`, and once more from nothing: OpenSSL leaves the passphrase where it reads the next one."""
    key = derive(passphrase, salt, parameters)
    derive(Secret(bytearray(len(passphrase))), salt, _LEAST).wipe()
    _zero_free_blocks()
    return key


def _zero_free_blocks() -> None:
    """Take small blocks that this thread has free, zero them and give them back (10 ms).

    Where something else took a block meanwhile, the second derivation reads into another one than the first.
    """
    blocks = [(_libc.malloc(size), size) for size in _SMALL_SIZES for _ in range(_BLOCKS)]
    for place, size in blocks:
        if place:
            ctypes.memset(place, 0, size)
    for place, _ in blocks:
        _libc.free(place)

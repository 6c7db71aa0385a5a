"""Private bytes while they are in memory."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, NoReturn

from anya_actors.domain.machine import AnyaError

_HEADER: Final = bytes.__basicsize__ - 1
"""CPython keeps the bytes of a `bytes` object behind so many others, and a zero behind them."""
HANDLE_PREFIX: Final = b"pkcs11\x00"
"""What stands before a token's id for a key, in the place of the private key itself."""


class SecretCopyError(AnyaError):
    """An attempt to pickle or copy a secret, which would leave it where it cannot be wiped."""

    code = "secret-copy"
    message = "a secret does not leave the memory it was put in"
    remedy = "Seal it to its recipient's public key instead."


class Secret:
    """Private bytes in one mutable buffer, zeroed by `wipe` or at the end of a ``with`` block.

    Best effort: what libraries copy on their own is theirs to zero. It shows nothing of itself, cannot
    be pickled or copied, and is not comparable.
    """

    __slots__ = ("buffer",)

    def __init__(self, data: bytes | bytearray) -> None:
        self.buffer = data if isinstance(data, bytearray) else bytearray(data)

    def __repr__(self) -> str:
        return "Secret(...)"

    def __len__(self) -> int:
        return len(self.buffer)

    def __enter__(self) -> Secret:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wipe()

    def __eq__(self, other: object) -> bool:
        # Comparing in the ordinary way would tell by its time how many bytes agree.
        return self is other

    __hash__ = object.__hash__

    def __reduce__(self) -> NoReturn:
        raise SecretCopyError

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise SecretCopyError

    __copy__ = __reduce__

    @classmethod
    def taken(cls, data: bytes) -> Secret:
        """A secret out of what a library returned to the caller alone, which is zeroed."""
        secret = cls(data)
        erase(data)
        return secret

    @contextmanager
    def revealed(self) -> Iterator[bytes]:
        """An immutable copy for a library that takes no other form and keeps none; zeroed at the end."""
        copy = bytes(self.buffer)
        try:
            yield copy
        finally:
            erase(copy)

    def reveal(self) -> bytes:
        """An immutable copy that is not zeroed. Prefer `revealed`."""
        return bytes(self.buffer)

    def wipe(self) -> None:
        """Zero the buffer in place and leave it empty of meaning."""
        self.buffer[:] = bytes(len(self.buffer))


def erase(data: bytes) -> None:
    """Zero ``bytes`` in place. Nobody else may hold them: Python believes that they never change."""
    if len(data) > 1:  # empty ones and single bytes are shared by the whole process
        ctypes.memset(id(data) + _HEADER, 0, len(data))

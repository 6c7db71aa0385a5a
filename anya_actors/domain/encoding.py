"""How states, commands and events become bytes and come back, across released versions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar, cast

import msgspec

from anya_actors.domain.machine import AnyaError

T = TypeVar("T")

Upgrade = Callable[[Any], Any]


class UnreadableRecordError(AnyaError):
    """Stored bytes that this version cannot decode."""

    code = "unreadable-record"
    message = "a stored {} cannot be read: {}"
    remedy = "It was written by a newer version, or damaged: start that version, or restore a backup."

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)


class Schema(Generic[T]):
    """The encoding of one type: MessagePack of ``[version, value]``.

    ``upgrades[n]`` turns the plain decoded value of version ``n`` into that of version ``n + 1``;
    ``version`` is the newest. A value of a newer version than ours is refused, never guessed.

    ``type_`` may be a union of tagged structs (commands, events).
    """

    def __init__(
        self, name: str, type_: Any, *, version: int = 1, upgrades: Mapping[int, Upgrade] | None = None
    ) -> None:
        self.name = name
        self.version = version
        self._type = type_
        self._upgrades = dict(upgrades or {})
        if sorted(self._upgrades) != list(range(1, version)):
            raise TypeError(f"{name}: version {version} needs one upgrade for each version before it")
        self._encoder = msgspec.msgpack.Encoder()
        self._envelope = msgspec.msgpack.Decoder(tuple[int, msgspec.Raw])
        self._decoder = msgspec.msgpack.Decoder(type_)

    def encode(self, value: T) -> bytes:
        return self._encoder.encode((self.version, value))

    def decode(self, data: bytes) -> T:
        """Read ``data``, upgrading it from an older version; raise `UnreadableRecordError`."""
        try:
            version, raw = self._envelope.decode(data)
            if version == self.version:
                return cast(T, self._decoder.decode(raw))
            if not 1 <= version < self.version:
                raise UnreadableRecordError(self.name, f"version {version} is not known here")
            value = msgspec.msgpack.decode(raw)
            return cast(T, msgspec.convert(self._upgraded(version, value), self._type))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise UnreadableRecordError(self.name, str(error)) from error

    def _upgraded(self, version: int, value: Any) -> Any:
        try:
            for step in range(version, self.version):
                value = self._upgrades[step](value)
        except Exception as error:
            # An upgrade trusts the shape of its version; what has another shape is damaged.
            reason = f"version {version} cannot be upgraded: {type(error).__name__}"
            raise UnreadableRecordError(self.name, reason) from error
        return value

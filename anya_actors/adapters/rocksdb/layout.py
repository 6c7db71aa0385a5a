"""How one actor's records lie in its RocksDB: one key space, the first byte names the kind."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from anya_actors.ports.state_store import Applied, Commit, Owed, Stored

META = b"m"
STATE = b"k"
REPLY = b"a"
OWED = b"o"
EVENT = b"e"

_META = struct.Struct(">QQQ")
_NUMBER = struct.Struct(">Q")
_REPLY = struct.Struct(">qI")
_LENGTH = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Meta:
    """The epoch of the last activation and the last numbers given."""

    epoch: int = 0
    last_command: int = 0
    last_event: int = 0

    def encode(self) -> bytes:
        return _META.pack(self.epoch, self.last_command, self.last_event)

    @classmethod
    def decode(cls, data: bytes) -> Meta:
        return cls(*_META.unpack(data))


def encode_text(text: str) -> bytes:
    """UTF-8; it sorts as the text does, and takes every ``str``."""
    return text.encode("utf-8", "surrogatepass")


def decode_text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def state_key(key: str) -> bytes:
    return STATE + encode_text(key)


def reply_key(message_id: str) -> bytes:
    return REPLY + encode_text(message_id)


def owed_key(sequence: int) -> bytes:
    return OWED + _NUMBER.pack(sequence)


def event_key(sequence: int) -> bytes:
    return EVENT + _NUMBER.pack(sequence)


def sequence_of(key: bytes) -> int:
    """The number in an `owed_key` or `event_key`."""
    return int(_NUMBER.unpack_from(key, 1)[0])


def encode_stored(stored: Stored) -> bytes:
    return _NUMBER.pack(stored.version) + stored.state


def decode_stored(data: bytes) -> Stored:
    return Stored(version_of(data), data[_NUMBER.size :])


def version_of(stored: bytes) -> int:
    return int(_NUMBER.unpack_from(stored)[0])


def encode_reply(commit: Commit) -> bytes:
    head = _REPLY.pack(commit.at_unix_ms, len(commit.fingerprint))
    return head + commit.fingerprint + commit.reply


def decode_reply(data: bytes) -> tuple[int, Applied]:
    """When it was given, in ms since the Unix epoch, and the reply."""
    at_unix_ms, length = _REPLY.unpack_from(data)
    place = _REPLY.size + length
    return at_unix_ms, Applied(data[_REPLY.size : place], data[place:])


def encode_owed(key: str, command: bytes) -> bytes:
    name = encode_text(key)
    return _LENGTH.pack(len(name)) + name + command


def decode_owed(key: bytes, data: bytes) -> Owed:
    (length,) = _LENGTH.unpack_from(data)
    place = _LENGTH.size + length
    return Owed(sequence_of(key), decode_text(data[_LENGTH.size : place]), data[place:])

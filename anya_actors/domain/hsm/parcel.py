"""What the HSM hands to a session's process, sealed to that process's own key."""

from __future__ import annotations

from typing import Any, NoReturn

import msgspec

from anya_actors.domain.hsm.policy import NO_POLICY, KeyPolicy
from anya_actors.domain.hsm.views import SessionView
from anya_actors.domain.keys.secret import Secret, SecretCopyError, erase
from anya_actors.domain.machine import InvalidInputError


class ParcelKey(msgspec.Struct, frozen=True):
    """One key in the clear. It shows no secret, and exists only between decoding and loading."""

    name: str
    key_type: str
    version: int
    operations: tuple[str, ...]
    public_key: bytes
    private_key: bytes
    policy: KeyPolicy = NO_POLICY
    encrypts: bool = True  # False for a version that only decrypts and verifies

    def __repr__(self) -> str:
        return f"ParcelKey({self.name!r}, version={self.version})"

    def __reduce__(self) -> NoReturn:
        raise SecretCopyError


class KeyParcel(msgspec.Struct, frozen=True):
    """A session and its keys."""

    session: SessionView
    keys: tuple[ParcelKey, ...]

    def wipe(self) -> None:
        """Zero the private halves, which nobody else holds."""
        for each in self.keys:
            erase(each.private_key)

    def __reduce__(self) -> NoReturn:
        raise SecretCopyError


def pack_parcel(parcel: KeyParcel) -> Secret:
    """The parcel as bytes, to be sealed and wiped."""
    blank = tuple(
        msgspec.structs.replace(each, private_key=bytes(len(each.private_key))) for each in parcel.keys
    )
    encoder = msgspec.msgpack.Encoder()
    # As long as needed from the start: a buffer that grows leaves its earlier places as they were.
    buffer = bytearray(len(encoder.encode(KeyParcel(parcel.session, blank))))
    encoder.encode_into(parcel, buffer)
    return Secret(buffer)


def unpack_parcel(data: Secret) -> KeyParcel:
    """Read a parcel that came out of its box; raise `InvalidInputError`, showing none of it."""
    decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(KeyParcel)
    try:
        parcel: KeyParcel = decoder.decode(data.buffer)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise InvalidInputError("box", "what it holds is no parcel of keys") from None
    return parcel

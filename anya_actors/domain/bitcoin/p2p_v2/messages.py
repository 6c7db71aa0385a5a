"""Messages inside packets: a type of one byte, or of twelve (BIP324, application layer)."""

from __future__ import annotations

from typing import Final

from anya_actors.domain.bitcoin.p2p_v2.ciphers import TransportError

# In the order of their numbers, from 1.
# fmt: off
_TYPES: Final = (
    "addr", "block", "blocktxn", "cmpctblock", "feefilter", "filteradd", "filterclear", "filterload",
    "getblocks", "getblocktxn", "getdata", "getheaders", "headers", "inv", "mempool", "merkleblock",
    "notfound", "ping", "pong", "sendcmpct", "tx", "getcfilters", "cfilter", "getcfheaders", "cfheaders",
    "getcfcheckpt", "cfcheckpt", "addrv2",
)
# fmt: on
SHORT_IDS: Final = {name: number for number, name in enumerate(_TYPES, 1)}
_LONG_BYTES: Final = 12


def encode_message(message_type: str, payload: bytes) -> bytes:
    """The contents of the packet for a message; raises `TransportError` for a type nobody can write."""
    short = SHORT_IDS.get(message_type)
    if short is not None:
        return bytes((short,)) + payload
    if not _is_type(message_type):
        raise TransportError("a message type", f"{message_type!r} is not 1 to 12 printable characters")
    return b"\x00" + message_type.encode("ascii").ljust(_LONG_BYTES, b"\x00") + payload


def decode_message(contents: bytes) -> tuple[str, bytes]:
    """Type and payload of a packet's contents; raises `TransportError`."""
    if not contents:
        raise TransportError("a message", "it has no type")
    if contents[0]:
        if contents[0] > len(_TYPES):
            raise TransportError("a message", f"type {contents[0]} is unknown")
        return _TYPES[contents[0] - 1], contents[1:]
    field = contents[1 : 1 + _LONG_BYTES]
    name = field.rstrip(b"\x00").decode("latin-1")
    if len(field) < _LONG_BYTES or not _is_type(name):
        raise TransportError("a message", "its type is cut off or not printable")
    return name, contents[1 + _LONG_BYTES :]


def _is_type(name: str) -> bool:
    return 0 < len(name) <= _LONG_BYTES and all(" " <= character <= "~" for character in name)

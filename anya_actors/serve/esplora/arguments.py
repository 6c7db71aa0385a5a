"""Parts of a path, read as electrs reads them."""

from __future__ import annotations

import re
from typing import Final, TypeVar

from anya_actors.domain.bitcoin.address import parse_address
from anya_actors.domain.bitcoin.coin_index import scripthash
from anya_actors.domain.bitcoin.errors import AddressError, WrongNetworkError
from anya_actors.domain.bitcoin.hashes import Hash256, HashError
from anya_actors.serve.esplora.replies import bad_request
from anya_actors.serve.esplora.shapes import NETWORK

H = TypeVar("H", bound=Hash256)

_NUMBER: Final = re.compile(r"\+?[0-9]{1,20}", re.ASCII)
_HEX64: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)


def hash_of(kind: type[H], part: str) -> H:
    """A txid or block hash; raises `EsploraError`."""
    try:
        return kind.from_hex(part)
    except HashError:
        raise bad_request("Invalid hex string") from None


def number_of(part: str, limit: int = 1 << 64) -> int:
    """A whole number below ``limit``; raises `EsploraError`."""
    number = number_or_none(part, limit)
    if number is None:
        raise bad_request("Invalid number")
    return number


def number_or_none(part: str, limit: int = 1 << 64) -> int | None:
    if _NUMBER.fullmatch(part) is None or int(part) >= limit:
        return None
    return int(part)


def script_name(kind: str, part: str) -> bytes:
    """The scripthash that an ``address`` or ``scripthash`` names; raises `EsploraError`."""
    if kind == "scripthash":
        # Not reversed, unlike Electrum's.
        if _HEX64.fullmatch(part) is None:
            raise bad_request("Invalid scripthash")
        return bytes.fromhex(part)
    try:
        return scripthash(parse_address(part, NETWORK))
    except WrongNetworkError:
        raise bad_request("Address on invalid network") from None
    except AddressError as error:
        raise bad_request(str(error)) from None

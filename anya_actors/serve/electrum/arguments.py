"""Arguments of Electrum's methods, refused in ElectrumX's words."""

from __future__ import annotations

import re
from typing import Any, Final

from anya_actors.domain.bitcoin.hashes import HashError, Txid
from anya_actors.serve.electrum.wire import ElectrumCode, ElectrumError

_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2})*", re.ASCII)
_SHOWN: Final = 100


def bad_request(text: str) -> ElectrumError:
    return ElectrumError(ElectrumCode.BAD_REQUEST, text)


def shown(value: Any) -> str:
    """A value in an error text, cut short."""
    return str(value)[:_SHOWN]


def whole_number(value: Any) -> int:
    """A non-negative integer; raises `ElectrumError`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise bad_request(f"{shown(value)} should be a non-negative integer")
    return value


def flag(value: Any, name: str) -> bool:
    """True or false; raises `ElectrumError`."""
    if not isinstance(value, bool) and value not in (0, 1):
        raise bad_request(f'"{name}" must be a boolean')
    return bool(value)


def txid_of(value: Any) -> Txid:
    """A transaction's hash; raises `ElectrumError`."""
    try:
        return Txid.from_hex(value)
    except (HashError, TypeError):
        raise bad_request(f"{shown(value)} should be a transaction hash") from None


def script_name(value: Any) -> bytes:
    """A scripthash in natural order, from the reversed text of the protocol; raises `ElectrumError`."""
    if not isinstance(value, str) or len(value) != 64 or _HEX.fullmatch(value) is None:
        raise bad_request(f"{shown(value)} is not a valid script hash")
    return bytes.fromhex(value)[::-1]


def hex_text(value: Any) -> str:
    """Hexadecimal digits; raises `ElectrumError`."""
    if not isinstance(value, str) or _HEX.fullmatch(value) is None:
        raise bad_request(f"{shown(value)} should be a hex string")
    return value

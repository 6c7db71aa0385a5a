"""Typed access to the arguments of a call, refused as Core refuses them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from decimal import Decimal
from typing import Any, Final, TypeVar

from anya_actors.domain.bitcoin.address import parse_address
from anya_actors.domain.bitcoin.amount import parse_btc
from anya_actors.domain.bitcoin.errors import AddressError, AmountError, MalformedTransactionError
from anya_actors.domain.bitcoin.hashes import Hash256
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.transaction import (
    Transaction,
    parse_bare_transaction,
    parse_transaction,
)
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError
from anya_actors.serve.bitcoin_rpc.signature import json_type, wrong_type

H = TypeVar("H", bound=Hash256)

_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2})*", re.ASCII)
INT32: Final = range(-(1 << 31), 1 << 31)
INT64: Final = range(-(1 << 63), 1 << 63)
_JSON_TYPES: Final = {str: "string", bool: "bool", list: "array", dict: "object"}
_KEPT: Final = 100
"""So much of a caller's text is given back to him at most."""


class Arguments:
    """The arguments of one call by name. A missing one gives the default."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def _typed(self, name: str, kind: type, default: Any) -> Any:
        value = self._values.get(name)
        return default if value is None else require(value, kind)

    def has(self, name: str) -> bool:
        return self._values.get(name) is not None

    def raw(self, name: str) -> Any:
        return self._values.get(name)

    def text(self, name: str, default: str = "") -> str:
        return str(self._typed(name, str, default))

    def flag(self, name: str, default: bool) -> bool:
        return bool(self._typed(name, bool, default))

    def items(self, name: str) -> list[Any]:
        return list(self._typed(name, list, []))

    def options(self, name: str) -> Arguments:
        """The members of an object."""
        return Arguments(self._typed(name, dict, {}))

    def members(self) -> list[str]:
        """The names given."""
        return list(self._values)

    def integer(self, name: str, default: int = 0, within: range = INT32) -> int:
        value = self._values.get(name)
        return default if value is None else parse_integer(value, within)

    def verbosity(self, name: str, default: int) -> int:
        """A number, or the flag that older clients send in its place."""
        value = self._values.get(name)
        return int(value) if isinstance(value, bool) else self.integer(name, default)

    def amount_sat(self, name: str, default: int = 0) -> int:
        """Bitcoins, as a number or a text, in satoshis."""
        value = self._values.get(name)
        return default if value is None else parse_amount_argument(value)

    def hash(self, name: str, kind: type[H]) -> H:
        return parse_hash(self.text(name), name, kind)

    def transaction(self, name: str, *, witness: bool | None = None) -> Transaction:
        """A transaction. ``witness`` says whether it is in BIP144's encoding; None: found out."""
        found = _read_transaction(self.text(name), witness)
        if found is None:
            raise RpcError(RpcCode.DESERIALIZATION_ERROR, "TX decode failed")
        return found

    def script_of_address(self, name: str, network: Network, text: str) -> bytes:
        """The output script of an address; ``text`` is what Core says of a bad one."""
        return _checked(lambda: parse_address(self.text(name), network), AddressError, text)


def require(value: Any, kind: type) -> Any:
    """The value, if it has this JSON type; raises `RpcError`."""
    if not isinstance(value, kind):
        raise RpcError(RpcCode.TYPE_ERROR, wrong_type(value, _JSON_TYPES[kind]))
    return value


def parse_integer(value: Any, within: range = INT32) -> int:
    """A whole number; raises `RpcError`."""
    if json_type(value) != "number":
        raise RpcError(RpcCode.TYPE_ERROR, wrong_type(value, "number"))
    if isinstance(value, Decimal) or value not in within:
        raise RpcError(RpcCode.MISC_ERROR, "JSON integer out of range")
    return int(value)


def parse_amount_argument(value: Any) -> int:
    """Bitcoins, as a number or a text, in satoshis; raises `RpcError`."""
    if json_type(value) not in ("number", "string"):
        raise RpcError(RpcCode.TYPE_ERROR, "Amount is not a number or string")
    text = str(value)
    try:
        amount_sat = parse_btc(text.removeprefix("-"))
    except AmountError as error:
        out = "out of range" in str(error)
        raise RpcError(RpcCode.TYPE_ERROR, "Amount out of range" if out else "Invalid amount") from error
    if amount_sat and text.startswith("-"):
        raise RpcError(RpcCode.TYPE_ERROR, "Amount out of range")
    return amount_sat


def _checked(read: Callable[[], bytes], refused: type[Exception], text: str) -> bytes:
    try:
        return read()
    except refused as error:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, text) from error


def parse_hash(text: Any, name: str, kind: type[H]) -> H:
    """A 32-byte hash; raises `RpcError` with Core's words."""
    require(text, str)
    if len(text) != 64:
        words = f"{name} must be of length 64 (not {len(text)}, for '{text[:_KEPT]}')"
        raise RpcError(RpcCode.INVALID_PARAMETER, words)
    if not is_hex(text):
        raise RpcError(RpcCode.INVALID_PARAMETER, f"{name} must be hexadecimal string (not '{text}')")
    return kind.from_hex(text)


def parse_hex(text: Any, name: str) -> bytes:
    """Bytes in hexadecimal; raises `RpcError` with Core's words."""
    require(text, str)
    if not text or not is_hex(text):
        words = f"{name} must be hexadecimal string (not '{text[:_KEPT]}')"
        raise RpcError(RpcCode.INVALID_PARAMETER, words)
    return bytes.fromhex(text)


def parse_transaction_argument(text: str) -> Transaction:
    """A transaction in hexadecimal; raises `RpcError` with Core's words."""
    found = _read_transaction(text, None)
    if found is None:
        words = "TX decode failed. Make sure the tx has at least one input."
        raise RpcError(RpcCode.DESERIALIZATION_ERROR, words)
    return found


def _read_transaction(text: str, witness: bool | None) -> Transaction | None:
    """With ``witness`` None the encoding of BIP144 is tried first, as in Core."""
    data = bytes.fromhex(text) if is_hex(text) else b""
    readers = ((True, parse_transaction), (False, parse_bare_transaction))
    for is_extended, read in readers:
        if witness in (None, is_extended):
            with suppress(MalformedTransactionError):
                return read(data)
    return None


def is_hex(text: str) -> bool:
    """Whether it is whole bytes in hexadecimal."""
    return _HEX.fullmatch(text) is not None

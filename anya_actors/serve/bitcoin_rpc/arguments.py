"""Arguments of a call: found by place or by name, checked, and refused as Core refuses them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, TypeVar

from anya_actors.domain.bitcoin.address import parse_address
from anya_actors.domain.bitcoin.amount import parse_btc
from anya_actors.domain.bitcoin.errors import AddressError, AmountError, MalformedTransactionError
from anya_actors.domain.bitcoin.hashes import Hash256
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.transaction import Transaction, parse_transaction_hex
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError

H = TypeVar("H", bound=Hash256)

_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2})*", re.ASCII)
_INT32: Final = range(-(1 << 31), 1 << 31)


def json_type(value: Any) -> str:
    """The JSON name of a decoded value's type."""
    names: list[tuple[type | tuple[type, ...], str]] = [
        (bool, "bool"),
        (str, "string"),
        ((int, Decimal), "number"),
        (list, "array"),
        (dict, "object"),
    ]
    return next((name for kind, name in names if isinstance(value, kind)), "null")


@dataclass(frozen=True, slots=True)
class Signature:
    """Names of the parameters in their places; ``a|b`` is one with two names. ``required`` come first."""

    names: tuple[str, ...]
    required: int

    def bind(self, method: str, params: Any) -> Arguments:
        """Arguments by name; raises `RpcError`."""
        values = self._by_name(params) if isinstance(params, Mapping) else self._by_place(method, params)
        for name in self.names[: self.required]:
            if values.get(name.split("|")[0]) is None:
                raise RpcError(RpcCode.MISC_ERROR, self._usage(method))
        return Arguments(values)

    def _usage(self, method: str) -> str:
        words = [name.split("|")[0] for name in self.names]
        optional = [f"( {word} )" for word in words[self.required :]]
        return " ".join([method, *words[: self.required], *optional])

    def _by_place(self, method: str, params: Sequence[Any]) -> dict[str, Any]:
        if len(params) > len(self.names):
            raise RpcError(RpcCode.MISC_ERROR, self._usage(method))
        return {name.split("|")[0]: value for name, value in zip(self.names, params, strict=False)}

    def _by_name(self, params: Mapping[str, Any]) -> dict[str, Any]:
        given = dict(params)
        values: dict[str, Any] = {}
        placed = given.pop("args", [])
        if not isinstance(placed, list) or len(placed) > len(self.names):
            raise RpcError(RpcCode.INVALID_PARAMETER, "Parameter args is not a list of arguments")
        for place, name in enumerate(self.names):
            aliases = [alias for alias in name.split("|") if alias in given]
            if len(aliases) + (place < len(placed)) > 1:
                raise RpcError(RpcCode.INVALID_PARAMETER, f"Parameter {aliases[-1]} specified multiple times")
            if aliases:
                values[name.split("|")[0]] = given.pop(aliases[0])
            elif place < len(placed):
                values[name.split("|")[0]] = placed[place]
        if given:
            raise RpcError(RpcCode.INVALID_PARAMETER, f"Unknown named parameter {next(iter(given))}")
        return values


class Arguments:
    """Typed access to the arguments of one call. A missing one gives the default."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def _typed(self, name: str, kind: type | tuple[type, ...], expected: str, default: Any) -> Any:
        value = self._values.get(name)
        if value is None:
            return default
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise RpcError(
                RpcCode.TYPE_ERROR,
                f"JSON value of type {json_type(value)} is not of expected type {expected}",
            )
        return value

    def has(self, name: str) -> bool:
        return self._values.get(name) is not None

    def raw(self, name: str) -> Any:
        return self._values.get(name)

    def text(self, name: str, default: str = "") -> str:
        return str(self._typed(name, str, "string", default))

    def flag(self, name: str, default: bool) -> bool:
        return bool(self._typed(name, bool, "bool", default))

    def items(self, name: str) -> list[Any]:
        return list(self._typed(name, list, "array", []))

    def options(self, name: str) -> dict[str, Any]:
        return dict(self._typed(name, dict, "object", {}))

    def integer(self, name: str, default: int = 0) -> int:
        value = self._typed(name, (int, Decimal), "number", default)
        if isinstance(value, Decimal) or value not in _INT32:
            raise RpcError(RpcCode.TYPE_ERROR, "JSON integer out of range")
        return int(value)

    def verbosity(self, name: str, default: int) -> int:
        """A number, or the flag that older clients send in its place."""
        value = self._values.get(name)
        return int(value) if isinstance(value, bool) else self.integer(name, default)

    def amount_sat(self, name: str, default: int = 0) -> int:
        """Bitcoins, as a number or a text, in satoshis."""
        value = self._values.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
            raise RpcError(RpcCode.TYPE_ERROR, "Amount is not a number or string")
        try:
            return parse_btc(str(value))
        except AmountError as error:
            out = "out of range" in str(error)
            raise RpcError(RpcCode.TYPE_ERROR, "Amount out of range" if out else "Invalid amount") from error

    def hash(self, name: str, kind: type[H]) -> H:
        return parse_hash(self.text(name), name, kind)

    def transaction(self, name: str) -> Transaction:
        return parse_transaction_argument(self.text(name))

    def script_of_address(self, name: str, network: Network, text: str) -> bytes:
        """The output script of an address; ``text`` is what Core says of a bad one."""
        return _checked(lambda: parse_address(self.text(name), network), AddressError, text)


def _checked(read: Callable[[], bytes], refused: type[Exception], text: str) -> bytes:
    try:
        return read()
    except refused as error:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, text) from error


def parse_hash(text: str, name: str, kind: type[H]) -> H:
    """A 32-byte hash; raises `RpcError` with Core's words."""
    if len(text) != 64:
        raise RpcError(
            RpcCode.INVALID_PARAMETER, f"{name} must be of length 64 (not {len(text)}, for '{text[:100]}')"
        )
    if not is_hex(text):
        raise RpcError(RpcCode.INVALID_PARAMETER, f"{name} must be hexadecimal string (not '{text}')")
    return kind.from_hex(text)


def parse_transaction_argument(text: str) -> Transaction:
    """A transaction in hexadecimal; raises `RpcError` with Core's words."""
    try:
        return parse_transaction_hex(text)
    except MalformedTransactionError as error:
        raise RpcError(
            RpcCode.DESERIALIZATION_ERROR, "TX decode failed. Make sure the tx has at least one input."
        ) from error


def is_hex(text: str) -> bool:
    """Whether it is whole bytes in hexadecimal."""
    return _HEX.fullmatch(text) is not None

"""The parameters of a method: their names, kinds and order, and how a call's arguments meet them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any, Final

from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError

_DECLARED: Final = re.compile(r"([a-z0-9_|]+)(?::([a-z]*)(?:\{([a-z0-9_,]*)\})?)?", re.IGNORECASE | re.ASCII)
_SHOWN: Final = {"string": '"{}"', "array": "[{},...]", "object": "{{{}}}"}
_NO_VALUE: Final = object()


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


def wrong_type(value: Any, expected: str) -> str:
    """Core's words for a value of another type."""
    return f"JSON value of type {json_type(value)} is not of expected type {expected}"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. ``kind`` is a JSON type, or empty where several are taken.

    The ``members`` of an options object may also be given by name beside it.
    """

    written: str
    names: tuple[str, ...]
    kind: str
    members: tuple[str, ...]

    @classmethod
    def declared(cls, text: str) -> Parameter:
        """From ``name|alias:kind{member,member}``; kind and members may be left out."""
        found = _DECLARED.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} declares no parameter")
        written, kind, members = found.groups()
        listed = tuple(members.split(",")) if members else ()
        return cls(written, tuple(written.split("|")), kind or "", listed)

    @property
    def name(self) -> str:
        return self.names[0]

    @property
    def shown(self) -> str:
        """How the first line of a help text shows it."""
        return _SHOWN.get(self.kind, "{}").format(self.name)


@dataclass(frozen=True)
class Signature:
    """Parameters in their places, each as `Parameter.declared` reads it; ``required`` come first."""

    names: tuple[str, ...]
    required: int

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        return tuple(Parameter.declared(text) for text in self.names)

    def usage(self, method: str) -> str:
        """The first line of the method's help text."""
        shown = [parameter.shown for parameter in self.parameters]
        optional = shown[self.required :]
        return " ".join([method, *shown[: self.required], *(["(", *optional, ")"] if optional else [])])

    def bind(self, method: str, params: Any, help_text: str = "") -> dict[str, Any]:
        """Values by name; raises `RpcError`. Wrong counts are answered with the help text, as in Core."""
        values = self._placed(params) if isinstance(params, Mapping) else list(params)
        if not self.required <= len(values) <= len(self.parameters):
            raise RpcError(RpcCode.MISC_ERROR, help_text or self.usage(method))
        self._verify_types(values)
        return {parameter.name: value for parameter, value in zip(self.parameters, values, strict=False)}

    def _verify_types(self, values: Sequence[Any]) -> None:
        wrong = {}
        for place, (parameter, value) in enumerate(zip(self.parameters, values, strict=False)):
            if not parameter.kind or (value is None and place >= self.required):
                continue
            if json_type(value) != parameter.kind:
                wrong[f"Position {place + 1} ({parameter.written})"] = wrong_type(value, parameter.kind)
        if wrong:
            raise RpcError(RpcCode.TYPE_ERROR, f"Wrong type passed:\n{json.dumps(wrong, indent=4)}")

    def _placed(self, params: Mapping[str, Any]) -> list[Any]:
        """Named arguments in their places; ``args`` holds the first ones by place."""
        given = dict(params)
        placed = given.pop("args", None)
        values = [_taken(given, parameter) for parameter in self.parameters]
        if isinstance(placed, list):
            for parameter, value, _ in zip(self.parameters, values, placed, strict=False):
                if value is not _NO_VALUE:
                    text = (
                        f"Parameter {parameter.written} specified twice both as positional and named argument"
                    )
                    raise RpcError(RpcCode.INVALID_PARAMETER, text)
            values = [*placed, *values[len(placed) :]]
        if given:
            raise RpcError(RpcCode.INVALID_PARAMETER, f"Unknown named parameter {next(iter(given))}")
        while values and values[-1] is _NO_VALUE:
            values.pop()
        return [None if value is _NO_VALUE else value for value in values]


def _taken(given: dict[str, Any], parameter: Parameter) -> Any:
    """The value given for a parameter, taken out of ``given``."""
    named = next((name for name in parameter.names if name in given), None)
    members = {member: given.pop(member) for member in parameter.members if member in given}
    if named is None:
        return members or _NO_VALUE
    if members:
        text = f"Parameter {named} conflicts with parameter {next(iter(members))}"
        raise RpcError(RpcCode.INVALID_PARAMETER, text)
    return given.pop(named)

"""PKCS#11 URIs (RFC 7512), as far as they name a token and the way to it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from anya_actors.domain.machine import InvalidInputError

SCHEME: Final = "pkcs11:"
_PATH: Final = ("token", "serial")
_QUERY: Final = ("module-path", "pin-source")
# RFC 7512, 2.3: pk11-pchar and pk11-qchar, percent-encoded octets among them.
_VALUE: Final = re.compile(r"(?:[A-Za-z0-9\-._~:\[\]@!$'()*+,=/?|&]|%[0-9A-Fa-f]{2})*\Z")


@dataclass(frozen=True, slots=True)
class TokenUri:
    """A token by its label, and its serial number if it is told; its module, and the file of its PIN."""

    token: str
    module: str
    pin_file: str
    serial: str = ""


def parse_token_uri(text: str) -> TokenUri:
    """Read ``pkcs11:token=…;serial=…?module-path=…&pin-source=file:…``; raises `InvalidInputError`.

    What we do not look at is refused, not overlooked. A PIN itself (``pin-value``) is: settings are shown.
    """
    if not text.startswith(SCHEME):
        raise _wrong(f"it begins with {SCHEME}")
    path, _, query = text.removeprefix(SCHEME).partition("?")
    named = _attributes(path, ";", _PATH)
    way = _attributes(query, "&", _QUERY)
    for attribute, found in (("token", named), *((each, way) for each in _QUERY)):
        if not found.get(attribute):
            raise _wrong(f"it lacks {attribute}")
    source = way["pin-source"].removeprefix("file:")
    source = source.removeprefix("//") if source.startswith("///") else source
    for attribute, value in (("module-path", way["module-path"]), ("pin-source", source)):
        if not value.startswith("/"):
            raise _wrong(f"its {attribute} is no absolute path")
    return TokenUri(named["token"], way["module-path"], source, named.get("serial", ""))


def _attributes(text: str, separator: str, known: tuple[str, ...]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for part in text.split(separator) if text else ():
        name, equals, value = part.partition("=")
        if name not in known:
            raise _wrong(f"of attributes there are {', '.join((*_PATH, *_QUERY))}")
        if not equals or name in found or not _VALUE.match(value):
            raise _wrong(f"its {name} is not one value")
        try:
            found[name] = unquote(value, errors="strict")
        except UnicodeDecodeError:
            raise _wrong(f"its {name} is not UTF-8") from None
        if "\x00" in found[name]:
            raise _wrong(f"its {name} holds a zero")
    return found


def _wrong(reason: str) -> InvalidInputError:
    return InvalidInputError("pkcs11_uri", reason)

"""Reading key expressions (BIP380, BIP389, BIP390). The reasons are Core's words."""

from __future__ import annotations

import enum
import re
from typing import Final

import msgspec

from anya_actors.domain.bitcoin.descriptors.errors import DescriptorError
from anya_actors.domain.bitcoin.descriptors.keys import (
    HARDENED_RANGE,
    UNHARDENED,
    ConstKey,
    ExtendedKey,
    KeyExpression,
    KeyRing,
    MusigKey,
)
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.keys.curve import CurveError, Point
from anya_actors.domain.keys.extended import ExtendedKeyError, ExtendedPrivateKey, parse_extended_key
from anya_actors.domain.keys.key_origin import HARDENED, KeyOrigin, KeyPath, KeyPathError, parse_step
from anya_actors.domain.keys.private_text import PrivateKeyError, parse_wif

_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2})+", re.ASCII)


class Context(enum.Enum):
    """Where in a descriptor something stands."""

    TOP = "top"
    P2SH = "sh"
    P2WPKH = "wpkh"
    P2WSH = "wsh"
    P2TR = "tr"
    MUSIG = "musig"


class KeyParser:
    """Reads key expressions of one network, and gathers the private keys that stand in them."""

    def __init__(self, network: Network) -> None:
        self._is_mainnet = network is Network.MAINNET
        self.private_keys = KeyRing()

    def parse(self, text: str, context: Context) -> KeyExpression:
        """Read one key expression; raises `DescriptorError`."""
        if text.startswith("musig("):
            return self._parse_musig(text, context)
        pieces = text.split("]")
        if len(pieces) > 2:
            raise DescriptorError("Multiple ']' characters found for a single pubkey")
        if len(pieces) == 1:
            return self._parse_plain(text, context)
        if not pieces[0].startswith("["):
            found = pieces[0][:1] or "]"
            raise DescriptorError(
                f"Key origin start '[ character expected but not found, got '{found}' instead"
            )
        fingerprint, *steps = pieces[0][1:].split("/")
        if len(fingerprint) != 8:
            raise DescriptorError(
                f"Fingerprint is not 4 bytes ({len(fingerprint)} characters instead of 8 characters)"
            )
        if not _HEX.fullmatch(fingerprint):
            raise DescriptorError(f"Fingerprint '{fingerprint}' is not hex")
        paths, marker = _parse_paths(steps, multipath=False)
        key = self._parse_plain(pieces[1], context)
        origin = KeyOrigin(bytes.fromhex(fingerprint), paths[0])
        marker = key.marker if isinstance(key, ExtendedKey) and _has_marker(pieces[1]) else marker
        return msgspec.structs.replace(key, origin=origin, marker=marker)

    def _parse_plain(self, text: str, context: Context) -> ConstKey | ExtendedKey:
        head, *steps = text.split("/")
        if not head:
            raise DescriptorError("No key provided")
        if head[0].isspace() or head[-1].isspace():
            raise DescriptorError(f"Key '{head}' is invalid due to whitespace")
        if not steps:
            if _HEX.fullmatch(head):
                return _parse_hex(head, context)
            constant = self._parse_wif(head, context)
            if constant is not None:
                return constant
        return self._parse_extended(head, steps)

    def _parse_wif(self, text: str, context: Context) -> ConstKey | None:
        try:
            private = parse_wif(text)
        except PrivateKeyError:
            return None
        if private.is_mainnet != self._is_mainnet:
            return None
        if not private.is_compressed and context not in (Context.TOP, Context.P2SH):
            raise DescriptorError("Uncompressed keys are not allowed")
        public_key = private.public_key()
        self.private_keys.single[public_key] = private
        return ConstKey(public_key, context is Context.P2TR)

    def _parse_extended(self, head: str, steps: list[str]) -> ExtendedKey:
        try:
            key = parse_extended_key(head)
        except ExtendedKeyError:
            raise DescriptorError(f"key '{_shown(head)}' is not valid") from None
        if key.is_mainnet != self._is_mainnet:
            raise DescriptorError(f"key '{_shown(head)}' is not valid")
        steps, wildcard, range_marker = _split_range(steps)
        paths, marker = _parse_paths(steps, multipath=True)
        public = key
        if isinstance(key, ExtendedPrivateKey):
            public = key.public
            self.private_keys.extended[public] = key
        return ExtendedKey(public, paths, wildcard, None, range_marker or marker)  # type: ignore[arg-type]

    def _parse_musig(self, text: str, context: Context) -> MusigKey:
        if context is not Context.P2TR:
            raise DescriptorError("musig() is only allowed in tr() and rawtr()")
        head, *rest = text.split(")")
        if len(rest) > 1:
            raise DescriptorError("Too many ')' in musig() expression")
        if not rest:
            raise DescriptorError("Invalid musig() expression")
        try:
            members = [self.parse(part, Context.MUSIG) for part in _split_members(head[6:])]
            steps = rest[0].split("/")[1:]
            if rest[0] and not rest[0].startswith("/"):
                raise DescriptorError(f"unexpected '{rest[0][:20]}' behind the key")
            steps, wildcard, _ = _split_range(steps)
            if steps or wildcard:
                _check_derivable(members, wildcard)
            paths, _ = _parse_paths(steps, multipath=True)
        except DescriptorError as error:
            raise DescriptorError(f"musig(): {error.reason}") from None
        if any(step >= HARDENED for path in paths for step in path):
            raise DescriptorError("musig(): cannot have hardened derivation steps")
        return _checked_branches(MusigKey(tuple(members), paths, wildcard))  # type: ignore[arg-type]


def _split_members(text: str) -> list[str]:
    if not text:
        raise DescriptorError("Must contain key expressions")
    return text.split(",")


def _check_derivable(members: list[KeyExpression], wildcard: str) -> None:
    if not all(isinstance(key, ExtendedKey) for key in members):
        raise DescriptorError("derivation requires all participants to be xpubs or xprvs")
    if any(key.is_ranged for key in members):
        raise DescriptorError("Cannot have ranged participant keys if musig() also has derivation")
    if wildcard == HARDENED_RANGE:
        raise DescriptorError("Cannot have hardened child derivation")


def _checked_branches(key: MusigKey) -> MusigKey:
    lengths = {member.branches for member in key.participants} - {1}
    if lengths and len(key.paths) > 1:
        raise DescriptorError("musig(): Cannot have multipath participant keys if musig() is also multipath")
    if len(lengths) > 1:
        raise DescriptorError("musig(): Multipath derivation paths have mismatched lengths")
    return key


def _shown(text: str) -> str:
    # What may be a private key with a typing error in it does not belong into an error.
    return f"{text[:4]}…" if "prv" in text[:4] or len(text) in (51, 52) else text


def _parse_hex(text: str, context: Context) -> ConstKey:
    data = bytes.fromhex(text)
    if len(data) == 65 and data[0] in (6, 7):
        raise DescriptorError("Hybrid public keys are not allowed")
    try:
        if len(data) == 32 and context is Context.P2TR:
            return ConstKey(Point.from_x(data).serialize(), x_only=True)
        Point.parse(data)
    except CurveError:
        raise DescriptorError(f"Pubkey '{text}' is invalid") from None
    if len(data) == 65 and context not in (Context.TOP, Context.P2SH):
        raise DescriptorError("Uncompressed keys are not allowed")
    return ConstKey(data)


def _has_marker(text: str) -> bool:
    return "'" in text or "h" in "/".join(text.split("/")[1:])


def _split_range(steps: list[str]) -> tuple[list[str], str, str]:
    if steps and steps[-1] == "*":
        return steps[:-1], UNHARDENED, ""
    if steps and steps[-1] in ("*'", "*h"):
        return steps[:-1], HARDENED_RANGE, steps[-1][1]
    return steps, "", ""


def _parse_paths(steps: list[str], *, multipath: bool) -> tuple[tuple[KeyPath, ...], str]:
    marker, alternatives = "h", 1
    columns: list[list[int]] = []
    for text in steps:
        values = [text]
        if text.startswith("<") and text.endswith(">"):
            if not multipath:
                raise DescriptorError(
                    f"Key path value '{text}' specifies multipath in a section where multipath is not allowed"
                )
            if alternatives > 1:
                raise DescriptorError("Multiple multipath key path specifiers found")
            values = text[1:-1].split(";")
            if len(values) < 2:
                raise DescriptorError("Multipath key path specifiers must have at least two items")
            alternatives = len(values)
        columns.append([_step(value) for value in values])
        if len(set(columns[-1])) < len(columns[-1]):
            raise DescriptorError(
                f"Duplicated key path value {_first_repeated(columns[-1])} in multipath specifier"
            )
        if values[-1].endswith("'"):
            marker = "'"
        elif values[-1].endswith("h"):
            marker = "h"
    paths = [tuple(column[at if len(column) > 1 else 0] for column in columns) for at in range(alternatives)]
    return tuple(paths), marker


def _step(text: str) -> int:
    try:
        if text.endswith("H"):
            raise KeyPathError(text, f"Key path value '{text}' is not a valid uint32")
        return parse_step(text)
    except KeyPathError as error:
        raise DescriptorError(str(error.args[1])) from None


def _first_repeated(values: list[int]) -> int:
    seen: set[int] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return values[0]

"""What is wrong with a text that is no address, and where, in Core's words.

Up to two wrong characters of a bech32 text are found: its checksum is a BCH code, so the remainder
of each error is known beforehand (BIP173; Core, ``bech32.cpp``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from btclib.base58 import decode as base58_decode
from btclib.exceptions import BTClibTypeError, BTClibValueError

from anya_actors.domain.bitcoin.network import Network

_CHARSET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BASE58: Final = frozenset("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")
_GENERATORS: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_BECH32, _BECH32M = 1, 0x2BC830A3
_MAX_LENGTH: Final = 90
_CHECKSUM_SIZE: Final = 6
_NO_ENCODING: Final = "Invalid or unsupported Segwit (Bech32) or Base58 encoding."


@dataclass(frozen=True, slots=True)
class AddressFault:
    """``locations`` are the places of characters that are surely or probably wrong."""

    text: str
    locations: tuple[int, ...] = ()


def explain_address(text: str, network: Network) -> AddressFault:
    """The fault of a text that `parse_address` refuses for this network."""
    if not text.lower().startswith(network.bech32_prefix):
        return _explain_base58(text, network)
    fault = _explain_form(text)
    if fault is not None:
        return fault
    prefix, _, data = text.lower().rpartition("1")
    values = [_CHARSET.index(character) for character in data]
    remainder = _remainder(prefix, values)
    if remainder not in (_BECH32, _BECH32M):
        return _explain_checksum(text, prefix, values)
    return AddressFault(_explain_program(prefix, values[:-_CHECKSUM_SIZE], remainder, network))


def _explain_base58(text: str, network: Network) -> AddressFault:
    stripped = text.strip(" \f\n\r\t\v")
    if not stripped or len(stripped) > 137 or not set(stripped) <= _BASE58:
        return AddressFault(_NO_ENCODING)
    try:
        payload = bytes(base58_decode(stripped.encode()))
    except (BTClibValueError, BTClibTypeError):
        return AddressFault("Invalid checksum or length of Base58 address (P2PKH or P2SH)")
    if len(payload) > 21:
        return AddressFault("Invalid checksum or length of Base58 address (P2PKH or P2SH)")
    if payload[:1] in (bytes((network.base58_pubkey_hash,)), bytes((network.base58_script_hash,))):
        return AddressFault("Invalid length for Base58 address (P2PKH or P2SH)")
    return AddressFault("Invalid or unsupported Base58-encoded address.")


def _explain_form(text: str) -> AddressFault | None:
    """Faults of a bech32 text before its checksum is looked at."""
    if len(text) > _MAX_LENGTH:
        return AddressFault("Bech32 string too long", tuple(range(_MAX_LENGTH, len(text))))
    wrong = _wrong_characters(text)
    if wrong:
        return AddressFault("Invalid character or mixed case", wrong)
    at = text.rfind("1")
    if at < 0:
        return AddressFault("Missing separator")
    if at == 0 or at + _CHECKSUM_SIZE >= len(text):
        return AddressFault("Invalid separator position", (at,))
    for place, character in enumerate(text.lower()[at + 1 :], start=at + 1):
        if character not in _CHARSET:
            return AddressFault("Invalid Base 32 character", (place,))
    return None


def _wrong_characters(text: str) -> tuple[int, ...]:
    """Places of characters that no bech32 text has, or whose case is not that of the first letter."""
    letters = [character for character in text if character.isascii() and character.isalpha()]
    is_upper = bool(letters) and letters[0].isupper()
    return tuple(
        place
        for place, character in enumerate(text)
        if not "!" <= character <= "~" or (character.isalpha() and character.isupper() is not is_upper)
    )


def _step(check: int, value: int) -> int:
    top = check >> 25
    check = (check & 0x1FFFFFF) << 5 ^ value
    for bit, generator in enumerate(_GENERATORS):
        if top >> bit & 1:
            check ^= generator
    return check


def _remainder(prefix: str, values: Sequence[int]) -> int:
    check = 1
    for value in [*(ord(c) >> 5 for c in prefix), 0, *(ord(c) & 31 for c in prefix), *values]:
        check = _step(check, value)
    return check


def _explain_checksum(text: str, prefix: str, values: Sequence[int]) -> AddressFault:
    remainder = _remainder(prefix, values)
    best: AddressFault | None = None
    for name, constant in (("Bech32", _BECH32), ("Bech32m", _BECH32M)):
        places = _locate(remainder ^ constant, len(values))
        if places and (best is None or len(places) < len(best.locations)):
            found = tuple(sorted(len(text) - 1 - place for place in places))
            best = AddressFault(f"Invalid {name} checksum", found)
    return best or AddressFault("Invalid checksum")


def _locate(syndrome: int, length: int) -> tuple[int, ...]:
    """The one or two places, counted from the end, whose change explains the syndrome; none if none do."""
    remainders: dict[int, int] = {}
    for error in range(1, 32):
        check = error
        for place in range(length):
            remainders[check] = place
            check = _step(check, 0)
    if syndrome in remainders:
        return (remainders[syndrome],)
    for check, place in sorted(remainders.items(), key=lambda item: item[1]):
        other = remainders.get(syndrome ^ check)
        if other is not None and other != place:
            return (place, other)
    return ()


def _explain_program(prefix: str, values: Sequence[int], remainder: int, network: Network) -> str:
    """The fault of a text whose checksum is right."""
    if not values:
        return "Empty Bech32 data section"
    if prefix != network.bech32_prefix:
        expected = network.bech32_prefix
        return (
            f"Invalid or unsupported prefix for Segwit (Bech32) address (expected {expected}, got {prefix})."
        )
    version = values[0]
    if version == 0 and remainder != _BECH32:
        return "Version 0 witness address must use Bech32 checksum"
    if version != 0 and remainder != _BECH32M:
        return "Version 1+ witness address must use Bech32m checksum"
    bits = (len(values) - 1) * 5
    number = 0
    for value in values[1:]:
        number = number << 5 | value
    if bits % 8 >= 5 or number & (1 << bits % 8) - 1:
        return "Invalid padding in Bech32 data section"
    size = bits // 8
    counted = f"{size} {'byte' if size == 1 else 'bytes'}"
    if version == 0:
        return f"Invalid Bech32 v0 address program size ({counted}), per BIP141"
    if version > 16:
        return "Invalid Bech32 address witness version"
    return f"Invalid Bech32 address program size ({counted})"

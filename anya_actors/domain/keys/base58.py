"""Base58 with a checksum of four bytes, as addresses, private and extended keys are written."""

from __future__ import annotations

from typing import Final

from anya_actors.domain.bitcoin.wire import sha256d
from anya_actors.domain.machine import InvalidInputError

ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_VALUES: Final = {character: value for value, character in enumerate(ALPHABET)}


class Base58Error(InvalidInputError):
    """Text that is not base58 with a right checksum."""

    code = "invalid-base58"
    message = "{} is not valid base58: {}"
    remedy = "Check that the whole text was copied."


def base58_encode(data: bytes) -> str:
    """Base58 without a checksum."""
    number = int.from_bytes(data, "big")
    digits = []
    while number:
        number, digit = divmod(number, 58)
        digits.append(ALPHABET[digit])
    zeros = len(data) - len(data.lstrip(b"\x00"))
    return ALPHABET[0] * zeros + "".join(reversed(digits))


def base58_decode(text: str) -> bytes:
    """The bytes of base58 without a checksum; raises `Base58Error`, which quotes nothing of the text."""
    number = 0
    for character in text:
        value = _VALUES.get(character)
        if value is None:
            raise Base58Error("the text", f"{character!r} is no digit of it")
        number = number * 58 + value
    zeros = len(text) - len(text.lstrip(ALPHABET[0]))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def base58check_encode(data: bytes) -> str:
    """Base58 of the bytes and their checksum."""
    return base58_encode(data + sha256d(data)[:4])


def base58check_decode(text: str, size: int | None = None) -> bytes:
    """The bytes in front of the checksum; raises `Base58Error`, which quotes nothing of the text.

    ``size`` is how many there must be.
    """
    # Nothing that Bitcoin writes so is longer; the arithmetic above is quadratic.
    if len(text) > 128:
        raise Base58Error("the text", "it is too long")
    data = base58_decode(text)
    if len(data) < 4 or sha256d(data[:-4])[:4] != data[-4:]:
        raise Base58Error("the text", "its checksum does not match")
    if size is not None and len(data) != size + 4:
        raise Base58Error("the text", f"it holds {len(data) - 4} bytes, not {size}")
    return data[:-4]

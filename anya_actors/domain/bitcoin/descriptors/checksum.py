"""The checksum behind a descriptor's ``#`` (BIP380)."""

from __future__ import annotations

from typing import Final

from anya_actors.domain.bitcoin.descriptors.errors import DescriptorError

_INPUT: Final = (
    "0123456789()[],'/*abcdefgh@:$%{}IJKLMNOPQRSTUVWXYZ&+-.;<=>?!^_|~ijklmnopqrstuvwxyzABCDEFGH`#\"\\ "
)
_PLACES: Final = {character: place for place, character in enumerate(_INPUT)}
_OUTPUT: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATORS: Final = (0xF5DEE51989, 0xA9FDCA3312, 0x1BAB10E32D, 0x3706B1677A, 0x644D626FFD)


def _polymod(check: int, symbol: int) -> int:
    top = check >> 35
    check = (check & 0x7FFFFFFFF) << 5 ^ symbol
    for bit, generator in enumerate(_GENERATORS):
        if top >> bit & 1:
            check ^= generator
    return check


def descriptor_checksum(text: str) -> str:
    """The eight characters behind the ``#``; raises `DescriptorError`."""
    check, group, count = 1, 0, 0
    for character in text:
        place = _PLACES.get(character)
        if place is None:
            raise DescriptorError("Invalid characters in payload")
        check = _polymod(check, place & 31)
        group, count = group * 3 + (place >> 5), count + 1
        if count == 3:
            check, group, count = _polymod(check, group), 0, 0
    if count:
        check = _polymod(check, group)
    for _ in range(8):
        check = _polymod(check, 0)
    check ^= 1
    return "".join(_OUTPUT[check >> 5 * (7 - at) & 31] for at in range(8))


def with_checksum(text: str) -> str:
    return f"{text}#{descriptor_checksum(text)}"


def strip_checksum(text: str, *, required: bool = False) -> str:
    """The descriptor without its checksum, which is verified if there is one; raises `DescriptorError`."""
    body, *checksums = text.split("#")
    if len(checksums) > 1:
        raise DescriptorError("Multiple '#' symbols")
    if not checksums and required:
        raise DescriptorError("Missing checksum")
    if checksums and len(checksums[0]) != 8:
        raise DescriptorError(f"Expected 8 character checksum, not {len(checksums[0])} characters")
    computed = descriptor_checksum(body)
    if checksums and checksums[0] != computed:
        raise DescriptorError(
            f"Provided checksum '{checksums[0]}' does not match computed checksum '{computed}'"
        )
    return body

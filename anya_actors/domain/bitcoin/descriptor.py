"""Output descriptors as far as a node without keys needs them (BIP380, BIP385, BIP386)."""

from __future__ import annotations

from typing import Final

from anya_actors.domain.bitcoin.address import encode_address, parse_address
from anya_actors.domain.bitcoin.errors import AddressError
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.script import ScriptType, classify, multisig_of, public_key_of
from anya_actors.domain.machine import InvalidInputError

_INPUT: Final = (
    "0123456789()[],'/*abcdefgh@:$%{}IJKLMNOPQRSTUVWXYZ&+-.;<=>?!^_|~ijklmnopqrstuvwxyzABCDEFGH`#\"\\ "
)
_OUTPUT: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATORS: Final = (0xF5DEE51989, 0xA9FDCA3312, 0x1BAB10E32D, 0x3706B1677A, 0x644D626FFD)


class DescriptorError(InvalidInputError):
    """Text that is no descriptor, or one of a kind that this node does not read."""

    code = "invalid-descriptor"
    message = "{} is not a descriptor this node reads: {}"
    remedy = "Use addr(ADDRESS) or raw(HEX), with or without a checksum."


def _polymod(symbols: list[int]) -> int:
    check = 1
    for symbol in symbols:
        top = check >> 35
        check = (check & 0x7FFFFFFFF) << 5 ^ symbol
        for bit, generator in enumerate(_GENERATORS):
            if top >> bit & 1:
                check ^= generator
    return check


def descriptor_checksum(text: str) -> str:
    """The eight characters behind the ``#`` (BIP380); raises `DescriptorError`."""
    symbols, groups = [], []
    for character in text:
        place = _INPUT.find(character)
        if place < 0:
            raise DescriptorError(text[:100], f"it holds the character {character!r}")
        symbols.append(place & 31)
        groups.append(place >> 5)
        if len(groups) == 3:
            symbols.append(groups[0] * 9 + groups[1] * 3 + groups[2])
            groups = []
    if groups:
        symbols.append(groups[0] if len(groups) == 1 else groups[0] * 3 + groups[1])
    check = _polymod([*symbols, *[0] * 8]) ^ 1
    return "".join(_OUTPUT[check >> 5 * (7 - at) & 31] for at in range(8))


def with_checksum(text: str) -> str:
    return f"{text}#{descriptor_checksum(text)}"


def describe_script(script: bytes, network: Network, redeem: bytes | None = None) -> str:
    """The descriptor that Core infers for an output script whose keys it does not know.

    ``redeem`` is the script that a script hash stands for, where that is known.
    """
    kind = classify(script)
    if redeem is not None and kind is ScriptType.WITNESS_V0_SCRIPTHASH and multisig_of(redeem) is not None:
        inner = describe_script(redeem, network).partition("#")[0]
        return with_checksum(f"wsh({inner})")
    key, multisig = public_key_of(script), multisig_of(script)
    if key is not None:
        return with_checksum(f"pk({key.hex()})")
    if multisig is not None and len(multisig[1]) <= 3:
        keys = ",".join(key.hex() for key in multisig[1])
        return with_checksum(f"multi({multisig[0]},{keys})")
    if kind is ScriptType.WITNESS_V1_TAPROOT:
        return with_checksum(f"rawtr({script[2:].hex()})")
    address = encode_address(script, network)
    return with_checksum(f"addr({address})" if address else f"raw({script.hex()})")


def script_of_descriptor(text: str, network: Network) -> bytes:
    """The output script of an ``addr()`` or ``raw()`` descriptor; raises `DescriptorError`."""
    body, mark, checksum = text.partition("#")
    if mark and checksum != descriptor_checksum(body):
        raise DescriptorError(text[:100], f"its checksum should be {descriptor_checksum(body)}")
    try:
        if body.startswith("addr(") and body.endswith(")"):
            return parse_address(body[5:-1], network)
        if body.startswith("raw(") and body.endswith(")"):
            return bytes.fromhex(body[4:-1])
    except (AddressError, ValueError) as error:
        raise DescriptorError(text[:100], str(error)) from error
    raise DescriptorError(text[:100], "only addr() and raw() are supported")

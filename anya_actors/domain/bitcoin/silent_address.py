"""Addresses of silent payments (BIP352): two public keys that may be published once and for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from btclib import bech32
from btclib.b32 import power_of_2_base_conversion
from btclib.exceptions import BTClibTypeError, BTClibValueError

from anya_actors.domain.bitcoin.errors import AddressError, WrongNetworkError
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.keys.curve import CurveError, Point

_KEYS_BYTES: Final = 66
_RESERVED_VERSION: Final = 31
_MAX_CHARACTERS: Final = 1023
"""What BIP352 asks implementations to read, for the sake of versions to come."""
_PREFIXES: Final = {"sp": Network.MAINNET, "tsp": Network.TESTNET, "sprt": Network.REGTEST}


def _prefix(network: Network) -> str:
    return {Network.MAINNET: "sp", Network.REGTEST: "sprt"}.get(network, "tsp")


@dataclass(frozen=True)
class SilentAddress:
    """A receiver: ``scan_key`` finds his payments, ``spend_key`` (labelled or not) owns them."""

    scan_key: Point
    spend_key: Point

    def encode(self, network: Network) -> str:
        """The text, of version 0."""
        payload = self.scan_key.serialize() + self.spend_key.serialize()
        data = [0, *power_of_2_base_conversion(payload, 8, 5)]
        return str(bech32.encode(_prefix(network), data, bech32.BECH32_M_CONST).decode("ascii"))


def is_silent_address(text: str) -> bool:
    """Whether the text begins as these addresses do; it may still be wrong."""
    return text.rpartition("1")[0].lower() in _PREFIXES


def parse_silent_address(text: str, network: Network) -> SilentAddress:
    """Read an address; raises `AddressError` with the reason, or `WrongNetworkError`.

    Of a later version than 0 only what version 0 knows is read, as the BIP demands; version 31 is
    kept for a change that old senders must not survive.
    """
    if len(text) > _MAX_CHARACTERS or not text.isascii():
        raise AddressError(repr(text[:120]), "it is too long, or holds characters no address has")
    try:
        prefix, data = bech32.decode(text, bech32.BECH32_M_CONST)
        payload = bytes(power_of_2_base_conversion(data[1:], 5, 8, False))
    except (BTClibValueError, BTClibTypeError, IndexError) as error:
        raise AddressError(repr(text[:120]), str(error)) from error
    if prefix not in _PREFIXES:
        raise AddressError(text, f"{prefix!r} is not the beginning of a silent payment address")
    if prefix != _prefix(network):
        raise WrongNetworkError(text, _PREFIXES[prefix].value, network.value)
    if not data or data[0] == _RESERVED_VERSION:
        raise AddressError(text, "its version is 31, or missing")
    if len(payload) < _KEYS_BYTES or (data[0] == 0 and len(payload) != _KEYS_BYTES):
        raise AddressError(text, f"it holds {len(payload)} bytes where two keys have {_KEYS_BYTES}")
    try:
        return SilentAddress(Point.parse(payload[:33]), Point.parse(payload[33:_KEYS_BYTES]))
    except CurveError as error:
        raise AddressError(text, str(error)) from error

"""The keys by which a wallet receives silent payments, and where they stand below its BIP32 key (BIP352)."""

from __future__ import annotations

from typing import Final

import msgspec

from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.silent_address import SilentAddress
from anya_actors.domain.keys.curve import Point
from anya_actors.domain.keys.key_origin import HARDENED, KeyPath

_PURPOSE: Final = 352
_SPEND: Final = 0
_SCAN: Final = 1


class SilentKeys(msgspec.Struct, frozen=True):
    """Public halves (33 bytes) and paths of a wallet's scan key and spend key."""

    scan_path: KeyPath
    scan_key: bytes
    spend_path: KeyPath
    spend_key: bytes

    def address(self, network: Network) -> str:
        """The address that they make, without a label."""
        return SilentAddress(Point.parse(self.scan_key), Point.parse(self.spend_key)).encode(network)


def silent_paths(network: Network, account: int) -> tuple[KeyPath, KeyPath]:
    """``m/352'/coin'/account'/1'/0`` of the scan key, and the same with ``0'`` of the spend key."""
    coin = 0 if network is Network.MAINNET else 1
    above = (_PURPOSE | HARDENED, coin | HARDENED, account | HARDENED)
    return (*above, _SCAN | HARDENED, 0), (*above, _SPEND | HARDENED, 0)

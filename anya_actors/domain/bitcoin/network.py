"""The Bitcoin networks and what differs between them for addresses and rewards."""

from __future__ import annotations

import enum


class Network(enum.Enum):
    """A network, by the name that settings use."""

    MAINNET = "mainnet"
    TESTNET = "testnet"
    TESTNET4 = "testnet4"
    SIGNET = "signet"
    REGTEST = "regtest"

    @property
    def core_name(self) -> str:
        """What ``getblockchaininfo`` calls it."""
        return {"mainnet": "main", "testnet": "test"}.get(self.value, self.value)

    @property
    def bech32_prefix(self) -> str:
        """The human-readable part of its segwit addresses (BIP173; shared by the testnets)."""
        return {"mainnet": "bc", "regtest": "bcrt"}.get(self.value, "tb")

    @property
    def base58_pubkey_hash(self) -> int:
        return 0 if self is Network.MAINNET else 111

    @property
    def base58_script_hash(self) -> int:
        return 5 if self is Network.MAINNET else 196

    @property
    def halving_interval(self) -> int:
        """Blocks between two halvings of the subsidy."""
        return 150 if self is Network.REGTEST else 210_000

"""Aggregate keys as extended keys (BIP328) and as taproot outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from btclib_wallet.bip32 import derive as bip32_derive
from btclib_wallet.bip32.bip32 import BIP32KeyData

from anya_actors.domain.bitcoin.musig2 import derive, synthetic_xpub, taproot_output_key
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.keys.musig2 import MusigError, aggregate

# The first case of bip-0328/vectors.json.
KEYS = [
    bytes.fromhex("03935f972da013f80ae011890fa89b67a27b7be6ccb24d3274d18b2d4067f261a9"),
    bytes.fromhex("02f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9"),
]
XPUB = (
    "xpub661MyMwAqRbcFt6tk3uaczE1y6EvM1TqXvawXcYmFEWijEM4PDBnuCXwwXEKGEouz"
    "XE6QLLRxjatMcLLzJ5LV5Nib1BN7vJg6yp45yHHRbm"
)


def test_the_extended_key_is_that_of_the_bip() -> None:
    assert synthetic_xpub(aggregate(KEYS), Network.MAINNET) == XPUB
    assert synthetic_xpub(aggregate(KEYS), Network.REGTEST).startswith("tpub")


def test_the_extended_keys_are_those_of_the_vectors(vectors: Callable[[str], Any]) -> None:
    for case in vectors("bip328_musig2_xpub.json"):
        key = aggregate([bytes.fromhex(text) for text in case["keys"]])
        assert key.public_key.hex() == case["aggregate_pubkey"]
        assert synthetic_xpub(key, Network.MAINNET) == case["xpub"]


@pytest.mark.parametrize("path", [(), (0,), (1, 7), (0, 2**31 - 1, 3)])
def test_children_are_those_of_the_extended_key(path: tuple[int, ...]) -> None:
    text = "/".join(["m", *map(str, path)])
    other = BIP32KeyData.b58decode(bip32_derive(XPUB, text)).key
    assert derive(aggregate(KEYS), path).public_key == other


@pytest.mark.parametrize("step", [-1, 2**31, 2**32])
def test_no_hardened_child_is_derived(step: int) -> None:
    with pytest.raises(MusigError, match="hardened"):
        derive(aggregate(KEYS), (0, step))


def test_a_taproot_output_key_takes_a_whole_root_or_none() -> None:
    key = aggregate(KEYS)
    assert taproot_output_key(key) != taproot_output_key(key, bytes(32)) != key
    with pytest.raises(MusigError, match="merkle root"):
        taproot_output_key(key, bytes(31))

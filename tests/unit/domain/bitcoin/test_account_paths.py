"""Accounts of BIP44, 49, 84 and 86."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from anya_actors.domain.bitcoin.account_paths import AccountKind, account_descriptor, account_path
from anya_actors.domain.bitcoin.descriptors import DerivationError, parse_descriptor
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.keys.extended import master_key, parse_extended_key
from anya_actors.domain.keys.key_origin import KeyOrigin, format_key_path, parse_key_path
from anya_actors.domain.keys.mnemonic import seed_of

ABANDON = "abandon " * 11 + "about"


def addresses(kind: AccountKind, index: int = 0, network: Network = Network.MAINNET) -> list[str]:
    master = master_key(seed_of(ABANDON).reveal(), is_mainnet=network is Network.MAINNET)
    path = account_path(kind, network)
    account, origin = master.derive(path).public, KeyOrigin(master.public.fingerprint, path)
    parsed = parse_descriptor(account_descriptor(kind, account, origin), network, require_checksum=True)
    return [descriptor.address(index) for descriptor in parsed.descriptors]


# BIP84 and BIP86, test vectors: first receiving address of the sentence "abandon … about"; BIP49's
# own vector is on testnet.
@pytest.mark.parametrize(
    ("kind", "network", "address"),
    [
        (AccountKind.LEGACY, Network.MAINNET, "1LqBGSKuX5yYUonjxT5qGfpUsXKYYWeabA"),
        (AccountKind.NESTED_SEGWIT, Network.TESTNET, "2Mww8dCYPUpKHofjgcXcBCEGmniw9CoaiD2"),
        (AccountKind.SEGWIT, Network.MAINNET, "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu"),
        (
            AccountKind.TAPROOT,
            Network.MAINNET,
            "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr",
        ),
    ],
)
def test_the_first_addresses_are_those_of_the_bips(kind: AccountKind, network: Network, address: str) -> None:
    assert addresses(kind, network=network)[0] == address


@pytest.mark.parametrize(("name", "kind"), [("bip84", AccountKind.SEGWIT), ("bip86", AccountKind.TAPROOT)])
def test_every_section_of_the_vectors_holds(
    vectors: Callable[[str], Any], name: str, kind: AccountKind
) -> None:
    master = master_key(seed_of(ABANDON).reveal())
    for case in vectors(f"{name}.json"):
        if "path" in case:
            key = master.derive(parse_key_path(case["path"]))
            for field in ("xpub", "xprv", "xpriv"):
                if field in case:
                    parsed = parse_extended_key(case[field], slip132=True)
                    assert getattr(parsed, "public", parsed) == key.public
            if "address" in case:
                *_, branch, index = parse_key_path(case["path"])
                assert addresses(kind, index)[branch] == case["address"]


def test_the_testnets_share_their_coin_number() -> None:
    assert format_key_path(account_path(AccountKind.TAPROOT, Network.REGTEST, 2)) == "m/86h/1h/2h"
    with pytest.raises(DerivationError):
        account_path(AccountKind.TAPROOT, Network.REGTEST, -1)

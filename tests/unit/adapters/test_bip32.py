"""BIP32 private derivation against the published vectors, and against another implementation."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from btclib_wallet.bip32 import BIP32KeyData, derive
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.adapters.keys.bip32 import Bip32Key, from_extended_private_key, from_seed, generate
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.domain.keys.operations import HARDENED
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import AnyaError, InvalidInputError

VECTORS = Path(os.environ.get("ANYA_VECTORS", Path(__file__).parents[3] / ".." / "shared" / "vectors"))
# BIP32, test vector 1.
SEED = bytes.fromhex("000102030405060708090a0b0c0d0e0f")
AT_0H_1 = (
    "xpub6ASuArnXKPbfEwhqN6e3mwBcDTgzisQN1wXN9BJcM47sSikHjJf3UFHKkNAWbWMiGj7Wf5uM"
    "ash7SyYq527Hqck2AxYysAA7xmALppuCkwQ"
)


def load(node: Secret) -> Bip32Key:
    with node:
        return Bip32Key(node, None)


def path_of(text: str) -> tuple[int, ...]:
    steps = text.replace("h", "'").split("/")[1:]
    return tuple(int(step.rstrip("'")) | (HARDENED if step.endswith("'") else 0) for step in steps)


def vectors(name: str) -> Any:
    path = VECTORS / "bitcoin" / name
    if not path.exists():
        pytest.skip(f"{path} is absent")
    return json.loads(path.read_text())


def test_a_child_of_the_first_vector_is_found_by_path() -> None:
    assert load(from_seed(Secret(SEED))).extended_public_key((HARDENED, 1), testnet=False) == AT_0H_1


def test_every_bip32_vector_is_derived_from_its_seed() -> None:
    data = vectors("bip32.json")
    for case in data["valid"]:
        key = load(from_seed(Secret(bytes.fromhex(case["seed"]))))
        assert key.extended_public_key(path_of(case["path"]), testnet=False) == case["xpub"], case
        there = load(from_extended_private_key(Secret(case["xprv"].encode())))
        assert there.extended_public_key((), testnet=False) == case["xpub"]


def test_every_invalid_extended_private_key_of_bip32_is_refused_without_showing_it() -> None:
    for case in vectors("bip32.json").get("invalid", []):
        text = str(case["key"])
        with pytest.raises(InvalidInputError) as refusal:
            from_extended_private_key(Secret(text.encode()))
        assert text[4:] not in repr(refusal.value)
        assert refusal.value.__cause__ is None


@given(st.binary(min_size=16, max_size=64), st.lists(st.integers(0, 2**32 - 1), max_size=6))
def test_every_path_leads_where_another_implementation_says(seed: bytes, path: list[int]) -> None:
    key = load(from_seed(Secret(seed)))
    own = key.extended_public_key(tuple(path), testnet=False)
    assert key.extended_public_key(tuple(path), testnet=False) == own  # from the nodes that are kept
    from btclib_wallet.bip32 import rootxprv_from_seed, xpub_from_xprv

    theirs = xpub_from_xprv(derive(rootxprv_from_seed(seed), path))
    assert own == theirs
    with key.at(tuple(path)) as child:
        assert child.public_key == BIP32KeyData.b58decode(own).key


@given(st.binary(max_size=120))
def test_no_text_does_more_than_be_refused(text: bytes) -> None:
    with pytest.raises(InvalidInputError):
        from_extended_private_key(Secret(text))


def test_seeds_of_other_sizes_are_refused() -> None:
    for size in (0, 15, 65):
        with pytest.raises(InvalidInputError, match="16 to 64"):
            from_seed(Secret(bytes(size)))


def test_a_wiped_key_derives_nothing_and_shows_nothing() -> None:
    key = load(generate(SystemRandomness()))
    key.extended_public_key((1, 2, 3), testnet=False)
    key.wipe()
    for attempt in (lambda: key.extended_public_key((1,), testnet=False), lambda: key.sign(bytes(32), "x")):
        with pytest.raises(AnyaError):
            attempt()
    assert repr(key) == f"Bip32Key({key.public_key.hex()})"

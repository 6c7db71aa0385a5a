"""Private keys as bytes to be sealed: read back as they were, anything else refused, nothing kept of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.bitcoin.descriptors.key_ring_bytes import KeyRingError, read_key_ring, write_key_ring
from anya_actors.domain.bitcoin.descriptors.keys import KeyRing
from anya_actors.domain.keys.extended import master_key
from anya_actors.domain.keys.private_text import PrivateKey
from anya_actors.domain.keys.secret import Secret

SEEDS = st.binary(min_size=16, max_size=64)
SCALARS = st.integers(1, 2**250).map(lambda number: number.to_bytes(32, "big"))


def _ring(seeds: list[bytes], singles: list[tuple[bytes, bool, bool]], path: tuple[int, ...] = ()) -> KeyRing:
    ring = KeyRing()
    for place, seed in enumerate(seeds):
        key = master_key(seed, is_mainnet=bool(place % 2)).derive(path)
        ring.extended[key.public] = key
    for secret, is_compressed, is_mainnet in singles:
        single = PrivateKey(Secret(secret), is_compressed, is_mainnet)
        ring.single[single.public_key()] = single
    return ring


def _shown(ring: KeyRing) -> tuple[object, ...]:
    extended = {public: key.reveal() for public, key in ring.extended.items()}
    single = {
        public: (bytes(key.secret.buffer), key.is_compressed, key.is_mainnet)
        for public, key in ring.single.items()
    }
    return extended, single


@given(
    seeds=st.lists(SEEDS, max_size=3),
    singles=st.lists(st.tuples(SCALARS, st.booleans(), st.booleans()), max_size=3),
    path=st.lists(st.integers(0, 2**32 - 1), max_size=2).map(tuple),
)
def test_keys_are_read_back_as_they_were(
    seeds: list[bytes], singles: list[tuple[bytes, bool, bool]], path: tuple[int, ...]
) -> None:
    ring, again = _ring(seeds, singles, path), KeyRing()
    read_key_ring(write_key_ring(ring), again)
    assert _shown(again) == _shown(ring)


_SINGLES = [(bytes(31) + b"\x01", True, False), (bytes(31) + b"\x02", False, True)]
WHOLE = bytes(write_key_ring(_ring([bytes(32)], _SINGLES)).buffer)


@given(data=st.binary(max_size=300) | st.binary(max_size=300).map(lambda rest: b"\x01" + rest))
def test_other_bytes_are_refused_or_written_again_as_they_were(data: bytes) -> None:
    ring = KeyRing()
    try:
        read_key_ring(Secret(data), ring)
    except KeyRingError:
        assert not ring
    else:
        again = KeyRing()
        read_key_ring(write_key_ring(ring), again)
        assert _shown(again) == _shown(ring)


@pytest.mark.parametrize("size", range(len(WHOLE)))
def test_keys_cut_anywhere_are_refused_or_fewer(size: int) -> None:
    ring = KeyRing()
    try:
        read_key_ring(Secret(WHOLE[:size]), ring)
    except KeyRingError:
        assert not ring
    else:
        assert len(ring.extended) + len(ring.single) < 3


@given(place=st.integers(0, len(WHOLE) - 1), bit=st.integers(0, 7))
def test_a_changed_bit_never_gives_a_key_that_is_not_its_public_keys(place: int, bit: int) -> None:
    changed = bytearray(WHOLE)
    changed[place] ^= 1 << bit
    ring = KeyRing()
    try:
        read_key_ring(Secret(changed), ring)
    except KeyRingError:
        assert not ring
    else:
        assert all(key.public == public for public, key in ring.extended.items())
        assert all(key.public_key()[1:33] == public[1:33] for public, key in ring.single.items())


def test_a_wiped_ring_holds_nothing_and_its_keys_are_zero() -> None:
    ring = _ring([bytes(32)], [(bytes(31) + b"\x01", True, False)])
    held = [secret.buffer for secret in ring.secrets]
    ring.wipe()
    assert not ring
    assert not any(map(any, held))

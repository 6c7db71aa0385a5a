"""Extended keys (BIP32) with their vectors, and the texts of single private keys."""

from __future__ import annotations

import contextlib
import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.keys.base58 import (
    Base58Error,
    base58_decode,
    base58_encode,
    base58check_decode,
    base58check_encode,
)
from anya_actors.domain.keys.extended import (
    ExtendedKeyError,
    ExtendedPrivateKey,
    ExtendedPublicKey,
    master_key,
    parse_extended_key,
    parse_extended_public_key,
    read_extended_key,
)
from anya_actors.domain.keys.key_origin import HARDENED, KeyPathError, format_key_path, parse_key_path
from anya_actors.domain.keys.private_text import PrivateKeyError, format_wif, parse_wif
from anya_actors.domain.keys.secret import SecretCopyError

Vectors = Callable[[str], Any]

# BIP32, test vector 1.
SEED = bytes(range(16))
XPUB = (
    "xpub661MyMwAqRbcFtXgS5sYJABqqG9YLmC4Q1Rdap9gSE8NqtwybGhePY2gZ29ESFjqJoCu1Rupje8"
    "YtGqsefD265TMg7usUDFdp6W1EGMcet8"
)
WIF = "L4rK1yDtCWekvXuE6oXD9jCYfFNV2cWRpVuPLBcCU2z8TrisoyY1"


def test_derived_keys_are_those_of_the_bip(vectors: Vectors) -> None:
    for case in vectors("bip32.json")["valid"]:
        key = master_key(bytes.fromhex(case["seed"])).derive(parse_key_path(case["path"]))
        assert (str(key.public), key.reveal()) == (case["xpub"], case["xprv"])
        assert str(parse_extended_key(case["xpub"])) == case["xpub"]
        private = parse_extended_key(case["xprv"])
        assert isinstance(private, ExtendedPrivateKey)
        assert private.reveal() == case["xprv"]


def test_public_derivation_gives_what_private_derivation_gives() -> None:
    master = master_key(SEED)
    assert str(master.public) == XPUB
    assert master.public.derive((0, 7)) == master.derive((0, 7)).public


def test_invalid_extended_keys_are_refused(vectors: Vectors) -> None:
    for case in vectors("bip32.json")["invalid"]:
        with pytest.raises(ExtendedKeyError):
            parse_extended_key(case["key"])


def test_slip132_prefixes_are_read_where_they_are_asked_for(vectors: Vectors) -> None:
    root = vectors("bip84.json")[0]
    assert root["section"] == "root"
    with pytest.raises(ExtendedKeyError, match="version"):
        parse_extended_key(root["rootpub"])
    public = parse_extended_public_key(root["rootpub"], slip132=True)
    private = parse_extended_key(root["rootpriv"], slip132=True)
    assert isinstance(private, ExtendedPrivateKey)
    assert private.public == public


def test_a_public_key_has_no_hardened_children_and_no_depth_beyond_255() -> None:
    public = parse_extended_public_key(XPUB)
    with pytest.raises(ExtendedKeyError, match="hardened"):
        public.child(HARDENED)
    deepest = ExtendedPublicKey(public.public_key, public.chain_code, 255, b"abcd")
    with pytest.raises(ExtendedKeyError, match="deeper"):
        deepest.child(0)
    with pytest.raises(ExtendedKeyError, match="private"):
        parse_extended_public_key(master_key(SEED).reveal())


@pytest.mark.parametrize("size", [0, 15, 65])
def test_seeds_of_other_sizes_are_refused(size: int) -> None:
    with pytest.raises(ExtendedKeyError, match="16 to 64"):
        master_key(bytes(size))


def test_private_keys_show_nothing_and_are_not_copied() -> None:
    key = master_key(SEED)
    assert repr(key) == str(key) == f"ExtendedPrivateKey({key.public!r})" or XPUB in repr(key)
    assert key.secret.reveal().hex() not in repr(key)
    for copying in (pickle.dumps, copy.deepcopy):
        with pytest.raises(SecretCopyError):
            copying(key)


def test_keys_on_the_way_to_a_descendant_are_wiped() -> None:
    master = master_key(SEED)
    before = master.reveal()
    child = master.derive((HARDENED, 1, 2))
    assert master.reveal() == before
    assert any(child.secret.buffer)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("m", ()),
        ("m/0h/1", (HARDENED, 1)),
        ("84'/0H/2147483647", (84 | HARDENED, HARDENED, 2147483647)),
        ("", ()),
    ],
)
def test_paths_are_read_with_each_mark_for_hardened_steps(text: str, path: tuple[int, ...]) -> None:
    assert parse_key_path(text) == path
    assert parse_key_path(format_key_path(path)) == path


@pytest.mark.parametrize("text", ["m/", "m//1", "m/-1", "m/2147483648", "m/1hh", "m/x", "/", "m/1 "])
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(KeyPathError):
        parse_key_path(text)


def test_base58_is_that_of_core(vectors: Vectors) -> None:
    for data, text in vectors("core_base58_encode_decode.json"):
        assert base58_encode(bytes.fromhex(data)) == text
        assert base58_decode(text) == bytes.fromhex(data)


@given(st.binary(max_size=80))
def test_base58_with_checksum_comes_back(data: bytes) -> None:
    assert base58check_decode(base58check_encode(data)) == data


@given(st.text(max_size=130))
def test_any_text_is_base58_or_refused(text: str) -> None:
    with contextlib.suppress(Base58Error):
        assert base58check_encode(base58check_decode(text)) == text
    with contextlib.suppress(ExtendedKeyError):
        parse_extended_key(text)
    with contextlib.suppress(PrivateKeyError):
        parse_wif(text)


@given(st.binary(min_size=78, max_size=78))
def test_any_78_bytes_are_an_extended_key_or_refused(data: bytes) -> None:
    for version in ("0488b21e", "0488ade4"):
        with contextlib.suppress(ExtendedKeyError):
            key = read_extended_key(bytes.fromhex(version) + data[4:])
            assert base58check_decode(key.reveal() if isinstance(key, ExtendedPrivateKey) else str(key))


def test_private_keys_as_text_are_those_of_core(vectors: Vectors) -> None:
    for text, payload, facts in vectors("core_key_io_valid.json"):
        if facts["isPrivkey"]:
            key = parse_wif(text)
            assert key.secret.reveal().hex() == payload
            assert (key.is_compressed, key.is_mainnet) == (facts["isCompressed"], facts["chain"] == "main")
            assert format_wif(key) == text
        else:
            with pytest.raises(PrivateKeyError):
                parse_wif(text)
    for (text,) in vectors("core_key_io_invalid.json"):
        with pytest.raises(PrivateKeyError):
            parse_wif(text)


def test_a_private_keys_text_stands_for_its_public_key() -> None:
    key = parse_wif(WIF)
    assert key.public_key().hex() == "03a34b99f22c790c4e36b2b3c2c35a36db06226e41c692fc82b8b56ac1c540c5bd"
    assert repr(key) == "PrivateKey(...)"


@pytest.mark.parametrize("kind", [Base58Error, ExtendedKeyError, KeyPathError, PrivateKeyError])
def test_errors_survive_the_way_between_processes(kind: type[Base58Error]) -> None:
    assert str(pickle.loads(pickle.dumps(kind("a", "b")))) == str(kind("a", "b"))

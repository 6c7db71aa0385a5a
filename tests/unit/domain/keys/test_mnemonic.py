"""Mnemonic sentences (BIP39): Trezor's vectors in every language, and what is refused."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.keys.extended import master_key
from anya_actors.domain.keys.mnemonic import LANGUAGES, MnemonicError, entropy_of, mnemonic_of, seed_of

ABANDON = "abandon " * 11 + "about"


def test_sentences_and_seeds_are_those_of_the_vectors(vectors: Callable[[str], Any]) -> None:
    found = vectors("bip39_trezor.json")
    assert set(found) <= set(LANGUAGES)
    for language, cases in found.items():
        for entropy, mnemonic, seed, xprv in cases:
            assert mnemonic_of(bytes.fromhex(entropy), language) == mnemonic
            assert entropy_of(mnemonic, language).reveal().hex() == entropy
            assert seed_of(mnemonic, "TREZOR").reveal().hex() == seed
            assert master_key(bytes.fromhex(seed)).reveal() == xprv


# trezor/python-mnemonic, vectors.json, the first English case.
def test_the_first_vector_holds_without_the_file() -> None:
    assert mnemonic_of(bytes(16)) == ABANDON
    assert seed_of(ABANDON, "TREZOR").reveal().hex().startswith("c55257c360c07c72029aebc1b53c05ed")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "0 words"),
        ("abandon " * 12, "checksum"),
        ("abandon " * 13, "13 words"),
        (ABANDON.replace("about", "abut"), "word 12 is not in the english list"),
        ("zoo " * 2 + "zop " + "zoo " * 9, "word 3"),
    ],
)
def test_what_is_wrong_is_named_without_the_words(text: str, reason: str) -> None:
    with pytest.raises(MnemonicError, match=reason) as caught:
        entropy_of(text)
    assert "aband" not in str(caught.value)
    assert "zo" not in str(caught.value)


def test_spaces_and_compatible_characters_do_not_matter() -> None:
    wide = "".join(chr(ord(letter) + 0xFEE0) if letter != " " else "\u3000" for letter in ABANDON)
    assert seed_of(f"  {ABANDON.replace(' ', '   ')}\n").reveal() == seed_of(wide).reveal()


def test_languages_and_sizes_that_do_not_exist_are_refused() -> None:
    with pytest.raises(MnemonicError, match="choose one of"):
        mnemonic_of(bytes(16), "klingon")
    with pytest.raises(MnemonicError, match="17 bytes"):
        mnemonic_of(bytes(17))


@given(st.text(max_size=60))
def test_any_text_is_a_sentence_or_refused(text: str) -> None:
    with contextlib.suppress(MnemonicError):
        entropy_of(text)


@given(st.sampled_from([16, 20, 24, 28, 32]).flatmap(lambda size: st.binary(min_size=size, max_size=size)))
def test_entropy_comes_back(entropy: bytes) -> None:
    for language in LANGUAGES:
        assert entropy_of(mnemonic_of(entropy, language)).reveal() == entropy


def test_the_error_survives_the_way_between_processes() -> None:
    error = MnemonicError("the mnemonic", "word 3")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)

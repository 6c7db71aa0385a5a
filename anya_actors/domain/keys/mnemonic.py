"""Mnemonic sentences (BIP39) of 12 to 24 words, in every language of the reference word lists.

Errors name places, never words: half a sentence helps whoever reads the log.
"""

from __future__ import annotations

import hashlib
import unicodedata
from functools import lru_cache
from typing import Final

from bip39_slip39 import bip39
from bip39_slip39.exceptions import Bip39Slip39ValueError
from bip39_slip39.mnemonic import WORDLISTS

from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import InvalidInputError

WORD_COUNTS: Final = (12, 15, 18, 21, 24)
ENTROPY_BYTES: Final = (16, 20, 24, 28, 32)
LANGUAGES: Final = {
    "english": "en",
    "chinese_simplified": "zh",
    "chinese_traditional": "zh_tw",
    "czech": "cs",
    "french": "fr",
    "italian": "it",
    "japanese": "ja",
    "korean": "ko",
    "portuguese": "pt",
    "russian": "ru",
    "spanish": "es",
    "turkish": "tr",
}


class MnemonicError(InvalidInputError):
    """Words that are no BIP39 sentence."""

    code = "invalid-mnemonic"
    message = "{} is not valid: {}"
    remedy = "Check number, order and spelling of the words, and the language."


def mnemonic_of(entropy: bytes, language: str = "english") -> str:
    """The sentence of 16, 20, 24, 28 or 32 bytes of chance; raises `MnemonicError`."""
    if len(entropy) not in ENTROPY_BYTES:
        raise MnemonicError("the entropy", f"it has {len(entropy)} bytes, not 16, 20, 24, 28 or 32")
    return str(bip39.mnemonic_from_entropy(entropy, _code(language)))


def entropy_of(mnemonic: str, language: str | None = None) -> Secret:
    """The bytes that a sentence stands for; raises `MnemonicError`.

    Without a language every word list that holds all the words is tried.
    """
    words = _normal(mnemonic).split()
    if len(words) not in WORD_COUNTS:
        raise MnemonicError("the mnemonic", f"it has {len(words)} words, not 12, 15, 18, 21 or 24")
    candidates = [language] if language is not None else _languages_of(words)
    for candidate in candidates:
        _check_words(words, candidate)
        try:
            bits = bip39.entropy_from_mnemonic(" ".join(words), _code(candidate))
        except Bip39Slip39ValueError:
            continue  # its text quotes the sentence
        return Secret(int(bits, 2).to_bytes(len(bits) // 8, "big"))
    raise MnemonicError("the mnemonic", "its checksum does not match")


def seed_of(mnemonic: str, passphrase: str = "", language: str | None = None) -> Secret:
    """The 64 bytes from which the master key is made; raises `MnemonicError`.

    Any passphrase gives a seed: a wrong one gives another wallet.
    """
    entropy_of(mnemonic, language).wipe()
    sentence = " ".join(_normal(mnemonic).split()).encode()
    salt = b"mnemonic" + _normal(passphrase).encode()
    return Secret(hashlib.pbkdf2_hmac("sha512", sentence, salt, 2048))


def _normal(text: str) -> str:
    return unicodedata.normalize("NFKD", text)


def _code(language: str) -> str:
    code = LANGUAGES.get(language)
    if code is None:
        raise MnemonicError("the language", f"choose one of {', '.join(LANGUAGES)}")
    return code


@lru_cache(maxsize=len(LANGUAGES))
def _words(language: str) -> frozenset[str]:
    return frozenset(_normal(word) for word in WORDLISTS.wordlist(_code(language)))


def _languages_of(words: list[str]) -> list[str]:
    found = [language for language in LANGUAGES if _words(language).issuperset(words)]
    if not found:
        # Name the first wrong word of the language that most of them belong to.
        likely = max(LANGUAGES, key=lambda language: sum(word in _words(language) for word in words))
        _check_words(words, likely)
    return found


def _check_words(words: list[str], language: str) -> None:
    for number, word in enumerate(words, 1):
        if word not in _words(language):
            raise MnemonicError("the mnemonic", f"word {number} is not in the {language} list")

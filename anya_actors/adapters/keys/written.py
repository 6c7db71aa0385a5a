"""Private keys in the forms in which people keep them, read for an import."""

from __future__ import annotations

import hashlib
import unicodedata
from typing import Final

from anya_actors.adapters.keys import bip32
from anya_actors.domain.hsm.material import KeyMaterial
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import InvalidInputError

_WORD_COUNTS: Final = (12, 15, 18, 21, 24)
_ROUNDS: Final = 2048


def read_bip32(material: KeyMaterial) -> Secret:
    """The BIP32 node of a seed, a mnemonic or an extended private key; raises `InvalidInputError`."""
    match material.form:
        case "seed":
            with Secret(material.data) as seed:
                return bip32.from_seed(seed)
        case "mnemonic":
            with seed_of_mnemonic(material.data, material.passphrase) as seed:
                return bip32.from_seed(seed)
        case "extended-private-key":
            with Secret(material.data) as text:
                return bip32.from_extended_private_key(text)
    raise InvalidInputError("form", "a bip32 key is a seed, a mnemonic or an extended private key")


def seed_of_mnemonic(mnemonic: bytes, passphrase: bytes) -> Secret:
    """The seed (64 bytes) of a BIP39 sentence in any of its languages, its checksum verified."""
    from bip39_slip39 import bip39  # its word list is needed by imports alone
    from bip39_slip39.exceptions import Bip39Slip39Exception

    try:
        words = unicodedata.normalize("NFKD", mnemonic.decode("utf-8")).split()
        salt = unicodedata.normalize("NFKD", passphrase.decode("utf-8"))
        if len(words) not in _WORD_COUNTS:
            raise InvalidInputError("mnemonic", "it has 12, 15, 18, 21 or 24 words")
        bip39.entropy_from_mnemonic(" ".join(words))
    except (Bip39Slip39Exception, ValueError):
        # The library's error may quote a word: cut the chain.
        raise InvalidInputError("mnemonic", "a word is unknown, or the checksum is wrong") from None
    sentence, salted = " ".join(words).encode(), b"mnemonic" + salt.encode()
    return Secret(hashlib.pbkdf2_hmac("sha512", sentence, salted, _ROUNDS))

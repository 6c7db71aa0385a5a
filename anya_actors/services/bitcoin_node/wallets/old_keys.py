"""Keys of the one wallet that a node of earlier versions had, derived from one seed in its journal."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from anya_actors.domain.bitcoin.descriptors import with_checksum
from anya_actors.domain.keys.curve import ORDER
from anya_actors.domain.keys.private_text import PrivateKey, format_wif
from anya_actors.domain.keys.secret import Secret

_FUNCTIONS: Final = {"bech32": "wpkh", "bech32m": "tr"}


def old_descriptor(seed: bytes, number: int, kind: str) -> str:
    """The descriptor, private key and all, of a key that an earlier version gave out."""
    digest = hmac.digest(seed, b"anya-actors regtest key" + number.to_bytes(8, "big"), hashlib.sha512)
    private_key = int.from_bytes(digest, "big") % (ORDER - 1) + 1
    with Secret(bytearray(private_key.to_bytes(32, "big"))) as secret:
        wif = format_wif(PrivateKey(secret, is_mainnet=False))
    return with_checksum(f"{_FUNCTIONS[kind]}({wif})")

"""The one wallet that a node of earlier versions had: its keys were derived from one seed in its journal."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from anya_actors.domain.bitcoin.descriptors import with_checksum
from anya_actors.domain.keys.curve import ORDER
from anya_actors.domain.keys.private_text import PrivateKey, format_wif
from anya_actors.domain.keys.secret import Secret
from anya_actors.services.bitcoin_node.journal import KeyGiven, WalletSeeded
from anya_actors.services.bitcoin_node.wallets.records import WalletDescriptorAdded, WalletMade, WalletRecord

DEFAULT_NAME: Final = ""
OLD_RECORD: Final = WalletSeeded | KeyGiven
_FUNCTIONS: Final = {"bech32": "wpkh", "bech32m": "tr"}


def old_descriptor(seed: bytes, number: int, kind: str) -> str:
    """The descriptor, private key and all, of a key that an earlier version gave out."""
    digest = hmac.digest(seed, b"anya-actors regtest key" + number.to_bytes(8, "big"), hashlib.sha512)
    private_key = int.from_bytes(digest, "big") % (ORDER - 1) + 1
    with Secret(bytearray(private_key.to_bytes(32, "big"))) as secret:
        wif = format_wif(PrivateKey(secret, is_mainnet=False))
    return with_checksum(f"{_FUNCTIONS[kind]}({wif})")


class OldRecords:
    """Turns records of earlier versions into today's, in the journal's order."""

    def __init__(self) -> None:
        self._seed = b""
        self._keys = 0

    def today(self, record: WalletRecord | WalletSeeded | KeyGiven) -> WalletRecord:
        """The record itself if it is one of today's."""
        if isinstance(record, WalletSeeded):
            self._seed = record.seed
            return WalletMade(DEFAULT_NAME, record.seed, has_private_keys=True, made_unix_s=0)
        if isinstance(record, KeyGiven):
            text = old_descriptor(self._seed, self._keys, record.kind)
            self._keys += 1
            return WalletDescriptorAdded(DEFAULT_NAME, text, 0, 0, 0, 0, label=record.label)
        return record

"""Keys of the node's one wallet of earlier versions: derived from one seed in its journal.

For regtest, where coins are worth nothing. Today's wallets hold descriptors; they take these keys over.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
from typing import Final

from coincurve import PrivateKey, PublicKeyXOnly

from anya_actors.domain.bitcoin.descriptors import with_checksum
from anya_actors.domain.bitcoin.script import hash160, p2tr_script, p2wpkh_script
from anya_actors.domain.bitcoin.sighash import (
    Sighash,
    p2wpkh_script_code,
    segwit_v0_sighash,
    taproot_key_path_sighash,
)
from anya_actors.domain.bitcoin.transaction import Transaction, TxOutput
from anya_actors.domain.keys.curve import tagged_hash
from anya_actors.domain.keys.private_text import PrivateKey as PrivateText
from anya_actors.domain.keys.private_text import format_wif
from anya_actors.domain.keys.secret import Secret

_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class AddressKind(enum.Enum):
    """What ``getnewaddress`` can make, by Core's names."""

    BECH32 = "bech32"  # P2WPKH
    BECH32M = "bech32m"  # P2TR, key path only (BIP86)


class WalletKey:
    """One key of the wallet and the output script that it can spend."""

    def __init__(self, seed: bytes, number: int, kind: AddressKind, label: str) -> None:
        self._private = PrivateKey(_secret(seed, number))
        self.kind = kind
        self.label = label
        self.public_key: bytes = self._private.public_key.format()
        if kind is AddressKind.BECH32M:
            self._private = _taproot_tweaked(self._private)
            self.script_pubkey = p2tr_script(PublicKeyXOnly.from_secret(self._private.secret).format())
        else:
            self.script_pubkey = p2wpkh_script(hash160(self.public_key))

    def __repr__(self) -> str:
        return f"WalletKey({self.kind.value}, {self.script_pubkey.hex()})"

    def witness(self, transaction: Transaction, index: int, spent: list[TxOutput]) -> tuple[bytes, ...]:
        """The witness that lets input ``index`` spend this key's output."""
        if self.kind is AddressKind.BECH32M:
            digest = taproot_key_path_sighash(transaction, index, spent)
            return (self._private.sign_schnorr(digest, bytes(32)),)
        code = p2wpkh_script_code(hash160(self.public_key))
        digest = segwit_v0_sighash(transaction, index, code, spent[index].amount_sat)
        return self._private.sign(digest, hasher=None) + bytes((Sighash.ALL,)), self.public_key


def _taproot_tweaked(private: PrivateKey) -> PrivateKey:
    """The key whose public key is the BIP341 output key without scripts."""
    secret = int.from_bytes(private.secret, "big")
    compressed = private.public_key.format()
    if compressed[0] == 3:
        secret = _ORDER - secret
    tweak = int.from_bytes(tagged_hash("TapTweak", compressed[1:]), "big")
    return PrivateKey(((secret + tweak) % _ORDER).to_bytes(32, "big"))


def old_descriptor(seed: bytes, number: int, kind: str) -> str:
    """The descriptor, private key and all, of a key that an earlier version gave out."""
    with Secret(bytearray(_secret(seed, number))) as secret:
        wif = format_wif(PrivateText(secret, is_mainnet=False))
    return with_checksum(f"tr({wif})" if kind == AddressKind.BECH32M.value else f"wpkh({wif})")


def _secret(seed: bytes, number: int) -> bytes:
    digest = hmac.digest(seed, b"anya-actors regtest key" + number.to_bytes(8, "big"), hashlib.sha512)
    return (int.from_bytes(digest, "big") % (_ORDER - 1) + 1).to_bytes(32, "big")

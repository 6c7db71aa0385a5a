"""A key that tests and benchmarks spend by: its output script, and the witness that lets it be spent."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Sequence

from coincurve import PrivateKey, PublicKeyXOnly

from anya_actors.domain.bitcoin.script import hash160, p2tr_script, p2wpkh_script
from anya_actors.domain.bitcoin.sighash import (
    Sighash,
    p2wpkh_script_code,
    segwit_v0_sighash,
    taproot_key_path_sighash,
)
from anya_actors.domain.bitcoin.transaction import Transaction, TxOutput
from anya_actors.domain.keys.curve import ORDER, tagged_hash


class OutputKind(enum.Enum):
    """What the key's output is."""

    P2WPKH = "p2wpkh"
    P2TR = "p2tr"  # key path only (BIP86)


class SpendingKey:
    """One key, the same for the same seed. For coins that are worth nothing: it stands in memory."""

    def __init__(self, seed: bytes, kind: OutputKind = OutputKind.P2WPKH) -> None:
        self._private = PrivateKey(hashlib.sha256(b"spending key " + seed).digest())
        self.kind = kind
        self.public_key: bytes = self._private.public_key.format()
        if kind is OutputKind.P2TR:
            self._private = _taproot_tweaked(self._private)
            self.script_pubkey = p2tr_script(PublicKeyXOnly.from_secret(self._private.secret).format())
        else:
            self.script_pubkey = p2wpkh_script(hash160(self.public_key))

    def __repr__(self) -> str:
        return f"SpendingKey({self.kind.value}, {self.script_pubkey.hex()})"

    def witness(self, transaction: Transaction, index: int, spent: Sequence[TxOutput]) -> tuple[bytes, ...]:
        """The witness that lets input ``index`` spend this key's output; ``spent`` has one for each input."""
        if self.kind is OutputKind.P2TR:
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
        secret = ORDER - secret
    tweak = int.from_bytes(tagged_hash("TapTweak", compressed[1:]), "big")
    return PrivateKey(((secret + tweak) % ORDER).to_bytes(32, "big"))

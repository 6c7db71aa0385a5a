"""Secret MuSig2 nonces between their two rounds: in the memory of one process, for one use each.

Two signatures by one nonce give the private key away (BIP327). So a nonce is never stored, never
sent and never drawn from anything that could come again: when its process ends it is gone, and
whoever asks for it is told to begin anew.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from anya_actors.domain.hsm.errors import NonceLostError
from anya_actors.domain.keys.musig2 import AggregateKey, Session, aggregate
from anya_actors.domain.keys.musig2_signing import NonceReusedError, SecretNonce
from anya_actors.domain.keys.operations import KeyPath, MusigRound
from anya_actors.domain.machine import InvalidInputError

MAX_OPEN: Final = 1024
MAX_SIGNERS: Final = 1000
_REMEMBERED: Final = 65536


@dataclass(frozen=True, slots=True)
class _Open:
    nonce: SecretNonce
    key: str
    path: KeyPath
    aggregate_key: bytes
    message: bytes | None


class OpenNonces:
    """The nonces of one process. Beyond 1024, the oldest makes room and is wiped."""

    def __init__(self) -> None:
        self._open: OrderedDict[bytes, _Open] = OrderedDict()
        self._used: OrderedDict[bytes, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def add(
        self, nonce: SecretNonce, key: str, path: KeyPath, aggregate_key: bytes, message: bytes | None
    ) -> None:
        """Keep a nonce for the one signature that it was drawn for."""
        self._open[nonce.public_nonce] = _Open(nonce, key, path, aggregate_key, message)
        if len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)[1].nonce.wipe()

    def take(self, public_nonce: bytes, key: str, path: KeyPath, signing: MusigRound) -> SecretNonce:
        """The nonce, which is here no longer; raise `NonceReusedError` or `NonceLostError`.

        What contradicts what the nonce was drawn for raises `InvalidInputError`, and uses it up too.
        """
        found = self._open.pop(public_nonce, None)
        if found is None:
            if public_nonce in self._used:
                raise NonceReusedError(public_nonce.hex())
            raise NonceLostError(public_nonce.hex(), key)
        self._used[public_nonce] = None
        if len(self._used) > _REMEMBERED:
            self._used.popitem(last=False)
        try:
            _check_purpose(found, key, path, signing)
        except InvalidInputError:
            found.nonce.wipe()
            raise
        return found.nonce

    def wipe(self) -> None:
        """Zero every nonce: nothing can be signed with them any more."""
        for each in self._open.values():
            each.nonce.wipe()
        self._open.clear()


def aggregate_of(signing: MusigRound) -> AggregateKey:
    """The key that the round's signature will verify under."""
    if not 1 <= len(signing.public_keys) <= MAX_SIGNERS:
        raise InvalidInputError("public_keys", f"name 1 to {MAX_SIGNERS} signers")
    key = aggregate(signing.public_keys)
    for tweak, x_only in signing.tweaks:
        key = key.tweak(tweak, x_only=x_only)
    return key


def session_of(signing: MusigRound) -> Session:
    """The round in the words of BIP327; raise `InvalidContributionError` or `MusigError`."""
    return Session(aggregate_of(signing), signing.aggregate_nonce, signing.message)


def commitment(public_nonce: bytes) -> str:
    """By what the audit log names a nonce: the SHA-256 of its public half."""
    return hashlib.sha256(public_nonce).hexdigest()


def _check_purpose(found: _Open, key: str, path: KeyPath, signing: MusigRound) -> None:
    if (found.key, found.path) != (key, path):
        raise InvalidInputError("public_nonce", "it was drawn for another key or path")
    if found.message not in (None, signing.message):
        raise InvalidInputError("message", "the nonce was drawn for another one")
    if found.aggregate_key and found.aggregate_key != aggregate_of(signing).x_only:
        raise InvalidInputError("public_keys", "the nonce was drawn for another aggregate key")

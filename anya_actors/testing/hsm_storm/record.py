"""What the callers of a storm were told, kept outside of what is being killed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from anya_actors.domain.hsm.views import KeyView
from anya_actors.domain.keys.operations import (
    OPERATION_OF,
    Answer,
    DecryptRequest,
    EncryptRequest,
    MacRequest,
    Request,
    SignRequest,
)
from anya_actors.testing.crash_safety import hold

SIGNATURES: Final = {
    "ed25519": ("ed25519",),
    "secp256k1": ("ecdsa-secp256k1", "schnorr-bip340"),
    "p256": ("ecdsa-p256-sha256",),
    "bip32": ("schnorr-bip340",),
}

Place = tuple[str, str, str]
"""Key, operation, algorithm."""


@dataclass
class KnownKey:
    """An acknowledged key: the public half of each version that was acknowledged, in hex."""

    name: str
    key_type: str
    owner: str
    counter_nonces: bool
    versions: dict[int, str] = field(default_factory=dict)
    sealed: list[tuple[EncryptRequest, Answer]] = field(default_factory=list)

    def learn(self, view: KeyView) -> None:
        """Take over what an answer tells of the versions; none of those known may differ."""
        for each in view.versions:
            known = self.versions.setdefault(each.version, each.public_key)
            hold(known == each.public_key, f"version {each.version} of {self.name} is another key now")


@dataclass(frozen=True)
class MusigPart:
    """A partial signature that was answered."""

    key: str
    public_nonce: bytes
    message: bytes
    part: bytes


@dataclass
class Record:
    """Everything acknowledged, and how often what was asked for."""

    keys: dict[str, KnownKey] = field(default_factory=dict)
    proofs: list[tuple[SignRequest | MacRequest, Answer]] = field(default_factory=list)
    nonces: list[tuple[str, bytes]] = field(default_factory=list)
    parts: list[MusigPart] = field(default_factory=list)
    tokens: dict[str, str] = field(default_factory=dict)
    sessions: Counter[str] = field(default_factory=Counter)
    rotations: Counter[str] = field(default_factory=Counter)
    answered: Counter[tuple[Place, int]] = field(default_factory=Counter)
    attempted: Counter[Place] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)

    @property
    def operations(self) -> int:
        """How many operations by keys were answered."""
        return self.answered.total()

    def try_to(self, key: str, operation: str, algorithm: str) -> None:
        """An operation is about to be asked for."""
        self.attempted[key, operation, algorithm] += 1

    def was_told(self, key: str, operation: str, algorithm: str, version: int) -> None:
        """An operation was answered."""
        self.answered[(key, operation, algorithm), version] += 1

    def keep(self, request: Request, answer: Answer) -> None:
        """An operation of a batch was answered; what it gave can be checked later."""
        self.was_told(request.key, OPERATION_OF[type(request)], request.algorithm, answer.version)
        if isinstance(request, SignRequest | MacRequest):
            self.proofs.append((request, answer))
        if isinstance(request, EncryptRequest):
            self.keys[request.key].sealed.append((request, answer))

    def check_opened(self, request: DecryptRequest, answer: Answer, plaintext: bytes) -> None:
        """What was encrypted earlier comes back."""
        hold(answer.data == plaintext, f"a ciphertext of {request.key} opened as something else")


def decryption_of(request: EncryptRequest, answer: Answer) -> DecryptRequest:
    """What opens the answer of an encryption."""
    facts = (request.algorithm, request.associated_data, answer.version)
    return DecryptRequest(request.key, answer.data, *facts)

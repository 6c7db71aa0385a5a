"""What a key may be asked to do: one struct per operation, alike for every door and every backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from anya_actors.domain.machine import InvalidInputError

KeyPath = tuple[int, ...]
"""Child numbers from a BIP32 key; those of hardened children have `HARDENED` set."""

HARDENED: Final = 0x80000000
MAX_BATCH: Final = 1024
"""As many operations as a session takes in one call."""
MAX_RANDOM_BYTES: Final = 64 * 1024
MAX_PATH_DEPTH: Final = 10


class SignRequest(msgspec.Struct, frozen=True, tag=True):
    """A signature by ``key``, of a 32-byte digest or of a message, as ``algorithm`` wants it.

    ``path`` derives from a BIP32 key. ``taproot_merkle_root`` tweaks the key as BIP341 says before
    a BIP340 signature: empty for an output without scripts (BIP86), None for no tweak. ``tweak`` is
    a scalar (32 bytes, big-endian) that is added to the key instead, as BIP352's outputs want it.
    ``context`` names which key acts, for keys that are derived; so in other requests.
    """

    key: str
    message: bytes
    algorithm: str
    path: KeyPath = ()
    taproot_merkle_root: bytes | None = None
    version: int = 0
    tweak: bytes | None = None
    context: bytes = b""


class VerifyRequest(msgspec.Struct, frozen=True, tag=True):
    """Whether ``signature`` is one of ``message`` by ``key``. ``version`` 0 is the newest."""

    key: str
    message: bytes
    signature: bytes
    algorithm: str
    path: KeyPath = ()
    version: int = 0
    context: bytes = b""


class EncryptRequest(msgspec.Struct, frozen=True, tag=True):
    """Encryption; ``associated_data`` is authenticated and not hidden; for RSA it is OAEP's label."""

    key: str
    plaintext: bytes
    algorithm: str
    associated_data: bytes = b""
    version: int = 0
    context: bytes = b""

    def __repr__(self) -> str:
        return f"EncryptRequest({self.key!r}, {len(self.plaintext)} bytes, {self.algorithm!r})"


class DecryptRequest(msgspec.Struct, frozen=True, tag=True):
    """Decryption of what `EncryptRequest` gave under that version of the key."""

    key: str
    ciphertext: bytes
    algorithm: str
    associated_data: bytes = b""
    version: int = 0
    context: bytes = b""


class RewrapRequest(msgspec.Struct, frozen=True, tag=True):
    """Encryption by ``to_version`` of what ``version`` had encrypted; nobody sees the plaintext."""

    key: str
    ciphertext: bytes
    algorithm: str
    associated_data: bytes = b""
    version: int = 0
    to_version: int = 0
    context: bytes = b""


class MacRequest(msgspec.Struct, frozen=True, tag=True):
    """A message authentication code."""

    key: str
    message: bytes
    algorithm: str
    version: int = 0


class VerifyMacRequest(msgspec.Struct, frozen=True, tag=True):
    """Whether ``mac`` is the whole code of ``message``."""

    key: str
    message: bytes
    mac: bytes
    algorithm: str
    version: int = 0


class AgreeRequest(msgspec.Struct, frozen=True, tag=True):
    """A secret shared with the holder of ``public_key`` (Diffie-Hellman)."""

    key: str
    public_key: bytes
    algorithm: str
    path: KeyPath = ()
    version: int = 0


class StretchRequest(msgspec.Struct, frozen=True, tag=True):
    """``length`` bytes derived from a secret by HKDF, PBKDF2 or Argon2id.

    ``info`` is HKDF's; ``iterations`` is PBKDF2's and Argon2id's, ``memory_kib`` and ``lanes`` are
    Argon2id's.
    """

    key: str
    algorithm: str
    length: int
    salt: bytes = b""
    info: bytes = b""
    iterations: int = 0
    memory_kib: int = 0
    lanes: int = 1
    version: int = 0


class RandomRequest(msgspec.Struct, frozen=True, tag=True):
    """``length`` unpredictable bytes; no key has part in it."""

    length: int
    key: str = ""
    algorithm: str = "random"
    version: int = 0


Request = (
    SignRequest
    | VerifyRequest
    | EncryptRequest
    | DecryptRequest
    | RewrapRequest
    | MacRequest
    | VerifyMacRequest
    | AgreeRequest
    | StretchRequest
    | RandomRequest
)

InContext = SignRequest | VerifyRequest | EncryptRequest | DecryptRequest
"""Requests that a derived key answers."""

OPERATION_OF: Final[Mapping[type, str]] = {
    SignRequest: "sign",
    VerifyRequest: "verify",
    EncryptRequest: "encrypt",
    DecryptRequest: "decrypt",
    RewrapRequest: "rewrap",
    MacRequest: "mac",
    VerifyMacRequest: "verify-mac",
    AgreeRequest: "agree",
    StretchRequest: "stretch",
    RandomRequest: "random",
}
"""The word by which the audit log names each."""

PERMISSION_OF: Final[Mapping[str, str]] = {
    "sign": "sign",
    "verify": "verify",
    "encrypt": "encrypt",
    "decrypt": "decrypt",
    "rewrap": "encrypt",
    "mac": "sign",
    "verify-mac": "verify",
    "agree": "derive",
    "stretch": "derive",
}
"""Which of a key's allowed operations each one needs (PKCS#11's words)."""


class Answer(msgspec.Struct, frozen=True, tag=True):
    """What an operation gave, and by which version of the key. Verifying gives nothing; it raises."""

    data: bytes = b""
    version: int = 0

    def __repr__(self) -> str:
        return f"Answer({len(self.data)} bytes, version={self.version})"


class Refusal(msgspec.Struct, frozen=True, tag=True):
    """Why one request of a batch was refused, while others were answered."""

    code: str
    message: str


class MusigRound(msgspec.Struct, frozen=True, tag=True):
    """What all signers of one MuSig2 signature agree on (BIP327).

    ``tweaks`` are applied in order to the aggregate of ``public_keys``; True marks one that is
    x-only, as taproot's is. ``aggregate_nonce`` is the sum of all signers' public nonces.
    """

    public_keys: tuple[bytes, ...]
    aggregate_nonce: bytes
    message: bytes
    tweaks: tuple[tuple[bytes, bool], ...] = ()


def check_path(path: Sequence[int]) -> KeyPath:
    """The path as a tuple; raise `InvalidInputError` for one that is too deep or no path."""
    if len(path) > MAX_PATH_DEPTH:
        raise InvalidInputError("path", f"at most {MAX_PATH_DEPTH} steps, not {len(path)}")
    if any(type(step) is not int or not 0 <= step <= 0xFFFFFFFF for step in path):
        raise InvalidInputError("path", "each step is a number of 32 bits")
    return tuple(path)


def check_merkle_root(root: bytes | None) -> None:
    """Raise `InvalidInputError` unless it is None, empty or 32 bytes."""
    if root is not None and len(root) not in (0, 32):
        raise InvalidInputError("taproot_merkle_root", f"it has 32 bytes or none, not {len(root)}")

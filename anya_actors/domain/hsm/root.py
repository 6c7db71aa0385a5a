"""The sealed root: what turns a passphrase into the key-encryption key, and nothing more.

passphrase --Argon2id--> sealing key --opens--> master key --opens--> key-encryption key --opens--> keys

The master key never changes with the passphrase, so a new passphrase or stronger parameters rewrite
one record; a new key-encryption key rewrites the wrapped keys, not the seal.
"""

from __future__ import annotations

import msgspec

from anya_actors.domain.hsm.policy import NO_POLICY, KeyPolicy
from anya_actors.domain.machine import Event, IllegalTransitionError, Step


class KdfParameters(msgspec.Struct, frozen=True, order=True):
    """Cost of Argon2id (RFC 9106). Stored with what it sealed, so that the cost can be raised later."""

    memory_kib: int = 256 * 1024
    iterations: int = 3
    lanes: int = 1

    def weaker_than(self, wanted: KdfParameters) -> bool:
        """Whether an attacker would work less against these than against ``wanted``."""
        return self.memory_kib * self.iterations < wanted.memory_kib * wanted.iterations


class Seal(msgspec.Struct, frozen=True):
    """The master key under a key derived from the passphrase. ``sealed``: nonce 12, ciphertext, tag 16."""

    parameters: KdfParameters
    salt: bytes
    sealed: bytes


class WrappedKek(msgspec.Struct, frozen=True):
    """A key-encryption key under the master key."""

    version: int
    wrapped: bytes


class Root(msgspec.Struct, frozen=True, tag=True):
    """The root as stored; no ``seal`` before the first start."""

    seal: Seal | None = None
    keks: tuple[WrappedKek, ...] = ()


class RootInitialised(Event, frozen=True):
    """A master key and a first key-encryption key were drawn and sealed."""

    seal: Seal
    kek: WrappedKek


class RootResealed(Event, frozen=True):
    """The same master key was sealed anew: other parameters, or another passphrase."""

    seal: Seal


def step_root(root: Root, event: Event) -> Step[Root]:
    """Apply one event; if it is illegal, raise and change nothing."""
    match event:
        case RootInitialised() if root.seal is None:
            return Step(Root(event.seal, (event.kek,)))
        case RootResealed() if root.seal is not None:
            return Step(msgspec.structs.replace(root, seal=event.seal))
    phase = "an uninitialised HSM" if root.seal is None else "an initialised HSM"
    raise IllegalTransitionError(phase, type(event).__name__)


def seal_context() -> bytes:
    """Associated data of the sealed master key."""
    return _context("seal", "master", 1)


def kek_context(version: int) -> bytes:
    """Associated data of a wrapped key-encryption key."""
    return _context("kek", "kek", version)


def backup_context() -> bytes:
    """Associated data of a key that leaves, sealed."""
    return _context("backup", "key", 1)


def key_context(
    name: str,
    version: int,
    key_type: str,
    owner: str,
    operations: tuple[str, ...],
    public_key: bytes,
    policy: KeyPolicy = NO_POLICY,
) -> bytes:
    """Associated data of a wrapped key: its name, version and purpose, so none can be swapped.

    The purpose holds the policy too: an owner edited in the store makes the key unopenable.
    """
    parts = ("key", name, version, key_type, owner, operations, public_key)
    return _context(*parts) if policy == NO_POLICY else _context(*parts, policy)


def _context(*parts: object) -> bytes:
    return msgspec.msgpack.encode(("anya-hsm", 1, *parts))

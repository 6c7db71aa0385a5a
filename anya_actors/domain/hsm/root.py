"""The sealed root: what turns a passphrase into the key-encryption key, and nothing more.

passphrase --Argon2id--> sealing key --opens--> master key --opens--> key-encryption key --opens--> keys

The master key never changes with the passphrase, so a new passphrase or stronger parameters rewrite
one record. A new key-encryption key, under the same master key or a new one, joins the older ones; it
wraps every key from then on, and when nothing is wrapped by the older ones they are dropped.
"""

from __future__ import annotations

import msgspec

from anya_actors.domain.hsm.audit import AuditRecord
from anya_actors.domain.hsm.policy import NO_POLICY, KeyPolicy
from anya_actors.domain.hsm.records import RecordAudit, SecurityRekeyed, SecuritySealed, SecurityUnsealed
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
    """The root as stored; no ``seal`` before the first start.

    ``sealed`` tells why the HSM is to stay sealed, also after a restart; it is empty while it is not.
    """

    seal: Seal | None = None
    keks: tuple[WrappedKek, ...] = ()  # the last one wraps
    sealed: str = ""


class RootInitialised(Event, frozen=True):
    """A master key and a first key-encryption key were drawn and sealed."""

    seal: Seal
    kek: WrappedKek


class RootResealed(Event, frozen=True):
    """The master key of ``before`` was sealed anew: other parameters, or another passphrase."""

    before: Seal
    seal: Seal
    audit: AuditRecord


class RootRekeyed(Event, frozen=True):
    """A key-encryption key was drawn. ``seal`` is ``before``, or that of a new master key, which wraps
    all of ``keks``."""

    before: Seal
    seal: Seal
    keks: tuple[WrappedKek, ...]
    audit: AuditRecord


class KeksDropped(Event, frozen=True):
    """Nothing is wrapped by the key-encryption keys before ``newest`` any more."""

    newest: int
    audit: AuditRecord


class RootSealed(Event, frozen=True):
    """The keys were wiped from memory; they come back when someone unseals."""

    reason: str
    audit: AuditRecord


class RootUnsealed(Event, frozen=True):
    """Someone had the root opened again."""

    audit: AuditRecord


def step_root(root: Root, event: Event) -> Step[Root]:
    """Apply one event; if it is illegal, raise and change nothing."""
    change = msgspec.structs.replace
    match event:
        case RootInitialised() if root.seal is None:
            return Step(Root(event.seal, (event.kek,)))
        # Each tells which seal it was made from: another one may have taken its place meanwhile.
        case RootResealed() if root.seal == event.before:
            return Step(change(root, seal=event.seal), (RecordAudit(event.audit),))
        case RootRekeyed() if root.seal == event.before and _adds_one(root.keks, event.keks):
            return Step(change(root, seal=event.seal, keks=event.keks), (RecordAudit(event.audit),))
        case KeksDropped() if root.keks and root.keks[-1].version == event.newest:
            if len(root.keks) == 1:
                return Step(root)
            dropped = change(root, keks=root.keks[-1:])
            return Step(dropped, (RecordAudit(event.audit),), (SecurityRekeyed(event.newest),))
        case RootSealed() if root.seal is not None and root.sealed:
            return Step(root)
        case RootSealed() if root.seal is not None:
            sealed = change(root, sealed=event.reason)
            return Step(sealed, (RecordAudit(event.audit),), (SecuritySealed(event.reason),))
        case RootUnsealed() if root.seal is not None:
            return Step(change(root, sealed=""), (RecordAudit(event.audit),), (SecurityUnsealed(),))
    phase = "an uninitialised HSM" if root.seal is None else "an initialised HSM, or its present seal"
    raise IllegalTransitionError(phase, type(event).__name__)


def _adds_one(before: tuple[WrappedKek, ...], after: tuple[WrappedKek, ...]) -> bool:
    versions = [each.version for each in before]
    return [each.version for each in after] == [*versions, versions[-1] + 1]


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
    # A mapping of what is not a default: a struct's header would say how many fields there could be.
    return _context(*parts) if policy == NO_POLICY else _context(*parts, msgspec.to_builtins(policy))


def _context(*parts: object) -> bytes:
    return msgspec.msgpack.encode(("anya-hsm", 1, *parts))

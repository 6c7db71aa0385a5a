"""A key's later life: rotation, minimum versions, its nonces, deletion and destruction, approvals."""

from __future__ import annotations

from typing import Final

import msgspec

from anya_actors.domain.hsm.approvals import (
    ApprovalsSpent,
    KeyApproved,
    approve,
    check_approved,
    of_approvers_who_stay,
    spend,
    without,
)
from anya_actors.domain.hsm.audit import AuditRecord
from anya_actors.domain.hsm.errors import (
    KeyExhaustedError,
    OperationRefusedError,
    UnknownKeyError,
    WaitingPeriodError,
)
from anya_actors.domain.hsm.policy import NO_POLICY, KeyPolicy
from anya_actors.domain.hsm.records import DiscardHandles, RecordAudit, SecurityKeyChanged
from anya_actors.domain.hsm.slots import KeySlot, KeyVersion, SlotPhase
from anya_actors.domain.machine import (
    Event,
    IllegalTransitionError,
    InvalidInputError,
    Step,
    UnavailableError,
)

MAX_VERSIONS: Final = 1000


class KeyRotated(Event, frozen=True):
    """A new version was drawn, checked and wrapped under ``policy``; with a ``minimum_version``, older ones
    end."""

    version: KeyVersion
    audit: AuditRecord
    minimum_version: int = 0
    policy: KeyPolicy = NO_POLICY


class KeyConfigured(Event, frozen=True):
    """Other minimum versions, or another policy, under which ``versions`` were wrapped anew."""

    minimum_version: int
    minimum_encryption_version: int
    policy: KeyPolicy
    versions: tuple[KeyVersion, ...]
    audit: AuditRecord


class WrappedAnew(msgspec.Struct, frozen=True):
    """What a version's ``wrapped`` was, and is under a newer key-encryption key."""

    before: bytes
    wrapped: bytes
    kek_version: int


class KeyRewrapped(Event, frozen=True):
    """Versions were wrapped by a newer key-encryption key. What changed meanwhile is left as it is."""

    versions: tuple[WrappedAnew, ...]
    audit: AuditRecord


class VersionsTrimmed(Event, frozen=True):
    """The private halves of all versions before ``first`` are gone; ``handles`` are those in a token."""

    first: int
    audit: AuditRecord
    handles: tuple[bytes, ...] = ()


class NoncesReserved(Event, frozen=True):
    """``count`` encryptions of one version were given to a session, made or not."""

    version: int
    count: int


class KeyDeleted(Event, frozen=True):
    """The key is used no more; until ``destroy_unix_ms`` it can be restored."""

    destroy_unix_ms: int
    audit: AuditRecord


class KeyRestored(Event, frozen=True):
    """A deleted key is back, disabled until someone enables it."""

    audit: AuditRecord


class KeyDestroyed(Event, frozen=True):
    """The private halves are gone; ``handles`` are those in a token."""

    at_unix_ms: int
    audit: AuditRecord
    handles: tuple[bytes, ...] = ()


class KeyExported(Event, frozen=True):
    """The key left, wrapped."""

    audit: AuditRecord


LIFE: Final = (
    KeyRotated,
    KeyConfigured,
    KeyRewrapped,
    VersionsTrimmed,
    NoncesReserved,
    KeyDeleted,
    KeyRestored,
    KeyDestroyed,
    KeyExported,
    KeyApproved,
    ApprovalsSpent,
)
_LIVE: Final = (SlotPhase.ENABLED, SlotPhase.DISABLED)


def step_life(slot: KeySlot, event: Event) -> Step[KeySlot]:
    """Apply one event; if it is illegal, raise and change nothing."""
    if slot.phase is SlotPhase.EMPTY:
        raise UnknownKeyError(slot.name)
    change = msgspec.structs.replace
    match event:
        case KeyRestored() if slot.phase is SlotPhase.DELETED:
            return _told(change(slot, phase=SlotPhase.DISABLED, destroy_unix_ms=0), event.audit, "restored")
        case KeyDestroyed() if slot.phase in (SlotPhase.DELETED, *_LIVE):
            return _destroy(slot, event)
        case KeyApproved() if slot.phase is not SlotPhase.DESTROYED:
            return approve(slot, event)
        case KeyRewrapped():
            return _rewrap(slot, event)
    if slot.phase not in _LIVE:
        raise UnknownKeyError(slot.name)
    match event:
        case KeyRotated():
            return _rotate(slot, event)
        case KeyConfigured():
            return _configure(slot, event)
        case VersionsTrimmed():
            return _trim(slot, event)
        case NoncesReserved():
            return _reserve(slot, event)
        case ApprovalsSpent():
            return spend(slot, event)
        case KeyDeleted() if not slot.policy.deletion_allowed:
            raise OperationRefusedError(slot.name, "be deleted")
        case KeyDeleted():
            deleted = change(slot, phase=SlotPhase.DELETED, destroy_unix_ms=event.destroy_unix_ms)
            return _told(without(deleted, "delete"), event.audit, "deleted")
        case KeyExported() if slot.policy.exportable:
            check_approved(slot, "export", event.audit.at_unix_ms)  # two at once do not share a word
            return _told(without(slot, "export"), event.audit, "exported")
        case KeyExported():
            raise OperationRefusedError(slot.name, "be exported")
    raise IllegalTransitionError(slot.phase.value, type(event).__name__)


def _rotate(slot: KeySlot, event: KeyRotated) -> Step[KeySlot]:
    if event.version.version != slot.versions[-1].version + 1:
        raise IllegalTransitionError(f"version {slot.versions[-1].version}", "KeyRotated")
    if event.policy != slot.policy:
        raise IllegalTransitionError("another policy", "KeyRotated")  # it would not open under this one
    if len(slot.versions) >= MAX_VERSIONS:
        raise InvalidInputError("version", f"a key keeps {MAX_VERSIONS} versions: trim it first")
    rotated = msgspec.structs.replace(
        slot,
        versions=(*slot.versions, event.version),
        minimum_version=event.minimum_version or slot.minimum_version,
    )
    return _told(without(rotated, "rotate"), event.audit, "rotated")


def _configure(slot: KeySlot, event: KeyConfigured) -> Step[KeySlot]:
    newest = slot.versions[-1].version
    if not slot.versions[0].version <= event.minimum_version <= newest:
        raise InvalidInputError("minimum_version", f"choose {slot.versions[0].version} to {newest}")
    floor = event.minimum_encryption_version
    if floor and not event.minimum_version <= floor <= newest:
        raise InvalidInputError("minimum_encryption_version", "choose 0, or from the minimum version on")
    if [each.version for each in event.versions] != [each.version for each in slot.versions]:
        raise IllegalTransitionError("other versions", "KeyConfigured")  # rotated or trimmed meanwhile
    versions = slot.versions
    if event.policy != slot.policy:
        # Not the whole of them: encryptions that were reserved meanwhile stay reserved.
        versions = tuple(
            msgspec.structs.replace(ours, wrapped=anew.wrapped, kek_version=anew.kek_version)
            for ours, anew in zip(slot.versions, event.versions, strict=True)
        )
    configured = msgspec.structs.replace(
        slot,
        minimum_version=event.minimum_version,
        minimum_encryption_version=floor,
        policy=event.policy,
        versions=versions,
        approvals=of_approvers_who_stay(slot, event.policy.approvers),
    )
    return _told(without(configured, "configure"), event.audit, "configured")


def _rewrap(slot: KeySlot, event: KeyRewrapped) -> Step[KeySlot]:
    anew = {each.before: each for each in event.versions}
    versions = tuple(
        msgspec.structs.replace(
            each, wrapped=anew[each.wrapped].wrapped, kek_version=anew[each.wrapped].kek_version
        )
        if each.wrapped in anew
        else each
        for each in slot.versions
    )
    if versions == slot.versions:
        return Step(slot)
    return Step(msgspec.structs.replace(slot, versions=versions), (RecordAudit(event.audit),))


def check_wrapping(before: KeySlot, after: KeySlot, kek_version: int) -> None:
    """Raise `UnavailableError` for a version newly wrapped by a key-encryption key that is on its way out."""
    known = {b"", *(each.wrapped for each in before.versions)}
    for each in after.versions:
        if each.kek_version < kek_version and each.wrapped not in known:
            raise UnavailableError("the HSM", "it was rekeyed meanwhile")


def _trim(slot: KeySlot, event: VersionsTrimmed) -> Step[KeySlot]:
    if not 1 <= event.first <= slot.minimum_version:
        raise InvalidInputError("first", "only versions below the minimum version can be trimmed")
    if slot.minimum_encryption_version and event.first > slot.minimum_encryption_version:
        raise InvalidInputError("first", "versions that encrypt cannot be trimmed")
    versions = tuple(each for each in slot.versions if each.version >= event.first)
    trimmed = msgspec.structs.replace(slot, versions=versions)
    return _told(trimmed, event.audit, "trimmed", event.handles)


def _reserve(slot: KeySlot, event: NoncesReserved) -> Step[KeySlot]:
    versions = []
    for each in slot.versions:
        if each.version == event.version:
            made = each.encryptions + event.count
            if made > slot.policy.encryption_limit:
                raise KeyExhaustedError(slot.name, each.version, slot.policy.encryption_limit)
            each = msgspec.structs.replace(each, encryptions=made)
        versions.append(each)
    return Step(msgspec.structs.replace(slot, versions=tuple(versions)))


def _destroy(slot: KeySlot, event: KeyDestroyed) -> Step[KeySlot]:
    if slot.phase is not SlotPhase.DELETED:
        raise InvalidInputError("key", "delete it first; it is destroyed after its waiting period")
    if event.at_unix_ms < slot.destroy_unix_ms:
        raise WaitingPeriodError(slot.name, slot.destroy_unix_ms)
    versions = tuple(msgspec.structs.replace(each, wrapped=b"") for each in slot.versions)
    destroyed = msgspec.structs.replace(slot, phase=SlotPhase.DESTROYED, versions=versions, approvals=())
    return _told(destroyed, event.audit, "destroyed", event.handles)


def _told(slot: KeySlot, audit: AuditRecord, change: str, handles: tuple[bytes, ...] = ()) -> Step[KeySlot]:
    published = SecurityKeyChanged(slot.name, slot.key_type, slot.owner, change)
    owed = (RecordAudit(audit), *((DiscardHandles(handles),) if handles else ()))
    return Step(slot, owed, (published,))

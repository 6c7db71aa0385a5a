"""A key on its way out and back, sealed for this HSM alone: it never leaves in the clear."""

from __future__ import annotations

from typing import Final

import msgspec

from anya_actors.domain.hsm.approvals import check_approved, without
from anya_actors.domain.hsm.audit import AuditRecord
from anya_actors.domain.hsm.errors import KeyExistsError, UnknownKeyError
from anya_actors.domain.hsm.records import RecordAudit, SecurityKeyChanged
from anya_actors.domain.hsm.slots import KeySlot, KeyVersion, SlotPhase
from anya_actors.domain.machine import Event, IllegalTransitionError, InvalidInputError, Step


class KeyBackedUp(Event, frozen=True):
    """The key left, sealed."""

    audit: AuditRecord


class KeyBroughtBack(Event, frozen=True):
    """A key that was deleted, destroyed or never here has the versions that were backed up.

    They are wrapped for ``saved``, which has the policy of today where there is one.
    """

    saved: KeySlot
    audit: AuditRecord


BACKUPS: Final = (KeyBackedUp, KeyBroughtBack)


def step_backup(slot: KeySlot, event: Event) -> Step[KeySlot]:
    """Apply one event; if it is illegal, raise and change nothing."""
    match event:
        case KeyBackedUp() if slot.phase in (SlotPhase.ENABLED, SlotPhase.DISABLED):
            check_approved(slot, "export", event.audit.at_unix_ms)  # two at once do not share a word
            return _told(without(slot, "export"), event.audit, "backed up")
        case KeyBackedUp():
            raise UnknownKeyError(slot.name)
        case KeyBroughtBack():
            return _told(brought_back(slot, event.saved), event.audit, "brought back")
    raise IllegalTransitionError(slot.phase.value, type(event).__name__)


def brought_back(slot: KeySlot, saved: KeySlot) -> KeySlot:
    """The key as it was saved, disabled; no nonce that was given out is given out again.

    Raises `KeyExistsError` for one that is alive, `UnknownKeyError` for another owner's,
    `InvalidInputError` for one whose versions are all below the minimum.
    """
    if slot.phase in (SlotPhase.ENABLED, SlotPhase.DISABLED):
        raise KeyExistsError(slot.name)
    if slot.phase is not SlotPhase.EMPTY and slot.owner != saved.owner:
        raise UnknownKeyError(slot.name)
    if saved.versions[-1].version < saved.minimum_version:
        raise InvalidInputError("backup", "its versions are older than the key's minimum version")
    given = {each.version: each.encryptions for each in slot.versions}
    # Of a version that is not known here, nobody knows what it encrypted since: it decrypts.
    unknown = saved.policy.encryption_limit
    versions = tuple(_counted(each, given.get(each.version, unknown)) for each in saved.versions)
    return msgspec.structs.replace(
        saved, phase=SlotPhase.DISABLED, versions=versions, approvals=(), destroy_unix_ms=0
    )


def _counted(version: KeyVersion, given: int) -> KeyVersion:
    return msgspec.structs.replace(version, encryptions=max(version.encryptions, given))


def _told(slot: KeySlot, audit: AuditRecord, change: str) -> Step[KeySlot]:
    published = SecurityKeyChanged(slot.name, slot.key_type, slot.owner, change)
    return Step(slot, (RecordAudit(audit),), (published,))

"""One named key: its policy, its versions with the wrapped private halves, whether it may be used."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from anya_actors.domain.hsm.audit import AuditRecord
from anya_actors.domain.hsm.errors import KeyExistsError, OperationRefusedError, UnknownKeyError
from anya_actors.domain.hsm.policy import NO_POLICY, KeyPolicy, check_policy, path_text
from anya_actors.domain.hsm.records import RecordAudit, SecurityKeyChanged
from anya_actors.domain.hsm.views import KeyView, VersionView
from anya_actors.domain.keys.algorithms import check_key_type
from anya_actors.domain.machine import Event, IllegalTransitionError, InvalidInputError, Step

OPERATIONS: Final = ("decrypt", "derive", "encrypt", "sign", "verify")
"""What a key can be allowed to do. A MAC is signed and verified; ``derive`` makes secrets."""
DEFAULT_OPERATIONS: Final = ("sign", "verify")
PLATFORM_OWNER: Final = "hsm"
"""Owner of the keys that the HSM uses for itself; no session is ever opened for one."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}\Z")
# A person or program, as tokens name it ...
_SUBJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+-]{0,127}\Z")
# ... or an actor of the platform. No token is issued for a name with a slash, so no caller of the
# API can take an actor's place.
_OWNER = re.compile(_SUBJECT.pattern[:-2] + r"(/[A-Za-z0-9][A-Za-z0-9._:-]{0,127})?\Z")


class SlotPhase(enum.Enum):
    """Whether the key exists and may be used."""

    EMPTY = "empty"
    ENABLED = "enabled"
    DISABLED = "disabled"
    DELETED = "deleted"  # can be restored until its time is over
    DESTROYED = "destroyed"  # its private halves are gone; the name stays taken


class KeyVersion(msgspec.Struct, frozen=True):
    """One generation of the key. ``wrapped``: nonce 12, ciphertext, tag 16 under KEK ``kek_version``."""

    version: int
    public_key: bytes
    wrapped: bytes
    kek_version: int
    created_unix_ms: int
    encryptions: int = 0  # nonces given out: none of them is given out again


class Approval(msgspec.Struct, frozen=True):
    """One approver's word for an operation. ``digest`` is hex SHA-256 of the only message that it is for."""

    operation: str
    approver: str
    at_unix_ms: int
    digest: str = ""
    uses: int = 1
    expires_unix_ms: int = 0  # 0: an hour later


class KeySlot(msgspec.Struct, frozen=True, tag=True):
    """A key slot as stored. Versions are in order; the last one signs.

    What is older than ``minimum_version`` is used for nothing; ``minimum_encryption_version`` is 0
    for the newest alone, unless the policy allows every version. ``destroy_unix_ms`` is when a deleted
    key may be destroyed.
    """

    name: str
    phase: SlotPhase = SlotPhase.EMPTY
    key_type: str = ""
    owner: str = ""
    operations: tuple[str, ...] = ()
    versions: tuple[KeyVersion, ...] = ()
    policy: KeyPolicy = NO_POLICY
    minimum_version: int = 1
    minimum_encryption_version: int = 0
    destroy_unix_ms: int = 0
    approvals: tuple[Approval, ...] = ()


class KeyPlan(msgspec.Struct, frozen=True):
    """What a key is to be, before there is one."""

    name: str
    key_type: str
    owner: str
    operations: tuple[str, ...] = DEFAULT_OPERATIONS
    policy: KeyPolicy = NO_POLICY


class KeyCreated(Event, frozen=True):
    """A key was drawn, checked and wrapped."""

    key_type: str
    owner: str
    operations: tuple[str, ...]
    first: KeyVersion
    audit: AuditRecord
    policy: KeyPolicy = NO_POLICY


class KeyDisabled(Event, frozen=True):
    """The key may not be used until it is enabled again."""

    audit: AuditRecord


class KeyEnabled(Event, frozen=True):
    """The key may be used again."""

    audit: AuditRecord


def _empty_enabled(slot: KeySlot, event: KeyCreated) -> Step[KeySlot]:
    created = msgspec.structs.replace(
        slot,
        phase=SlotPhase.ENABLED,
        key_type=event.key_type,
        owner=event.owner,
        operations=event.operations,
        versions=(event.first,),
        policy=event.policy,
    )
    return _recorded(created, event.audit, "created")


def _enabled_disabled(slot: KeySlot, event: KeyDisabled) -> Step[KeySlot]:
    disabled = msgspec.structs.replace(slot, phase=SlotPhase.DISABLED)
    return _recorded(disabled, event.audit, "disabled")


def _disabled_enabled(slot: KeySlot, event: KeyEnabled) -> Step[KeySlot]:
    return _recorded(msgspec.structs.replace(slot, phase=SlotPhase.ENABLED), event.audit, "enabled")


def _taken(slot: KeySlot, _: KeyCreated) -> Step[KeySlot]:
    raise KeyExistsError(slot.name)


def _absent(slot: KeySlot, _: Event) -> Step[KeySlot]:
    raise UnknownKeyError(slot.name)


def _unchanged(slot: KeySlot, _: Event) -> Step[KeySlot]:
    return Step(slot)


TRANSITIONS: Final[Mapping[tuple[SlotPhase, type[Event]], Callable[[KeySlot, Any], Step[KeySlot]]]] = {
    (SlotPhase.EMPTY, KeyCreated): _empty_enabled,
    (SlotPhase.ENABLED, KeyCreated): _taken,
    (SlotPhase.DISABLED, KeyCreated): _taken,
    (SlotPhase.DELETED, KeyCreated): _taken,
    (SlotPhase.DESTROYED, KeyCreated): _taken,
    (SlotPhase.DELETED, KeyDisabled): _absent,
    (SlotPhase.DESTROYED, KeyDisabled): _absent,
    (SlotPhase.DELETED, KeyEnabled): _absent,
    (SlotPhase.DESTROYED, KeyEnabled): _absent,
    (SlotPhase.EMPTY, KeyDisabled): _absent,
    (SlotPhase.ENABLED, KeyDisabled): _enabled_disabled,
    (SlotPhase.DISABLED, KeyDisabled): _unchanged,
    (SlotPhase.EMPTY, KeyEnabled): _absent,
    (SlotPhase.ENABLED, KeyEnabled): _unchanged,
    (SlotPhase.DISABLED, KeyEnabled): _disabled_enabled,
}


def check_plan(plan: KeyPlan) -> KeyPlan:
    """The plan with each operation once, sorted; raise `InvalidInputError` for what cannot be a key."""
    if not _NAME.match(plan.name):
        raise InvalidInputError("name", "use 1 to 128 letters, digits, dots, underscores, colons, hyphens")
    check_owner(plan.owner)
    check_key_type(plan.key_type)
    check_policy(plan.policy, plan.key_type)
    unknown = set(plan.operations) - set(OPERATIONS)
    if unknown or not plan.operations:
        raise InvalidInputError("operations", f"choose from {', '.join(OPERATIONS)}")
    return msgspec.structs.replace(plan, operations=tuple(sorted(set(plan.operations))))


def check_owner(owner: str) -> None:
    """Raise `InvalidInputError` unless this can own keys: a token's subject, or an actor's name."""
    if owner == PLATFORM_OWNER or not _OWNER.match(owner):
        raise InvalidInputError("owner", "name a token's subject, or an actor as kind/key")


def is_actor(owner: str) -> bool:
    """Whether an actor of the platform owns, not the holder of a token."""
    return "/" in owner


def check_subject(subject: str) -> None:
    """Raise `InvalidInputError` for what no token may name: neither an actor nor the HSM itself."""
    if subject == PLATFORM_OWNER or not _SUBJECT.match(subject):
        raise InvalidInputError("subject", "use 1 to 128 letters, digits, and any of . _ : @ + -")


def check_use(slot: KeySlot, owner: str, operation: str | None = None) -> None:
    """Raise unless ``owner`` may use the key (for ``operation``).

    A key of another owner is answered like a key that does not exist.
    """
    if slot.phase not in (SlotPhase.ENABLED, SlotPhase.DISABLED) or slot.owner != owner:
        raise UnknownKeyError(slot.name)
    if slot.phase is SlotPhase.DISABLED:
        raise OperationRefusedError(slot.name, "be used while it is disabled")
    if operation is not None and operation not in slot.operations:
        raise OperationRefusedError(slot.name, operation)


def find_version(slot: KeySlot, version: int) -> KeyVersion:
    """A version that may be used, 0 for the newest; raise `InvalidInputError`."""
    wanted = version or slot.versions[-1].version
    for each in slot.versions:
        if each.version == wanted >= slot.minimum_version:
            return each
    raise InvalidInputError("version", f"version {version} of key {slot.name} may not be used")


def key_view(slot: KeySlot) -> KeyView:
    """The key without its private half."""
    newest = slot.versions[-1]
    return KeyView(
        name=slot.name,
        key_type=slot.key_type,
        version=newest.version,
        public_key=newest.public_key.hex(),
        owner=slot.owner,
        operations=slot.operations,
        created_unix_ms=slot.versions[0].created_unix_ms,
        enabled=slot.phase is SlotPhase.ENABLED,
        paths=tuple(path_text(path) for path in slot.policy.paths),
        state=slot.phase.value,
        minimum_version=slot.minimum_version,
        minimum_encryption_version=slot.minimum_encryption_version,
        versions=tuple(
            VersionView(each.version, each.public_key.hex(), each.created_unix_ms) for each in slot.versions
        ),
        policy=slot.policy,
        destroy_unix_ms=slot.destroy_unix_ms,
    )


def step_slot(slot: KeySlot, event: Event) -> Step[KeySlot]:
    """Apply one event; if it is illegal, raise and change nothing."""
    transition = TRANSITIONS.get((slot.phase, type(event)))
    if transition is None:
        raise IllegalTransitionError(slot.phase.value, type(event).__name__)
    return transition(slot, event)


def _recorded(slot: KeySlot, audit: AuditRecord, change: str) -> Step[KeySlot]:
    published = SecurityKeyChanged(slot.name, slot.key_type, slot.owner, change)
    return Step(slot, (RecordAudit(audit),), (published,))

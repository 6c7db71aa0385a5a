"""m-of-n approvals: what a key does only when so many of its approvers agreed.

An approval names an operation, of the key's life or by the key. One for an operation by the key may name the
SHA-256 of what is signed, decrypted or agreed with: then it is good for that alone. It is spent in the same
commit that owes the operation's audit entry, before the answer leaves: no crash lets it be used twice.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

import msgspec

from anya_actors.domain.hsm.audit import AuditRecord
from anya_actors.domain.hsm.errors import ApprovalNeededError, OperationRefusedError
from anya_actors.domain.hsm.policy import GUARDED_OPERATIONS
from anya_actors.domain.hsm.records import RecordAudit
from anya_actors.domain.hsm.slots import Approval, KeySlot, SlotPhase
from anya_actors.domain.hsm.views import ApprovalView
from anya_actors.domain.keys.operations import PERMISSION_OF
from anya_actors.domain.machine import Event, InvalidInputError, Step

APPROVAL_TTL_S: Final = 3600
MAX_APPROVAL_TTL_S: Final = 7 * 24 * 3600
MAX_USES: Final = 1000
MAX_OF_ONE: Final = 64
# What the audit log calls operations that are not requests.
_PERMISSION_OF: Final = {**PERMISSION_OF, "derive": "derive", "musig2-nonce": "sign", "musig2-sign": "sign"}
_DIGEST: Final = re.compile(r"[0-9a-f]{64}\Z")


class KeyApproved(Event, frozen=True):
    """An approver agreed to an operation."""

    approval: Approval
    audit: AuditRecord


class ApprovalsSpent(Event, frozen=True):
    """A session did one guarded operation and asks to answer it; ``digest`` is of what it was done to."""

    operation: str
    digest: str
    at_unix_ms: int
    audit: AuditRecord


def guard_of(slot: KeySlot, operation: str) -> str | None:
    """The guarded permission that an operation of the audit log's name takes, None if it takes none."""
    permission = _PERMISSION_OF.get(operation, "")
    return permission if permission in slot.policy.guarded else None


def check_approval(approval: Approval) -> None:
    """Raise `InvalidInputError` for what cannot be approved."""
    lasts_ms = approval.expires_unix_ms - approval.at_unix_ms
    if not 1000 <= lasts_ms <= MAX_APPROVAL_TTL_S * 1000:
        raise InvalidInputError("ttl_s", f"choose 1 to {MAX_APPROVAL_TTL_S} seconds")
    if not 1 <= approval.uses <= MAX_USES:
        raise InvalidInputError("uses", f"choose 1 to {MAX_USES}")
    if approval.operation not in GUARDED_OPERATIONS and (approval.digest or approval.uses != 1):
        raise InvalidInputError("operation", "a change of the key is approved once, and has no message")
    if approval.digest and approval.operation == "encrypt":
        raise InvalidInputError("digest", "what is encrypted is not named: its digest would tell of it")
    if approval.digest and not _DIGEST.match(approval.digest):
        raise InvalidInputError("digest", "it is SHA-256 in 64 hex digits")


def check_approved(slot: KeySlot, operation: str, now_unix_ms: int) -> None:
    """Raise `ApprovalNeededError` while a guarded operation lacks approvals that still hold."""
    if operation in slot.policy.guarded:
        _chosen(slot, operation, "", now_unix_ms)


def approve(slot: KeySlot, event: KeyApproved) -> Step[KeySlot]:
    """Keep one approver's word, in the place of the one before for the same."""
    new = event.approval
    kept = [each for each in slot.approvals if _ends(each) > new.at_unix_ms and _named(each) != _named(new)]
    if sum(each.approver == new.approver for each in kept) >= MAX_OF_ONE:
        raise InvalidInputError("approvals", f"{MAX_OF_ONE} of this approver are in force already")
    approved = msgspec.structs.replace(slot, approvals=(*kept, new))
    return Step(approved, (RecordAudit(event.audit),))


def spend(slot: KeySlot, event: ApprovalsSpent) -> Step[KeySlot]:
    """Take one use of as many approvers' words as the policy wants; raise `ApprovalNeededError`."""
    if slot.phase is not SlotPhase.ENABLED:
        raise OperationRefusedError(slot.name, "be used while it is disabled")
    chosen = _chosen(slot, event.operation, event.digest, event.at_unix_ms)
    left = [
        msgspec.structs.replace(each, uses=each.uses - 1) if each in chosen else each
        for each in slot.approvals
    ]
    spent = msgspec.structs.replace(slot, approvals=tuple(each for each in left if each.uses))
    return Step(spent, (RecordAudit(event.audit),))


def without(slot: KeySlot, operation: str) -> KeySlot:
    """The slot without the approvals that were for this change of it: they hold for one."""
    kept = tuple(each for each in slot.approvals if each.operation != operation)
    return slot if len(kept) == len(slot.approvals) else msgspec.structs.replace(slot, approvals=kept)


def of_approvers_who_stay(slot: KeySlot, approvers: Collection[str]) -> tuple[Approval, ...]:
    """The approvals of those who are approvers before and after: whoever comes back has to say it again."""
    staying = set(approvers).intersection(slot.policy.approvers)
    return tuple(each for each in slot.approvals if each.approver in staying)


def approvals_in_force(slot: KeySlot, now_unix_ms: int) -> list[ApprovalView]:
    """What was approved and is not used up or too old, oldest first."""
    return [
        ApprovalView(each.operation, each.approver, each.digest, each.uses, each.at_unix_ms, _ends(each))
        for each in slot.approvals
        if _counts(slot, each, now_unix_ms)
    ]


def _chosen(slot: KeySlot, operation: str, digest: str, now_unix_ms: int) -> list[Approval]:
    """An approval each of as many approvers as it takes: those for this message, then what ends first."""
    fitting = [
        each
        for each in slot.approvals
        if each.operation == operation and each.digest in ("", digest) and _counts(slot, each, now_unix_ms)
    ]
    fitting.sort(key=lambda each: (each.digest == "", _ends(each)))
    by_approver = {each.approver: each for each in reversed(fitting)}
    missing = slot.policy.approvals_needed - len(by_approver)
    if missing > 0:
        raise ApprovalNeededError(slot.name, operation, missing)
    chosen = sorted(by_approver.values(), key=fitting.index)
    return chosen[: slot.policy.approvals_needed]


def _counts(slot: KeySlot, approval: Approval, now_unix_ms: int) -> bool:
    return approval.approver in slot.policy.approvers and now_unix_ms < _ends(approval)


def _ends(approval: Approval) -> int:
    # Those of before they could say so held for an hour.
    return approval.expires_unix_ms or approval.at_unix_ms + APPROVAL_TTL_S * 1000


def _named(approval: Approval) -> tuple[str, str, str]:
    return approval.operation, approval.approver, approval.digest

"""What happens to a key after its creation: rotation, bounds, nonces, export, deletion, approvals."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from anya_actors.domain.hsm.approvals import KeyApproved, approvals_in_force, check_approval, check_approved
from anya_actors.domain.hsm.audit import AuditRecord
from anya_actors.domain.hsm.errors import OperationRefusedError, UnknownKeyError
from anya_actors.domain.hsm.key_life import (
    KeyConfigured,
    KeyDeleted,
    KeyDestroyed,
    KeyExported,
    KeyRestored,
    KeyRotated,
    NoncesReserved,
    VersionsTrimmed,
)
from anya_actors.domain.hsm.machine import Allotted, Reply, key_of
from anya_actors.domain.hsm.policy import KeyPolicy, check_policy
from anya_actors.domain.hsm.slots import PLATFORM_OWNER, Approval, KeySlot, SlotPhase, check_use, find_version
from anya_actors.domain.hsm.views import ApprovalView, KeyView
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import Event, InvalidInputError
from anya_actors.ports.key_algorithms import KeyAlgorithms
from anya_actors.services.hsm.keys import KeyRing, key_view_of
from anya_actors.services.hsm.records import REFUSALS, AuditedRecords
from anya_actors.services.hsm.vault import Vault

WRAPPING_KEY = "wrapping"
MAX_NUMBER = 2**63


class KeyLife:
    """Changes keys, each change once per message id, audited, and approved where the policy wants it."""

    def __init__(
        self, records: AuditedRecords, algorithms: KeyAlgorithms, vault: Vault, ring: KeyRing
    ) -> None:
        self._records = records
        self._algorithms = algorithms
        self._vault = vault
        self._ring = ring

    async def rotate_by_policy(self, view: KeyView) -> KeyView:
        """The version after the one shown; asked twice, it is made once."""
        message_id = f"auto-rotate/{view.name}/{view.version + 1}"
        return await self.rotate(view.name, view.owner, message_id, "by its policy")

    async def rotate(self, name: str, owner: str, message_id: str, detail: str = "") -> KeyView:
        """A new version; it encrypts and signs from now on."""

        async def event(slot: KeySlot) -> Event:
            now = self._records.clock.now_unix_ms()
            number = slot.versions[-1].version + 1
            with await self._ring.drawn(slot.key_type, owner) as private_key:
                version = self._vault.wrap(slot, number, private_key, now)
            return KeyRotated(version, self._entry("rotate", slot, number, detail), policy=slot.policy)

        return await self._changed("rotate", name, owner, (), message_id, event)

    async def rotate_to(
        self, name: str, owner: str, read: Callable[[str], Secret], form: str, message_id: str
    ) -> KeyView:
        """A new version that came from outside: ``read`` gives it for a type of key, of the ``form`` named.

        Repeated with the same message id, it is the version that the first call brought.
        """

        async def event(slot: KeySlot) -> Event:
            if slot.policy.counter_nonces:  # it may be an earlier version's key, and would count anew
                raise OperationRefusedError(name, "count the nonces of a version from outside")
            now = self._records.clock.now_unix_ms()
            number = slot.versions[-1].version + 1
            with read(slot.key_type) as private_key:
                version = self._vault.wrap(slot, number, private_key, now)
            audit = self._entry("rotate", slot, number, "from outside")
            return KeyRotated(version, audit, policy=slot.policy)

        return await self._changed("rotate", name, owner, ("imported", form), message_id, event)

    async def rotate_platform_key(self, name: str, revoke: bool, message_id: str) -> KeyView:
        """A new version of one of the HSM's own keys; ``revoke`` lets none of the old ones verify."""
        request = ("rotate", revoke)
        async with self._records.refusals("rotate-key", PLATFORM_OWNER, name), self._ring.turn(name):
            view = await self._records.answered(key_of(name), message_id, request)
            if view is None:
                slot = await self._ring.platform_key(name)
                number = slot.versions[-1].version + 1
                with await self._ring.drawn(slot.key_type, PLATFORM_OWNER) as private_key:
                    version = self._vault.wrap(slot, number, private_key, self._records.clock.now_unix_ms())
                event = KeyRotated(version, self._entry("rotate", slot, number), number if revoke else 0)
                view = await self._records.change(key_of(name), event, message_id=message_id, request=request)
        return key_view_of(view)

    async def configure(
        self,
        name: str,
        owner: str,
        minimum_version: int,
        minimum_encryption_version: int,
        policy: KeyPolicy,
        message_id: str,
    ) -> KeyView:
        """Other minimum versions, another policy; every version is wrapped anew under it."""

        async def event(slot: KeySlot) -> Event:
            check_policy(policy, slot.key_type)
            if slot.policy.exportable < policy.exportable:
                raise OperationRefusedError(name, "become exportable after its creation")
            if slot.policy.counter_nonces < policy.counter_nonces:  # it may have come from outside
                raise OperationRefusedError(name, "begin to count its nonces after its creation")
            if (slot.policy.derived, slot.policy.convergent) != (policy.derived, policy.convergent):
                raise OperationRefusedError(name, "be derived otherwise than it was created")
            versions = slot.versions
            if policy != slot.policy:
                changed = msgspec.structs.replace(slot, policy=policy)
                versions = tuple(self._vault.rewrap(slot, changed, each) for each in slot.versions)
            audit = self._entry("configure", slot)
            return KeyConfigured(minimum_version, minimum_encryption_version, policy, versions, audit)

        facts = (minimum_version, minimum_encryption_version, policy)
        return await self._changed("configure", name, owner, facts, message_id, event)

    async def trim(self, name: str, owner: str, first: int, message_id: str) -> KeyView:
        """Forget the private halves of every version before ``first``."""

        async def event(slot: KeySlot) -> Event:
            handles = self._vault.handles(slot, first)
            return VersionsTrimmed(first, self._entry("trim", slot, first), handles)

        return await self._changed("trim", name, owner, (first,), message_id, event)

    async def delete(self, name: str, owner: str, message_id: str) -> KeyView:
        """Stop every use; the key can be restored while its policy's waiting period lasts."""

        async def event(slot: KeySlot) -> Event:
            now = self._records.clock.now_unix_ms()
            return KeyDeleted(now + slot.policy.deletion_wait_s * 1000, self._entry("delete", slot))

        return await self._changed("delete", name, owner, (), message_id, event)

    async def restore(self, name: str, owner: str, message_id: str) -> KeyView:
        """Take a deletion back; the key is disabled until it is enabled."""

        async def event(slot: KeySlot) -> Event:
            return KeyRestored(self._entry("restore", slot))

        return await self._changed("restore", name, owner, (), message_id, event)

    async def destroy(self, name: str, owner: str, message_id: str) -> KeyView:
        """Forget the private halves of a deleted key for ever; its name stays taken."""

        async def event(slot: KeySlot) -> Event:
            now, handles = self._records.clock.now_unix_ms(), self._vault.handles(slot, MAX_NUMBER)
            return KeyDestroyed(now, self._entry("destroy", slot), handles)

        return await self._changed("destroy", name, owner, (), message_id, event)

    async def approve(
        self, name: str, operation: str, approver: str, digest: str, uses: int, ttl_s: int, message_id: str
    ) -> KeyView:
        """An approver's word for a guarded operation, once per message id."""
        request = ("approve", operation, approver, digest, uses, ttl_s)
        async with self._records.refusals("approve", approver, name):
            slot = await self._ring.slot(name)
            if slot.phase is SlotPhase.EMPTY or approver not in slot.policy.approvers:
                raise UnknownKeyError(name)
            if operation not in slot.policy.guarded:
                raise InvalidInputError("operation", f"guarded are {', '.join(slot.policy.guarded)}")
            now = self._records.clock.now_unix_ms()
            approval = Approval(operation, approver, now, digest.lower(), uses, now + ttl_s * 1000)
            check_approval(approval)
            detail = f"{operation} by {approver}" + (f" of {digest[:64]}" if digest else "")
            event = KeyApproved(
                approval, self._records.entry("approve", owner=approver, key=name, detail=detail)
            )
            view = await self._records.change(key_of(name), event, message_id=message_id, request=request)
        return key_view_of(view)

    async def approvals(self, name: str, caller: str) -> list[ApprovalView]:
        """What its approvers said, for the owner and for them."""
        slot = await self._ring.slot(name)
        if slot.phase is SlotPhase.EMPTY or caller not in ("", slot.owner, *slot.policy.approvers):
            raise UnknownKeyError(name)
        return approvals_in_force(slot, self._records.clock.now_unix_ms())

    async def export(
        self, name: str, owner: str, recipient_pem: bytes, version: int, digest: str, message_id: str
    ) -> bytes:
        """A version wrapped to an RSA key: RSA-OAEP and AES-KWP. Only if the policy says exportable."""
        async with self._records.refusals("export-key", owner, name):
            slot = await self._ring.slot(name)
            check_use(slot, owner)
            check_approved(slot, "export", self._records.clock.now_unix_ms())
            if not slot.policy.exportable:
                raise OperationRefusedError(name, "be exported")
            found = find_version(slot, version)
            with (
                self._vault.unwrap(slot, found) as private_key,
                self._algorithms.write(slot.key_type, private_key) as written,
            ):
                blob = self._algorithms.wrap_to(recipient_pem, written, digest)
            await self._records.change(
                key_of(name),
                KeyExported(self._entry("export", slot, found.version)),
                message_id=message_id,
                request=("export", found.version, recipient_pem),
            )
        return blob

    async def public_key_as(self, name: str, form: str, version: int) -> str:
        """A public key in a form of others: text, or bytes in hex."""
        slot = await self._ring.slot(name)
        if slot.phase is SlotPhase.EMPTY:
            raise UnknownKeyError(name)
        found = find_version(slot, version)
        written = self._algorithms.write_public_key(slot.key_type, found.public_key, form)
        return written.decode() if form in ("pem", "jwk") else written.hex()

    async def wrapping_key(self) -> bytes:
        """The RSA-4096 public key (PEM) to wrap imported keys with; drawn at its first use."""
        slot = await self._wrapping_slot()
        return self._algorithms.write_public_key("rsa-4096", slot.versions[-1].public_key, "pem")

    async def open_wrapped(self, blob: bytes, digest: str) -> Secret:
        """What was wrapped to `wrapping_key`; the caller wipes it."""
        slot = await self._wrapping_slot()
        with self._vault.unwrap(slot, slot.versions[-1]) as private_key:
            return await asyncio.to_thread(self._algorithms.unwrap_with, private_key, blob, digest)

    async def allot(self, name: str, owner: str, version: int, count: int) -> tuple[int, int]:
        """The next encryptions of one version, counted as made: the first number, and the one after."""
        slot = await self._ring.slot(name)
        check_use(slot, owner, "encrypt")
        found = find_version(slot, version)
        left = slot.policy.encryption_limit - found.encryptions
        count = max(1, min(count, left))  # one too many is refused by the rule
        event = NoncesReserved(found.version, count)
        reply = await self._records.engine.handle(key_of(name), event, message_id=self._records.fresh_id())
        if not isinstance(reply, Allotted):
            raise TypeError(f"an allotment was answered with {type(reply).__name__}")
        return reply.first, reply.end

    async def _wrapping_slot(self) -> KeySlot:
        return await self._ring.platform_key(WRAPPING_KEY, "rsa-4096", ("decrypt", "encrypt"))

    async def _changed(
        self,
        operation: str,
        name: str,
        owner: str,
        facts: tuple[object, ...],
        message_id: str,
        event_of: Callable[[KeySlot], Awaitable[Event]],
    ) -> KeyView:
        request = (operation, owner, *facts)
        async with self._records.refusals(f"{operation}-key", owner, name), self._ring.turn(name):
            view = await self._records.answered(key_of(name), message_id, request)
            if view is None:
                slot = await self._ring.slot(name)
                if slot.phase is SlotPhase.EMPTY or slot.owner != owner or owner == PLATFORM_OWNER:
                    raise UnknownKeyError(name)
                check_approved(slot, operation, self._records.clock.now_unix_ms())
                event = await event_of(slot)
                view = await self._applied(slot, event, message_id, request)
        return key_view_of(view)

    async def _applied(self, slot: KeySlot, event: Event, message_id: str, request: object) -> Reply:
        try:
            return await self._records.change(
                key_of(slot.name), event, message_id=message_id, request=request
            )
        except REFUSALS:  # by the rules: nothing was stored
            if isinstance(event, KeyRotated):
                self._vault.discard(slot, event.version)
            raise

    def _entry(self, operation: str, slot: KeySlot, version: int = 0, detail: str = "") -> AuditRecord:
        return self._records.entry(
            f"{operation}-key", owner=slot.owner, key=slot.name, key_version=version, detail=detail
        )

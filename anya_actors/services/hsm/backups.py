"""Keys leave the HSM sealed for itself, and come back."""

from __future__ import annotations

from typing import Final

import msgspec

from anya_actors.domain.encoding import UnreadableRecordError
from anya_actors.domain.hsm.approvals import check_approved
from anya_actors.domain.hsm.backups import KeyBackedUp, KeyBroughtBack
from anya_actors.domain.hsm.errors import AlteredKeyError, OperationRefusedError
from anya_actors.domain.hsm.machine import STATE, key_of
from anya_actors.domain.hsm.root import backup_context
from anya_actors.domain.hsm.slots import KeySlot, SlotPhase, check_use
from anya_actors.domain.hsm.views import KeyView
from anya_actors.domain.keys.algorithms import InvalidCiphertextError
from anya_actors.domain.machine import InvalidInputError, NotSupportedError
from anya_actors.ports.sealing import UnopenableError
from anya_actors.services.hsm.keys import KeyRing, key_view_of
from anya_actors.services.hsm.records import AuditedRecords
from anya_actors.services.hsm.vault import Vault

BACKUP_KEY: Final = "backup"


class Backups:
    """Makes and takes backups of single keys, each audited."""

    def __init__(self, records: AuditedRecords, vault: Vault, ring: KeyRing) -> None:
        self._records = records
        self._vault = vault
        self._ring = ring

    async def make(self, name: str, owner: str, message_id: str) -> bytes:
        """The whole key, sealed. A guarded export guards this too."""
        async with self._records.refusals("back-up-key", owner, name):
            slot = await self._ring.slot(name)
            check_use(slot, owner)
            check_approved(slot, "export", self._records.clock.now_unix_ms())
            if not slot.policy.backup:
                raise OperationRefusedError(name, "be backed up")
            if self._vault.handles(slot, slot.versions[-1].version + 1):
                raise NotSupportedError("backup of a key in a token", "back up the token itself")
            audit = self._records.entry("back-up-key", owner=owner, key=name)
            request = ("back-up", owner)
            await self._records.change(
                key_of(name), KeyBackedUp(audit), message_id=message_id, request=request
            )
        safe = await self._safe()
        try:
            versions = tuple(safe.rewrap(slot, slot, each, self._vault) for each in slot.versions)
            saved = msgspec.structs.replace(slot, versions=versions)
            return safe.seal(STATE.encode(saved), backup_context())
        finally:
            safe.wipe()

    async def take(self, name: str, owner: str, blob: bytes, message_id: str) -> KeyView:
        """Bring a key back under its own name; it is disabled until it is enabled."""
        async with self._records.refusals("bring-back-key", owner, name):
            safe = await self._safe()
            try:
                saved = _opened(safe, blob)
                if saved.owner != owner or (name and saved.name != name):
                    raise InvalidInputError("backup", "it is of another key")
                restored = await self._rewrapped(saved, safe)
            finally:
                safe.wipe()
            audit = self._records.entry("bring-back-key", owner=owner, key=saved.name)
            reply = await self._records.change(
                key_of(saved.name),
                KeyBroughtBack(restored, audit),
                message_id=message_id,
                request=("bring-back", owner, blob),
            )
        return key_view_of(reply)

    async def _safe(self) -> Vault:
        """What seals backups: a key of its own, which a rekeying wraps anew and does not replace."""
        slot = await self._ring.platform_key(BACKUP_KEY, "aes256-gcm", ("decrypt", "encrypt"))
        return self._vault.beside(self._ring.open_version(slot, slot.versions[-1]))

    async def _rewrapped(self, saved: KeySlot, safe: Vault) -> KeySlot:
        """Its versions under what the key may do today: a backup brings no older policy back."""
        slot = await self._ring.slot(saved.name)
        today = saved if slot.phase is SlotPhase.EMPTY else slot
        try:
            versions = tuple(self._vault.rewrap(saved, today, each, safe) for each in saved.versions)
        except AlteredKeyError:
            raise InvalidCiphertextError("backup") from None
        return msgspec.structs.replace(today, versions=versions)


def _opened(safe: Vault, blob: bytes) -> KeySlot:
    try:
        with safe.open(blob, backup_context()) as packed:
            saved = STATE.decode(packed.reveal())
    except (UnopenableError, UnreadableRecordError):
        raise InvalidCiphertextError("backup") from None
    if not isinstance(saved, KeySlot):
        raise InvalidCiphertextError("backup")
    return saved


class BackupCalls:
    """The HSM's use cases for backups of single keys."""

    @property
    def _backups(self) -> Backups:
        raise NotImplementedError

    async def back_up_key(self, name: str, owner: str, *, message_id: str) -> bytes:
        """A key whose policy allows it, sealed so that only this HSM opens it.

        Raises `UnknownKeyError`, `OperationRefusedError`, `ApprovalNeededError`.
        """
        return await self._backups.make(name, owner, message_id)

    async def bring_back_key(self, name: str, owner: str, blob: bytes, *, message_id: str) -> KeyView:
        """A backed up key that was deleted or destroyed, disabled; ``name`` may be empty.

        Its versions go on from where their nonces are. Raises `InvalidCiphertextError`,
        `InvalidInputError`, `KeyExistsError`.
        """
        return await self._backups.take(name, owner, blob, message_id)

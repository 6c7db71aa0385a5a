"""Brings every key under the newest key-encryption key, while all of them go on serving."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from anya_actors.domain.hsm.errors import AlteredKeyError
from anya_actors.domain.hsm.key_life import KeyRewrapped, WrappedAnew
from anya_actors.domain.hsm.machine import KEY_PREFIX, ROOT
from anya_actors.domain.hsm.root import KeksDropped
from anya_actors.domain.hsm.slots import PLATFORM_OWNER, KeySlot
from anya_actors.services.hsm.background import Background
from anya_actors.services.hsm.records import AuditedRecords
from anya_actors.services.hsm.vault import Vault

RETRY_S: Final = 5.0

_log = structlog.get_logger(__name__)


class Rewrapping(Background):
    """One key slot at a time, each a step of its own; whatever breaks it off, a new start finds the rest.

    The older key-encryption keys are dropped when nothing is wrapped by them, and nothing can be any
    more. One altered key keeps them all: it may yet be restored from a backup.
    """

    def __init__(self, records: AuditedRecords, vault: Vault, turn: asyncio.Lock) -> None:
        super().__init__("rekeying", self._finish, records.clock, RETRY_S)
        self._records = records
        self._vault = vault
        self._turn = turn

    def start(self) -> None:
        """Begin if there is anything to do, or begin again for a key-encryption key that is newer still."""
        if self._vault.has_older:
            super().start()

    async def _finish(self) -> None:
        newest = self._vault.newest_kek
        await self._records.wait_wrapped_by(newest)
        versions, altered = 0, False
        for key in await self._records.engine.keys(KEY_PREFIX):
            try:
                versions += await self._rewrap(key, newest)
            except AlteredKeyError as error:
                _log.error("a key cannot be rewrapped; the older key-encryption keys stay", error=str(error))
                altered = True
        if altered:
            return
        audit = self._records.entry(
            "finish-rekey", owner=PLATFORM_OWNER, count=versions, detail=f"key-encryption key {newest}"
        )
        async with self._turn:
            await self._records.engine.handle(
                ROOT, KeksDropped(newest, audit), message_id=self._records.fresh_id()
            )
            self._vault.drop_before(newest)

    async def _rewrap(self, key: str, newest: int) -> int:
        """How many versions of the key the newest key-encryption key wraps in the end: all."""
        while True:
            slot = await self._records.load(key, KeySlot)
            older = [each for each in slot.versions if each.wrapped and each.kek_version < newest]
            if not older:
                return sum(1 for each in slot.versions if each.wrapped)
            pairs = [(each, self._vault.rewrap(slot, slot, each)) for each in older]
            audit = self._records.entry(
                "rewrap-key",
                owner=slot.owner,
                key=slot.name,
                count=len(older),
                detail=f"key-encryption key {newest}",
            )
            event = KeyRewrapped(
                tuple(WrappedAnew(each.wrapped, anew.wrapped, anew.kek_version) for each, anew in pairs),
                audit,
            )
            # What changed meanwhile is left out; then the next round takes it.
            await self._records.engine.handle(key, event, message_id=self._records.fresh_id())

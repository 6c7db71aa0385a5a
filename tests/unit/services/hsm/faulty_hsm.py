"""A whole HSM over a store that fails as it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from anya_actors.adapters.memory.state_store import MemoryStateStores
from anya_actors.domain.hsm.machine import ROOT
from anya_actors.services.hsm import HsmService
from anya_actors.testing.local_hsm import LocalHsm
from tests.unit.services.faulty_store import Around, FaultyStore


class FaultyStores(MemoryStateStores):
    """The store that is activated next goes through ``around``."""

    def __init__(self) -> None:
        super().__init__()
        self.around: Around | None = None
        self.last: FaultyStore

    async def activate(self, actor: str) -> Any:
        store = await super().activate(actor)
        self.last = FaultyStore(store) if self.around is None else FaultyStore(store, self.around)
        return self.last


class FaultyHsm(LocalHsm):
    """A `LocalHsm` whose ``faulty`` stores can be disturbed."""

    def __init__(self) -> None:
        self.faulty = FaultyStores()
        super().__init__(stores=self.faulty)

    async def run_until_death(self, act: Callable[[HsmService], Awaitable[None]], death: Any) -> bool:
        """Start the HSM and act, in a process that dies at a call of the store; whether it did."""
        bystanders = asyncio.all_tasks()
        self.faulty.around = death

        async def life() -> None:
            await act(await self.start())

        running, dying = asyncio.create_task(life()), asyncio.create_task(death.died.wait())
        await asyncio.wait([running, dying], return_when=asyncio.FIRST_COMPLETED)
        if not death.died.is_set():
            await running
        self.faulty.around = None
        self._alive.clear()
        while tasks := asyncio.all_tasks() - bystanders:
            for task in tasks:
                task.cancel()
            await asyncio.sleep(0)
        return bool(death.died.is_set())


async def wait_rekeyed(hsm: HsmService) -> None:
    """Return when the older key-encryption keys are gone."""
    async with asyncio.timeout(20):
        while (await hsm.seal_status()).older_keks:  # noqa: ASYNC110 - it has no event of its own
            await asyncio.sleep(0)
    await hsm._records.engine.settled(ROOT)

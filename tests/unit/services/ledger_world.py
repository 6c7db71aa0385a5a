"""A ledger, and all around it that outlives its process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from anya_actors.adapters.memory.event_bus import MemoryEventBus
from anya_actors.adapters.memory.state_store import MemoryStateStores
from anya_actors.domain.machine import (
    Command,
    Event,
)
from anya_actors.ports.event_bus import Delivered
from anya_actors.ports.state_store import (
    StateStore,
)
from anya_actors.services.durable import DurableEngine
from anya_actors.testing.clock import ManualClock
from anya_actors.testing.ledger import RULES, Account, IssueReceipt, ReceiptIssued
from tests.unit.services.faulty_store import (
    Around,
    FaultyStore,
)

ACTOR = "ledger/main"


class Chance:
    """No jitter."""

    def token_bytes(self, size: int) -> bytes:
        return bytes(size)

    def uniform(self) -> float:
        return 0.0


class World:
    """All that outlives the process: stores, the witness, the bus, time."""

    def __init__(self) -> None:
        self.stores = MemoryStateStores()
        self.clock = ManualClock()
        self.bus = MemoryEventBus()
        self.receipts: dict[str, int] = {}
        self.attempts: list[str] = []
        self.refusals: list[Exception] = []
        self.before_taking: Callable[[], Awaitable[object]] | None = None

    async def perform(self, key: str, command: Command, effect_id: str) -> Event | None:
        assert isinstance(command, IssueReceipt)
        self.attempts.append(effect_id)
        if self.before_taking is not None:
            await self.before_taking()
        if self.refusals:
            raise self.refusals.pop(0)
        assert self.receipts.setdefault(effect_id, command.amount_sat) == command.amount_sat
        return ReceiptIssued()

    async def engine(
        self, around: Around | None = None, bus: object = None
    ) -> DurableEngine[Account, Account]:
        store: StateStore = await self.stores.activate(ACTOR)
        if around is not None:
            store = FaultyStore(store, around)
        return DurableEngine(
            store=store,
            rules=RULES,
            perform=self.perform,
            clock=self.clock,
            randomness=Chance(),
            bus=bus or self.bus,  # type: ignore[arg-type]  # any bus
        )

    async def published(self) -> list[Delivered]:
        return await self.bus.events_after(0, 10_000, 0)


async def quiet() -> None:
    """Let everything run that can."""
    for _ in range(200):
        await asyncio.sleep(0)

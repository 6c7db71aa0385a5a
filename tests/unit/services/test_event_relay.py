"""Committed events reach the bus, in order and once, whatever fails in between."""

from __future__ import annotations

import asyncio

import pytest

from anya_actors.adapters.memory.event_bus import MemoryEventBus
from anya_actors.domain.machine import (
    UnavailableError,
)
from anya_actors.ports.event_bus import Delivered
from anya_actors.ports.state_store import (
    FencedError,
    Recorded,
)
from anya_actors.services.durable import DurableEngine
from anya_actors.services.event_relay import FORGET_EVERY
from anya_actors.testing.ledger import RULES, Deposited, DepositSeen
from tests.unit.services.ledger_world import ACTOR, Chance, World, quiet


class WaywardBus(MemoryEventBus):
    """Fails before taking, or takes and fails to say so."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.faults: dict[int, str] = {}
        self.error: Exception = UnavailableError("the bus", "the coordinator restarts")

    async def publish(self, source: str, events: object) -> int:
        self.calls += 1
        fault = self.faults.get(self.calls)
        if fault == "before":
            raise self.error
        taken = await super().publish(source, events)  # type: ignore[arg-type]  # passed on
        if fault == "after":
            raise self.error
        return taken


def amounts(events: list[Delivered]) -> list[int]:
    seen = [RULES.event.decode(event.event) for event in events]
    return [event.amount_sat for event in seen if isinstance(event, DepositSeen)]


async def test_events_reach_the_bus_in_order_and_once(world: World) -> None:
    engine = await world.engine()
    await engine.resume()
    for n in range(1, 601):
        await engine.handle(f"k{n % 7}", Deposited(n), message_id=f"m{n}")
    await quiet()
    assert amounts(await world.published()) == list(range(1, 601))
    await engine.close()


@pytest.mark.parametrize("error", [UnavailableError("the bus", "away"), FencedError("coordinator/events", 1)])
async def test_a_bus_that_fails_at_times_gets_every_event_once(world: World, error: Exception) -> None:
    # A bus that was itself superseded ended the relay for good.
    bus = WaywardBus()
    bus.error = error
    bus.faults = {1: "before", 2: "after", 4: "after", 5: "before", 6: "before"}
    engine = await world.engine(bus=bus)
    await engine.resume()
    for n in range(1, 21):
        await engine.handle("a", Deposited(n), message_id=f"m{n}")
        await world.clock.advance(0.07)
    await world.clock.advance(60.0)
    assert amounts(await bus.events_after(0, 100, 0)) == list(range(1, 21))
    await engine.close()


async def test_a_relay_that_has_recovered_does_not_remember_old_failures(world: World) -> None:
    # Delays only ever grew: the fortieth failure in a year cost half a minute.
    bus = WaywardBus()
    bus.faults = dict.fromkeys(range(1, 40, 2), "before")
    engine = await world.engine(bus=bus)
    await engine.resume()
    for n in range(1, 21):
        await engine.handle("a", Deposited(n), message_id=f"m{n}")
        await world.clock.advance(0.1)
        assert len(await bus.events_after(0, 100, 0)) == n
    await engine.close()


async def test_published_events_are_dropped_from_the_store_by_and_by(world: World) -> None:
    store = await world.stores.activate(ACTOR)
    engine = DurableEngine(
        store=store, rules=RULES, perform=world.perform, clock=world.clock, randomness=Chance(), bus=world.bus
    )
    await engine.resume()
    await asyncio.gather(
        *(engine.handle(f"k{n}", Deposited(1), message_id=f"m{n}") for n in range(FORGET_EVERY + 10))
    )
    await quiet()
    assert len(await world.published()) == FORGET_EVERY + 10
    assert len(await store.events_after(0, 10_000)) <= 10
    await engine.close()


async def test_without_a_bus_events_stay_in_the_store(world: World) -> None:
    store = await world.stores.activate(ACTOR)
    engine = DurableEngine(
        store=store, rules=RULES, perform=world.perform, clock=world.clock, randomness=Chance()
    )
    await engine.resume()
    await engine.handle("a", Deposited(5), message_id="m")
    assert await store.events_after(0, 10) == [Recorded(1, RULES.event.encode(DepositSeen("a", 5)))]
    await engine.close()

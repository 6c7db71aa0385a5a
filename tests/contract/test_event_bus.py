"""What every `EventBus` promises, over memory and the platform's own durable log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from anya_actors.adapters.memory.event_bus import MemoryEventBus
from anya_actors.adapters.memory.state_store import MemoryStateStores
from anya_actors.ports.event_bus import Delivered, EventBus
from anya_actors.ports.state_store import Recorded
from anya_actors.services.event_log import EventLog
from anya_actors.testing.clock import ManualClock


@pytest.fixture(params=["memory", "event log"])
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[EventBus]:
    if request.param == "memory":
        yield MemoryEventBus()
        return
    log = EventLog(await MemoryStateStores().activate("coordinator"), ManualClock())
    yield log
    await log.close()


def recorded(*sequences: int) -> list[Recorded]:
    return [Recorded(sequence, b"%d" % sequence) for sequence in sequences]


async def test_an_untouched_bus_is_empty(bus: EventBus) -> None:
    assert await bus.last_sequence("a") == 0
    assert await bus.events_after(0, 10, 0.0) == []


async def test_events_come_in_order_with_a_cursor_that_counts_over_all_sources(bus: EventBus) -> None:
    assert await bus.publish("a", recorded(1, 2)) == 2
    assert await bus.publish("b", recorded(1)) == 1
    assert await bus.publish("a", recorded(3)) == 3
    assert await bus.events_after(0, 10, 0.0) == [
        Delivered(1, "a", 1, b"1"),
        Delivered(2, "a", 2, b"2"),
        Delivered(3, "b", 1, b"1"),
        Delivered(4, "a", 3, b"3"),
    ]
    assert [event.cursor for event in await bus.events_after(1, 2, 0.0)] == [2, 3]
    assert await bus.last_sequence("a") == 3


async def test_what_the_bus_already_has_is_taken_once(bus: EventBus) -> None:
    await bus.publish("a", recorded(1, 2))
    assert await bus.publish("a", recorded(1, 2)) == 2
    assert await bus.publish("a", recorded(2, 3)) == 3
    assert await bus.publish("a", []) == 3
    assert [event.source_sequence for event in await bus.events_after(0, 10, 0.0)] == [1, 2, 3]


async def test_rival_publications_of_one_source_leave_no_double(bus: EventBus) -> None:
    await asyncio.gather(*(bus.publish("a", recorded(*range(1, n + 1))) for n in range(1, 20)))
    assert [event.source_sequence for event in await bus.events_after(0, 100, 0.0)] == list(range(1, 20))


async def test_a_reader_who_waits_gets_the_first_event(bus: EventBus) -> None:
    reader = asyncio.create_task(bus.events_after(0, 10, 30.0))
    while not reader.done():
        await asyncio.sleep(0)
        await bus.publish("a", recorded(1))
    assert await reader == [Delivered(1, "a", 1, b"1")]


async def test_a_reader_in_vain_gets_nothing_when_the_time_is_over(bus: EventBus) -> None:
    assert await bus.events_after(5, 10, 0.01) == []

"""The bus as a durable log."""

from __future__ import annotations

import asyncio

import pytest

from anya_actors.adapters.memory.state_store import MemoryStateStores
from anya_actors.domain.machine import InvalidInputError, SystemEvent, UnavailableError
from anya_actors.domain.supervision.events import SUPERVISION_EVENT, ActorFailed
from anya_actors.ports.event_bus import Delivered
from anya_actors.ports.state_store import FencedError, Recorded, StateStore
from anya_actors.services.event_log import EventLog
from anya_actors.testing.clock import ManualClock
from tests.unit.services.faulty_store import FaultyStore, losing_the_answer, refusing

ACTOR = "coordinator/events"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def stores() -> MemoryStateStores:
    return MemoryStateStores()


@pytest.fixture
async def store(stores: MemoryStateStores) -> StateStore:
    return await stores.activate(ACTOR)


@pytest.fixture
def log(store: StateStore, clock: ManualClock) -> EventLog:
    return EventLog(store, clock, keep=10)


def events(first: int, last: int) -> list[Recorded]:
    return [Recorded(number, b"e%d" % number) for number in range(first, last + 1)]


def numbers(delivered: list[Delivered]) -> list[int]:
    return [event.source_sequence for event in delivered]


async def test_events_are_delivered_in_order_with_a_cursor_over_the_whole_bus(log: EventLog) -> None:
    assert await log.publish("a/1", events(1, 2)) == 2
    assert await log.publish("b/1", events(1, 1)) == 1
    assert await log.publish("a/1", events(3, 3)) == 3
    assert await log.events_after(0, 10, 0) == [
        Delivered(1, "a/1", 1, b"e1"),
        Delivered(2, "a/1", 2, b"e2"),
        Delivered(3, "b/1", 1, b"e1"),
        Delivered(4, "a/1", 3, b"e3"),
    ]
    assert [event.cursor for event in await log.events_after(2, 1, 0)] == [3]
    assert await log.events_after(4, 10, 0) == []
    assert (await log.last_sequence("a/1"), await log.last_sequence("nobody/1")) == (3, 0)


async def test_what_is_published_again_is_taken_once(log: EventLog) -> None:
    await log.publish("a/1", events(1, 3))
    assert await log.publish("a/1", events(1, 3)) == 3
    assert await log.publish("a/1", events(2, 5)) == 5
    assert await log.publish("a/1", events(1, 2)) == 5
    assert await log.publish("a/1", []) == 5
    assert numbers(await log.events_after(0, 10, 0)) == [1, 2, 3, 4, 5]


async def test_publications_at_once_are_each_taken_once(log: EventLog) -> None:
    await asyncio.gather(*(log.publish("a/1", events(1, n)) for n in (5, 3, 5, 1, 4)))
    assert numbers(await log.events_after(0, 10, 0)) == [1, 2, 3, 4, 5]


async def test_sources_at_once_do_not_disturb_each_other(log: EventLog) -> None:
    await asyncio.gather(*(log.publish(f"a/{n}", events(1, 3)) for n in range(20)))
    delivered = await log.events_after(0, 100, 0)
    assert [event.cursor for event in delivered] == list(range(1, 61))
    for n in range(20):
        assert numbers([event for event in delivered if event.source == f"a/{n}"]) == [1, 2, 3]


@pytest.mark.parametrize("order", [(2, 1), (1, 1), (1, 3, 2)])
async def test_events_out_of_order_are_refused_and_none_is_taken(
    log: EventLog, order: tuple[int, ...]
) -> None:
    with pytest.raises(InvalidInputError, match="out of order"):
        await log.publish("a/1", [Recorded(number, b"") for number in order])
    assert await log.last_sequence("a/1") == 0


async def test_everything_is_there_after_a_restart(
    log: EventLog, stores: MemoryStateStores, clock: ManualClock
) -> None:
    await log.publish("a/1", events(1, 3))
    successor = EventLog(await stores.activate(ACTOR), clock)
    assert await successor.publish("a/1", events(1, 4)) == 4
    assert numbers(await successor.events_after(1, 10, 0)) == [2, 3, 4]
    with pytest.raises(FencedError):
        await log.publish("a/1", events(5, 5))


@pytest.mark.parametrize("disturbance", [refusing("commit"), losing_the_answer("commit")])
async def test_a_publication_that_failed_may_be_repeated(
    store: StateStore, clock: ManualClock, disturbance: object
) -> None:
    log = EventLog(FaultyStore(store, disturbance), clock)  # type: ignore[arg-type]  # a disturbance
    with pytest.raises(UnavailableError):
        await log.publish("a/1", events(1, 2))
    assert await log.publish("a/1", events(1, 2)) == 2
    assert numbers(await log.events_after(0, 10, 0)) == [1, 2]


async def test_the_logs_own_process_announces_under_numbers_of_its_own(log: EventLog) -> None:
    for n in range(3):
        await log.announce("coordinator", SUPERVISION_EVENT, ActorFailed(f"a/{n}", "died"))
    delivered = await log.events_after(0, 10, 0)
    assert numbers(delivered) == [1, 2, 3]
    seen: list[SystemEvent] = [SUPERVISION_EVENT.decode(event.event) for event in delivered]
    assert seen[2] == ActorFailed("a/2", "died")


# -- waiting ----------------------------------------------------------------------------------------


async def test_who_waits_gets_the_first_event_as_soon_as_it_is_there(log: EventLog) -> None:
    waiting = [asyncio.create_task(log.events_after(cursor, 10, 30.0)) for cursor in (0, 1)]
    for _ in range(5):
        await asyncio.sleep(0)
    await log.publish("a/1", events(1, 2))
    first, second = await asyncio.gather(*waiting)
    assert (numbers(first), numbers(second)) == ([1, 2], [2])


async def test_who_waits_for_nothing_gets_nothing_in_the_end(log: EventLog) -> None:
    assert await log.events_after(0, 10, 0.01) == []


async def test_who_waits_learns_of_an_event_whose_publisher_never_did(
    store: StateStore, clock: ManualClock
) -> None:
    # The commit happened and its answer was lost: readers slept on until the next event.
    log = EventLog(FaultyStore(store, losing_the_answer("commit")), clock)
    waiting = asyncio.create_task(log.events_after(0, 10, 30.0))
    for _ in range(5):
        await asyncio.sleep(0)
    with pytest.raises(UnavailableError):
        await log.publish("a/1", events(1, 1))
    assert numbers(await asyncio.wait_for(waiting, 60)) == [1]


@pytest.mark.parametrize(("cursor", "limit"), [(-1, 1), (0, 0), (0, -5)])
async def test_a_cursor_or_limit_that_makes_no_sense_is_refused(
    log: EventLog, cursor: int, limit: int
) -> None:
    with pytest.raises(InvalidInputError, match="cursor or limit"):
        await log.events_after(cursor, limit, 0)


# -- keeping ----------------------------------------------------------------------------------------


async def test_the_head_is_the_newest_events_cursor(
    log: EventLog, stores: MemoryStateStores, clock: ManualClock
) -> None:
    assert await log.head() == 0
    await log.publish("a/1", events(1, 2500))
    assert await log.head() == 2500
    await log.publish("a/1", events(2501, 2501))
    assert await log.head() == 2501
    assert await EventLog(await stores.activate(ACTOR), clock).head() == 2501


async def test_only_the_newest_events_are_kept_and_cursors_go_on(
    log: EventLog, stores: MemoryStateStores, clock: ManualClock
) -> None:
    await log.publish("a/1", events(1, 25))
    await log.forget_old()
    assert numbers(await log.events_after(0, 100, 0)) == list(range(16, 26))
    successor = EventLog(await stores.activate(ACTOR), clock, keep=10)
    await successor.publish("a/1", events(26, 26))
    assert [event.cursor for event in await successor.events_after(24, 10, 0)] == [25, 26]
    assert await successor.head() == 26


async def test_fewer_events_than_are_kept_are_left_alone(log: EventLog) -> None:
    await log.publish("a/1", events(1, 10))
    await log.forget_old()
    assert len(await log.events_after(0, 100, 0)) == 10


async def test_a_publication_is_taken_once_even_when_its_id_is_forgotten(
    log: EventLog, clock: ManualClock
) -> None:
    await log.publish("a/1", events(1, 3))
    await clock.advance(3601)
    await log.forget_old()
    assert await log.publish("a/1", events(1, 3)) == 3
    assert len(await log.events_after(0, 100, 0)) == 3


async def test_a_closed_log_says_so(log: EventLog) -> None:
    await log.close()
    with pytest.raises(UnavailableError, match="closed"):
        await log.publish("a/1", events(1, 1))

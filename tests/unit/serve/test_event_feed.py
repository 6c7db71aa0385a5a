"""One reader serves all listeners; each resumes by its cursor, misses nothing and costs no queue."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from anya_actors.domain.machine import InvalidInputError, UnavailableError
from anya_actors.ports.event_bus import Delivered
from anya_actors.serve.errors import TooManyListenersError
from anya_actors.serve.event_feed import EventFeed, feed_item


@pytest.fixture
def feed(platform: Any) -> EventFeed:
    return EventFeed(platform.actors, platform.clock, buffer=4, clients=2)


async def read(feed: EventFeed, cursor: int, until: int) -> list[int]:
    """The cursors after ``cursor`` up to ``until``."""
    seen: list[int] = []
    while cursor < until:
        items = await feed.events_after(cursor)
        seen += [item.cursor for item in items]
        cursor = seen[-1]
    return seen


def test_an_event_is_shown_without_knowing_its_class(platform: Any) -> None:
    event = json.loads(feed_item(Delivered(7, "x/y", 1, b"\x92\x01\x81\xa4type\xa1A")).json)
    assert event == {"cursor": 7, "source": "x/y", "event": {"type": "A"}}


def test_bytes_are_shown_in_hex_at_any_depth() -> None:
    record = b"\x92\x01\x82\xa4type\xa1A\xa1b\x91\xc4\x02\xca\xfe"
    assert json.loads(feed_item(Delivered(1, "s", 1, record)).json)["event"]["b"] == ["cafe"]


@pytest.mark.parametrize("record", [b"", b"\xff", b"\x92\x01", b"not msgpack at all"])
def test_a_damaged_record_does_not_stop_those_behind_it(record: bytes) -> None:
    event = json.loads(feed_item(Delivered(1, "s", 1, record)).json)["event"]
    assert event == {"type": "Unreadable", "record": record.hex()}


async def test_a_listener_without_a_cursor_gets_what_comes_from_now_on(
    platform: Any, feed: EventFeed
) -> None:
    await platform.coordinator.publish(3)
    async with feed.listen(None) as cursor:
        assert cursor == 3
        await platform.coordinator.publish()
        assert [item.cursor for item in await feed.events_after(cursor)] == [4]


async def test_a_listener_resumes_after_its_cursor_however_far_behind(platform: Any, feed: EventFeed) -> None:
    await platform.coordinator.publish(600)
    async with feed.listen(2) as cursor:
        assert await read(feed, cursor, 600) == list(range(3, 601))


async def test_a_listener_that_falls_out_of_the_ring_misses_nothing(platform: Any, feed: EventFeed) -> None:
    async with feed.listen(None) as cursor, feed.listen(None) as fast:
        await platform.coordinator.publish(10)
        assert await read(feed, fast, 10) == list(range(1, 11))
        assert len(feed._ring) == 4
        assert await read(feed, cursor, 10) == list(range(1, 11))


async def test_listeners_share_one_reader(platform: Any, feed: EventFeed) -> None:
    calls: list[tuple[int, float]] = []
    ask = platform.coordinator.events_after

    async def counted(cursor: int, limit: int, wait_s: float) -> Any:
        calls.append((cursor, wait_s))
        return await ask(cursor, limit, wait_s)

    platform.coordinator.events_after = counted
    async with feed.listen(None) as one, feed.listen(None) as two:
        for expected in range(1, 4):
            await platform.coordinator.publish()
            assert await read(feed, one, expected) == [expected]
            assert await read(feed, two, expected) == [expected]
            one = two = expected
    assert len(calls) <= 4
    assert all(wait_s > 0 for _, wait_s in calls)


async def test_nobody_listening_costs_nothing(platform: Any, feed: EventFeed) -> None:
    async with feed.listen(None):
        assert feed.listeners == 1
    assert feed.listeners == 0
    reader = feed._reader
    assert reader is not None
    await asyncio.sleep(0)
    await platform.coordinator.publish()  # answers the question that is under way
    await reader


async def test_listeners_that_come_and_go_leave_no_questions_behind(platform: Any, feed: EventFeed) -> None:
    # A question that is broken off here goes on in the coordinator, for as long as it was to wait.
    waits: list[float] = []
    ask = platform.coordinator.events_after

    async def counted(cursor: int, limit: int, wait_s: float) -> Any:
        waits.append(wait_s)
        return await ask(cursor, limit, wait_s)

    platform.coordinator.events_after = counted
    for _ in range(100):
        async with feed.listen(None):
            await asyncio.sleep(0)
    assert len(waits) <= 1
    async with feed.listen(None) as cursor:
        await platform.coordinator.publish()
        assert [item.cursor for item in await feed.events_after(cursor)] == [1]


async def test_there_are_only_so_many_places(feed: EventFeed) -> None:
    async with feed.listen(None), feed.listen(None):
        with pytest.raises(TooManyListenersError):
            async with feed.listen(None):
                pass
    async with feed.listen(None):
        assert feed.listeners == 1


async def test_a_cursor_that_the_bus_never_gave_is_refused(platform: Any, feed: EventFeed) -> None:
    await platform.coordinator.publish(2)
    with pytest.raises(InvalidInputError):
        async with feed.listen(3):
            pass


async def test_a_cursor_that_another_replica_gave_is_taken(platform: Any, feed: EventFeed) -> None:
    async with feed.listen(None):
        await platform.coordinator.publish(2)  # the reader has not run yet
        async with feed.listen(2) as cursor:
            assert cursor == 2


async def test_a_bus_that_fails_is_asked_again(platform: Any, feed: EventFeed) -> None:
    async with feed.listen(None) as cursor:
        await platform.coordinator.publish()
        assert await read(feed, cursor, 1) == [1]
        platform.actors.remove("coordinator")
        await platform.coordinator.publish()  # ends the question that may be under way
        await platform.clock.wait_sleepers(1)
        platform.actors.place("coordinator", platform.coordinator)
        await platform.clock.advance(2.0)
        assert await read(feed, 1, 2) == [2]


async def test_without_a_bus_nobody_can_listen(platform: Any, feed: EventFeed) -> None:
    class Down:
        async def events_head(self) -> int:
            raise UnavailableError("coordinator", "it restarts")

    platform.actors.place("coordinator", Down())
    with pytest.raises(UnavailableError):
        async with feed.listen(None):
            pass
    assert feed.listeners == 0


async def test_closing_ends_every_listener(feed: EventFeed) -> None:
    async with feed.listen(None) as cursor:
        waiting = asyncio.ensure_future(feed.events_after(cursor))
        await asyncio.sleep(0)
        await feed.close()
        assert await waiting == []
    with pytest.raises(UnavailableError):
        async with feed.listen(None):
            pass

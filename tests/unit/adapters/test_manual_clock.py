"""The clock that tests move by hand."""

from __future__ import annotations

import asyncio

from anya_actors.testing.clock import ManualClock


async def test_time_stands_still_until_it_is_advanced() -> None:
    clock = ManualClock(now_unix_ms=5_000)
    assert (clock.now_unix_ms(), clock.monotonic_s()) == (5_000, 0.0)
    await clock.advance(1.5)
    assert (clock.now_unix_ms(), clock.monotonic_s()) == (6_500, 1.5)


async def test_sleepers_wake_in_the_order_of_their_deadlines_each_at_its_own_time() -> None:
    clock, woken = ManualClock(), list[tuple[str, float]]()

    async def sleep(name: str, *delays_s: float) -> None:
        for delay_s in delays_s:
            await clock.sleep(delay_s)
            woken.append((name, clock.monotonic_s()))

    tasks = [asyncio.create_task(sleep("late", 3)), asyncio.create_task(sleep("often", 1, 1, 5))]
    await clock.wait_sleepers(2)
    await clock.advance(4)
    assert woken == [("often", 1.0), ("often", 2.0), ("late", 3.0)]
    assert clock.sleepers > 0
    await clock.advance(3)
    assert woken[-1] == ("often", 7.0)
    await asyncio.gather(*tasks)


async def test_a_cancelled_sleep_is_forgotten() -> None:
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(1))
    await clock.wait_sleepers(1)
    task.cancel()
    await clock.advance(2)
    assert task.cancelled()
    assert clock.sleepers == 0

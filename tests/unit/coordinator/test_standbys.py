"""Critical actors keep a prepared process at hand."""

from __future__ import annotations

import asyncio

import pytest

from anya_actors.domain.machine import UnavailableError
from tests.unit.coordinator.platform import SHORT_S, Platform, child, quiet, soon
from tests.unit.services.faulty_store import FaultyStore, Gate

CRITICAL = child("w/a", critical=True)


async def test_a_standby_takes_over_and_another_is_kept() -> None:
    platform = Platform(CRITICAL)
    supervisor = await platform.boot()
    assert (platform.labels(), supervisor.standbys()) == (["w/a#1", "w/a#2"], {"w/a"})
    for number in (2, 3, 4):
        platform.processes.serving("w/a").die()
        await quiet()
        assert (await soon(platform.locate("w/a"))).label == f"w/a#{number}"
        await quiet()
        assert platform.labels() == [f"w/a#{number}", f"w/a#{number + 1}"]
    assert platform.processes.twins == []


async def test_a_standby_is_prepared_and_holds_no_store() -> None:
    platform = Platform(CRITICAL)
    await platform.boot()
    assert platform.processes.steps("prepare", "activate") == ["activate w/a#1", "prepare w/a#2"]
    assert not platform.processes.living("w/a")[1].serves


async def test_a_standby_that_dies_is_replaced() -> None:
    platform = Platform(CRITICAL)
    supervisor = await platform.boot()
    platform.processes.living("w/a")[1].die()
    await quiet()
    assert (platform.labels(), supervisor.standbys()) == (["w/a#1", "w/a#3"], {"w/a"})


@pytest.mark.parametrize("step", ["launch", "prepare"])
async def test_a_standby_that_cannot_come_up_is_tried_again_and_delays_no_restart(step: str) -> None:
    # One failure, and the actor had no standby until its next restart.
    platform = Platform(CRITICAL)
    if step == "launch":
        await platform.boot()
        platform.processes.fail("w/a", "launch", *[UnavailableError("memory", "there is none")] * 2)
        platform.processes.living("w/a")[1].die()
    else:
        platform.processes.fail("w/a", "prepare", *[UnavailableError("memory", "there is none")] * 2)
        await platform.boot()
    await quiet()
    supervisor = platform.supervisor
    assert (len(platform.labels()), supervisor.standbys()) == (1, set())
    await platform.clock.advance(0.31)
    assert (len(platform.labels()), supervisor.standbys()) == (2, {"w/a"})


async def test_an_actor_that_dies_before_its_standby_is_ready_starts_without_it() -> None:
    platform = Platform(CRITICAL)
    hold = platform.processes.hold("w/a", "prepare")
    supervisor = await platform.boot()
    await soon(hold.reached.wait())
    platform.processes.serving("w/a").die()
    await quiet()
    assert (await soon(platform.locate("w/a"))).label == "w/a#3"
    platform.processes.let_go("w/a", "prepare")
    await quiet()
    assert (platform.labels(), supervisor.standbys()) == (["w/a#2", "w/a#3"], {"w/a"})


async def test_a_dead_standby_that_nobody_noticed_costs_one_try() -> None:
    platform = Platform(CRITICAL)
    await platform.boot()
    serving, standby = platform.processes.living("w/a")
    standby.die()
    serving.die()
    await quiet()
    await platform.clock.advance(0.1)
    await soon(platform.locate("w/a"))
    await quiet()
    assert len(platform.labels()) == 2
    assert platform.processes.twins == []


async def test_a_standby_is_adopted_and_watched_by_the_next_supervisor() -> None:
    # It was adopted, but nobody watched it: the restart that needed it found it dead.
    platform = Platform(CRITICAL)
    await platform.boot()
    await platform.crash()
    supervisor = await platform.boot()
    assert (platform.labels(), supervisor.standbys()) == (["w/a#1", "w/a#2"], {"w/a"})
    platform.processes.living("w/a")[1].die()
    await quiet()
    assert (platform.labels(), supervisor.standbys()) == (["w/a#1", "w/a#3"], {"w/a"})


async def test_a_standby_that_died_with_the_supervisor_is_replaced_by_the_next_one() -> None:
    platform = Platform(CRITICAL)
    await platform.boot()
    await platform.crash()
    platform.processes.living("w/a")[1].die()
    supervisor = await platform.boot()
    assert (platform.labels(), supervisor.standbys()) == (["w/a#1", "w/a#3"], {"w/a"})


@pytest.mark.parametrize("step", ["launch", "prepare"])
async def test_stopping_while_a_standby_comes_up_leaves_no_process(step: str) -> None:
    platform = Platform(CRITICAL)
    if step == "prepare":
        hold = platform.processes.hold("w/a", step)
        supervisor = await platform.boot()
    else:
        supervisor = await platform.boot()
        hold = platform.processes.hold("w/a", step)
        platform.processes.living("w/a")[1].die()
    await soon(hold.reached.wait())
    stopping = asyncio.create_task(supervisor.stop())
    await quiet()
    platform.processes.let_go("w/a", step)
    await soon(stopping)
    assert platform.labels() == []


async def test_a_promotion_that_is_broken_off_leaves_no_process() -> None:
    # The standby was taken out of the book and waited for the journal; the stop forgot it there.
    platform = Platform(CRITICAL)
    stores: list[FaultyStore] = []

    def wrap(store: object) -> FaultyStore:
        stores.append(FaultyStore(store))  # type: ignore[arg-type]  # a store
        return stores[0]

    supervisor = await platform.boot(wrap=wrap)
    gate = Gate("commit")
    stores[0].around = gate
    platform.processes.serving("w/a").die()
    await soon(gate.reached.wait())
    stopping = asyncio.create_task(supervisor.stop())
    await quiet()
    gate.opened.set()
    await soon(stopping)
    assert platform.labels() == []


async def test_a_standby_that_hangs_while_it_prepares_is_replaced() -> None:
    platform = Platform(child("w/a", critical=True, start_timeout_s=SHORT_S))
    hold = platform.processes.hold("w/a", "prepare")
    supervisor = await platform.boot()
    await soon(hold.reached.wait())
    await soon(platform.clock.wait_sleepers(2))  # the watch over health, and the next try
    platform.processes.let_go("w/a", "prepare")
    await platform.clock.advance(0.1)
    assert (platform.labels(), supervisor.standbys()) == (["w/a#1", "w/a#3"], {"w/a"})


async def test_a_standby_that_is_being_buried_when_the_platform_stops_gets_no_successor() -> None:
    # Its funeral ended after the stop had counted the standbys, and then asked for another one.
    platform = Platform(CRITICAL)
    supervisor = await platform.boot()
    hold = platform.processes.hold("w/a", "kill")
    platform.processes.living("w/a")[1].die()
    await soon(hold.reached.wait())
    platform.processes.hold("w/a", "kill").released.set()  # every later one ends at once
    await soon(supervisor.stop())
    hold.released.set()
    await quiet()
    assert platform.labels() == []

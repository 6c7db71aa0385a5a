"""A supervisor that dies, and what the next one makes of what it finds."""

from __future__ import annotations

import asyncio

import pytest

from anya_actors.coordinator.kinds import Kinds
from anya_actors.domain.supervision.events import ActorStarted
from anya_actors.domain.supervision.spec import Strategy
from anya_actors.domain.supervision.tree import Phase, Status
from tests.unit.coordinator.platform import Platform, child, quiet, soon


async def test_the_living_are_adopted_and_nothing_is_started_twice() -> None:
    platform = Platform(child("w/a"), child("w/b"))
    await platform.boot()
    await platform.locate("v/x")
    before = platform.labels()
    await platform.crash()
    supervisor = await platform.boot()
    assert platform.labels() == before == ["v/x#1", "w/a#1", "w/b#1"]
    assert {c.status for c in supervisor.tree.children.values()} == {Status.RUNNING}
    assert await soon(platform.locate("v/x")) is platform.processes.serving("v/x")
    assert {event.epoch for event in platform.told if isinstance(event, ActorStarted)} == {1}


async def test_an_adopted_actor_is_watched_and_keeps_its_count_of_restarts() -> None:
    platform = Platform(child("w/a"))
    await platform.boot()
    platform.processes.serving("w/a").die()
    await quiet()
    await platform.crash()
    await platform.boot()
    platform.processes.serving("w/a").die()
    await quiet()
    assert platform.told[-1] == ActorStarted("w/a", 3, 1003, 2)
    assert platform.labels() == ["w/a#3"]


async def test_those_that_died_unwatched_are_started_again_virtual_ones_too() -> None:
    # A virtual actor that died together with the coordinator stayed dead until somebody called it,
    # and whatever it owed waited with it.
    platform = Platform(child("w/a"), child("w/b"))
    await platform.boot()
    await platform.locate("v/x")
    await platform.crash()
    for actor in ("w/a", "v/x"):
        platform.processes.serving(actor).die()
    await platform.boot()
    assert platform.labels() == ["v/x#2", "w/a#2", "w/b#1"]
    assert platform.processes.twins == []


async def test_a_temporary_one_that_died_unwatched_is_not_started_again() -> None:
    platform = Platform()
    await platform.boot()
    await platform.locate("t/dead")
    living = await platform.locate("t/living")
    await platform.crash()
    platform.processes.serving("t/dead").die()
    supervisor = await platform.boot()
    assert list(supervisor.tree.children) == ["t/living"]
    living.die()
    await quiet()
    assert platform.labels() == []


async def test_a_virtual_actor_that_was_passivated_stays_away() -> None:
    platform = Platform()
    supervisor = await platform.boot()
    await platform.locate("v/x")
    supervisor.remove("v/x")
    await quiet()
    await platform.crash()
    supervisor = await platform.boot()
    assert (platform.labels(), list(supervisor.tree.children)) == ([], [])
    assert (await soon(platform.locate("v/x"))).label == "v/x#2"


async def test_dependants_of_one_that_died_unwatched_are_restarted_with_it() -> None:
    platform = Platform(child("w/a"), child("w/b"), strategy=Strategy.REST_FOR_ONE)
    await platform.boot()
    await platform.crash()
    platform.processes.serving("w/a").die()
    await platform.boot()
    assert platform.labels() == ["w/a#2", "w/b#2"]
    assert platform.processes.twins == []


async def test_strays_that_no_journal_names_are_killed() -> None:
    platform = Platform(child("w/a"))
    await platform.boot()
    await platform.processes.launch("w/a", "w/a#99")
    await platform.processes.launch("old/x", "old/x#1")
    await platform.crash()
    await platform.boot()
    assert platform.labels() == ["w/a#1"]


@pytest.mark.parametrize("step", ["launch", "activate"])
async def test_a_start_that_the_crash_broke_off_has_no_twin(step: str) -> None:
    platform = Platform(child("w/a"))
    hold = platform.processes.hold("w/a", step)
    await platform.boot()
    await soon(hold.reached.wait())
    await platform.crash()
    platform.processes.let_go("w/a", step)
    await quiet()
    await platform.boot()
    assert platform.labels() == ["w/a#2"]
    assert platform.processes.twins == []


async def test_one_that_cannot_say_who_it_is_is_killed_and_started_anew() -> None:
    platform = Platform(child("w/a"), child("w/b"))
    await platform.boot()
    await platform.crash()
    platform.processes.fail("w/a", "identity", RuntimeError("it is confused"))
    platform.processes.hold("w/b", "identity")
    await platform.boot()
    assert platform.labels() == ["w/a#2", "w/b#2"]


async def test_a_kind_that_this_version_knows_no_more_is_ended_and_boots_nonetheless() -> None:
    platform = Platform(child("w/a"))
    await platform.boot()
    await platform.locate("v/x")
    await platform.crash()
    platform.kinds = Kinds({})
    await platform.boot()
    assert platform.labels() == ["w/a#1"]


async def test_crashes_in_the_middle_of_anything_leave_one_process_each() -> None:
    for turns in range(0, 60, 3):
        platform = Platform(child("w/a", critical=True), child("w/b"), strategy=Strategy.REST_FOR_ONE)
        await platform.boot()
        for _ in range(3):
            platform.processes.serving("w/a").die()
            for _ in range(turns):
                await asyncio.sleep(0)
            await platform.crash()
            await platform.boot()
            await soon(asyncio.gather(platform.locate("w/a"), platform.locate("w/b")))
            await quiet()
        assert platform.processes.twins == [], turns
        actors = [label.split("#")[0] for label in platform.labels()]
        assert actors == ["w/a", "w/a", "w/b"], turns  # with one standby


async def test_a_superseded_supervisor_stops_nothing_of_its_successors() -> None:
    # It met its fencing as a failed start; after a few of those it would have given up, and have
    # stopped the children that its successor had adopted.
    platform = Platform(child("w/a"), child("w/b"), intensity=3)
    stale = await platform.boot()
    await platform.boot()  # elsewhere, while the first one still runs
    platform.processes.serving("w/a").die()
    for _ in range(10):
        await platform.clock.advance(0.5)
    assert platform.labels() == ["w/a#2", "w/b#1"]
    assert platform.processes.twins == []
    assert stale.tree.phase is Phase.RUNNING


async def test_after_a_clean_stop_the_next_start_finds_nothing_to_adopt() -> None:
    platform = Platform(child("w/a", critical=True))
    supervisor = await platform.boot()
    await platform.locate("v/x")
    await soon(supervisor.stop())
    platform.processes.story.clear()
    await platform.boot()
    assert not platform.processes.steps("kill")
    assert platform.labels() == ["w/a#3", "w/a#4"]

"""Starting, finding, restarting and stopping actors, over processes in memory."""

from __future__ import annotations

import asyncio

import pytest

from anya_actors.coordinator.processes import Health, StartFailedError
from anya_actors.domain.machine import InvalidInputError, OverloadedError, UnavailableError
from anya_actors.domain.supervision.events import ActorFailed, ActorStarted, SupervisorGaveUp
from anya_actors.domain.supervision.spec import Strategy
from anya_actors.domain.supervision.tree import Phase, Status
from anya_actors.ports.actors import UnknownActorError
from tests.unit.coordinator.platform import SHORT_S, Platform, child, quiet, soon
from tests.unit.services.faulty_store import FaultyStore, losing_the_answer, refusing

BROKEN = InvalidInputError("settings", "they make no sense")


# -- finding ----------------------------------------------------------------------------------------


async def test_a_warm_actor_is_found_where_it_serves() -> None:
    platform = Platform(child("w/a"), child("w/b"))
    supervisor = await platform.boot()
    assert await platform.locate("w/a") is platform.processes.serving("w/a")
    assert set(supervisor.active()) == {"w/a", "w/b"}
    assert platform.told == [
        ActorStarted("w/a", 1, 1001, 0),
        ActorStarted("w/b", 1, 1002, 0),
    ]


async def test_who_looks_for_an_actor_that_restarts_waits_and_gets_the_successor() -> None:
    platform = Platform(child("w/a"))
    await platform.boot()
    first = await platform.locate("w/a")
    hold = platform.processes.hold("w/a", "activate")
    first.die()
    await soon(hold.reached.wait())
    waiting = [asyncio.create_task(platform.locate("w/a")) for _ in range(3)]
    await quiet()
    assert not any(task.done() for task in waiting)
    platform.processes.let_go("w/a", "activate")
    found = await soon(asyncio.gather(*waiting))
    assert set(found) == {platform.processes.serving("w/a")}
    assert found[0] is not first
    assert platform.told[-1] == ActorStarted("w/a", 2, 1002, 1)


async def test_who_waits_too_long_is_told_how_it_stands() -> None:
    platform = Platform(child("w/a"))
    platform.processes.hold("w/a", "activate")
    await platform.boot()
    with pytest.raises(UnavailableError, match="it is starting"):
        await platform.locate("w/a", SHORT_S)
    platform.processes.let_go("w/a", "activate")
    await soon(platform.locate("w/a"))


@pytest.mark.parametrize("actor", ["none/x", "v", "v/", "v/../x", "/", "", "v/" + "x" * 129, "s/x/y"])
async def test_an_unknown_kind_or_key_is_refused(actor: str) -> None:
    platform = Platform()
    await platform.boot()
    with pytest.raises(UnknownActorError):
        await platform.locate(actor)


# -- virtual actors ---------------------------------------------------------------------------------


async def test_the_first_call_starts_a_virtual_actor_once_for_all_who_call() -> None:
    platform = Platform()
    await platform.boot()
    found = await soon(asyncio.gather(*(platform.locate("v/x") for _ in range(10))))
    assert set(found) == {platform.processes.serving("v/x")}
    assert platform.processes.steps("launch") == ["launch v/x#1"]


async def test_more_actors_of_a_kind_than_it_may_have_are_refused_until_one_leaves() -> None:
    platform = Platform()
    supervisor = await platform.boot()
    for key in "xyz":
        await platform.locate(f"v/{key}")
    with pytest.raises(OverloadedError) as told:
        await platform.locate("v/more")
    assert told.value.args[:2] == ("v/*", 3)
    await platform.locate("w/other")
    supervisor.remove("v/x")
    await quiet()
    await platform.locate("v/more")


async def test_an_idle_virtual_actor_is_stopped_and_comes_back_when_called() -> None:
    platform = Platform()
    supervisor = await platform.boot()
    first = await platform.locate("v/x")
    first.health = Health(idle_s=60.0, in_flight=1)
    await platform.clock.advance(5.0)
    assert first.alive
    first.health = Health(idle_s=59.9, in_flight=0)
    await platform.clock.advance(5.0)
    assert first.alive
    first.health = Health(idle_s=60.0, in_flight=0)
    await platform.clock.advance(5.0)
    assert not first.alive
    assert platform.processes.steps("stop") == ["stop v/x#1"]
    assert "v/x" not in supervisor.tree.children
    second = await soon(platform.locate("v/x"))
    assert (second.label, platform.told[-1]) == ("v/x#2", ActorStarted("v/x", 2, 1002, 0))


async def test_a_warm_actor_is_never_passivated() -> None:
    platform = Platform(child("w/a"))
    supervisor = await platform.boot()
    process = await platform.locate("w/a")
    process.health = Health(idle_s=1e6, in_flight=0)
    await platform.clock.advance(50.0)
    supervisor.remove("w/a")
    await quiet()
    assert process.alive


async def test_a_call_to_an_actor_that_is_leaving_brings_it_back() -> None:
    # It waited for a start that nobody had asked for, until it timed out.
    platform = Platform()
    supervisor = await platform.boot()
    await platform.locate("v/x")
    hold = platform.processes.hold("v/x", "stop")
    supervisor.remove("v/x")
    await soon(hold.reached.wait())
    waiting = asyncio.create_task(platform.locate("v/x"))
    await quiet()
    assert not waiting.done()
    platform.processes.let_go("v/x", "stop")
    assert (await soon(waiting)).label == "v/x#2"
    assert platform.processes.twins == []


async def test_a_virtual_actor_that_cannot_start_the_first_time_tells_its_caller_why() -> None:
    platform = Platform()
    supervisor = await platform.boot()
    platform.processes.fail("v/x", "activate", BROKEN, ValueError("a secret's neighbour"))
    with pytest.raises(InvalidInputError) as told:
        await soon(platform.locate("v/x"))
    assert told.value is BROKEN
    await quiet()
    assert (platform.labels(), list(supervisor.tree.children)) == ([], [])
    with pytest.raises(StartFailedError):
        await soon(platform.locate("v/x"))
    await quiet()
    assert (await soon(platform.locate("v/x"))).label == "v/x#3"


async def test_a_virtual_actor_that_has_served_is_restarted_like_any_other() -> None:
    platform = Platform()
    await platform.boot()
    first = await platform.locate("v/x")
    platform.processes.fail("v/x", "activate", BROKEN)
    first.die()
    await quiet()
    waiting = asyncio.create_task(platform.locate("v/x"))
    await platform.clock.advance(0.1)
    assert (await soon(waiting)).label == "v/x#3"


async def test_a_temporary_virtual_actor_that_dies_stays_away_until_it_is_called_again() -> None:
    # HSM sessions: their keys go with their process, so restarting them was for nothing, and ten
    # deaths in a minute took the HSM's whole supervisor down.
    platform = Platform(intensity=0)
    supervisor = await platform.boot()
    for number in (1, 2, 3):
        process = await soon(platform.locate("t/x"))
        assert process.label == f"t/x#{number}"
        process.die()
        await quiet()
        assert (platform.labels(), list(supervisor.tree.children)) == ([], [])


# -- starts that fail ---------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["launch", "activate"])
async def test_a_start_that_fails_is_tried_again_with_growing_delays(step: str) -> None:
    platform = Platform(child("w/a"))
    platform.processes.fail("w/a", step, BROKEN, BROKEN, BROKEN)
    supervisor = await platform.boot()
    for number, delay_s in enumerate((0.1, 0.2, 0.4), start=1):
        assert len(platform.processes.steps("launch")) == number
        assert platform.labels() == []
        await platform.clock.advance(delay_s - 0.01)
        assert len(platform.processes.steps("launch")) == number
        await platform.clock.advance(0.01)
    assert set(supervisor.active()) == {"w/a"}
    assert platform.told[:3] == [ActorFailed("w/a", str(BROKEN))] * 3


@pytest.mark.parametrize("step", ["launch", "activate"])
async def test_a_start_that_hangs_is_given_up_after_its_time(step: str) -> None:
    # Nothing bounded the launch: an actor whose process never came up was waited for for ever.
    platform = Platform(child("w/a", start_timeout_s=SHORT_S))
    hold = platform.processes.hold("w/a", step)
    await platform.boot()
    while ActorFailed("w/a", "TimeoutError") not in platform.told:
        changes = platform.supervisor.changes
        await changes.wait(changes.version, 1.0)
    platform.processes.let_go("w/a", step)
    assert hold.reached.is_set()
    await quiet()
    await platform.clock.advance(1.0)
    await soon(platform.locate("w/a"))
    assert len(platform.labels()) == 1
    assert platform.processes.twins == []


async def test_a_journal_that_takes_no_write_for_a_moment_costs_one_try() -> None:
    # The version was counted though the write had failed: every later write was a conflict, and
    # the actor could never be started again.
    for disturbance in (refusing("commit"), losing_the_answer("commit")):
        platform = Platform(child("w/a"))
        await platform.boot(wrap=lambda store, around=disturbance: FaultyStore(store, around))
        await platform.clock.advance(0.1)
        await soon(platform.locate("w/a"))
        platform.processes.serving("w/a").die()
        await platform.clock.advance(0.1)
        await soon(platform.locate("w/a"))
        assert len(platform.labels()) == 1


async def test_a_try_that_waits_for_its_time_is_broken_off_with_its_actor() -> None:
    # The failed try forgot the next one, which then could not be broken off and made a twin.
    platform = Platform()
    supervisor = await platform.boot()
    first = await platform.locate("v/x")
    platform.processes.fail("v/x", "activate", BROKEN)
    first.die()
    await quiet()
    supervisor.remove("v/x")
    await quiet()
    await soon(platform.locate("v/x"))
    await platform.clock.advance(1.0)
    assert len(platform.labels()) == 1
    assert platform.processes.twins == []


# -- death ------------------------------------------------------------------------------------------


async def test_a_dead_actor_is_certainly_gone_before_its_successor_starts() -> None:
    platform = Platform(child("w/a"))
    await platform.boot()
    hold = platform.processes.hold("w/a", "kill")
    platform.processes.serving("w/a").die()
    await soon(hold.reached.wait())
    await quiet()
    assert platform.processes.steps("launch") == ["launch w/a#1"]
    platform.processes.let_go("w/a", "kill")
    await soon(platform.locate("w/a"))
    assert platform.processes.steps("kill", "launch") == ["launch w/a#1", "kill w/a#1", "launch w/a#2"]


async def test_two_that_die_while_the_first_is_being_buried_have_one_successor_each() -> None:
    # The death was only told after the burial; a stop decided meanwhile found nothing to stop,
    # and the death was then taken for the successor's: two processes served one actor.
    platform = Platform(child("w/a"), child("w/b"), strategy=Strategy.ONE_FOR_ALL)
    await platform.boot()
    hold = platform.processes.hold("w/b", "kill")
    platform.processes.serving("w/b").die()
    await soon(hold.reached.wait())
    platform.processes.serving("w/a").die()
    await quiet()
    platform.processes.let_go("w/b", "kill")
    await quiet()
    await soon(asyncio.gather(platform.locate("w/a"), platform.locate("w/b")))
    await quiet()
    assert platform.processes.twins == []
    assert len(platform.labels()) == 2


@pytest.mark.parametrize("dying", [("w/a", "w/b"), ("w/b", "w/a"), ("w/a", "w/b", "w/c"), ("w/c", "w/a")])
async def test_deaths_at_one_moment_leave_one_process_each(dying: tuple[str, ...]) -> None:
    for strategy in Strategy:
        platform = Platform(child("w/a"), child("w/b"), child("w/c"), strategy=strategy)
        supervisor = await platform.boot()
        for name in dying:
            platform.processes.serving(name).die()
        await quiet()
        await quiet()
        assert {c.status for c in supervisor.tree.children.values()} == {Status.RUNNING}
        assert platform.processes.twins == []
        assert [label.split("#")[0] for label in platform.labels()] == ["w/a", "w/b", "w/c"]


async def test_a_sentinel_that_breaks_counts_as_a_death() -> None:
    # The child was then watched by nobody.
    platform = Platform(child("w/a"))
    platform.processes.fail("w/a", "wait_death", RuntimeError("the connection is in a strange state"))
    await platform.boot()
    await soon(platform.locate("w/a"))
    await quiet()
    assert platform.labels() == ["w/a#2"]
    assert platform.processes.twins == []


async def test_a_process_that_cannot_be_killed_holds_up_nobody() -> None:
    platform = Platform(child("w/a"))
    await platform.boot()
    platform.processes.fail("w/a", "kill", RuntimeError("no such actor"))
    platform.processes.serving("w/a").die()
    await quiet()
    assert (await soon(platform.locate("w/a"))).label == "w/a#2"


async def test_one_for_all_stops_the_living_youngest_first_and_starts_all_eldest_first() -> None:
    platform = Platform(child("w/a"), child("w/b"), child("w/c"), strategy=Strategy.ONE_FOR_ALL)
    await platform.boot()
    platform.processes.story.clear()
    platform.processes.serving("w/b").die()
    await quiet()
    assert platform.processes.steps("stop", "activate") == [
        "stop w/c#1", "stop w/a#1", "activate w/a#2", "activate w/b#2", "activate w/c#2",
    ]  # fmt: skip


# -- the end ----------------------------------------------------------------------------------------


async def test_stop_ends_everything_youngest_first() -> None:
    platform = Platform(child("w/a"), child("w/b", critical=True))
    supervisor = await platform.boot()
    await platform.locate("v/x")
    await soon(supervisor.stop())
    assert platform.processes.steps("stop") == ["stop v/x#1", "stop w/b#1", "stop w/a#1"]
    assert platform.labels() == []
    assert supervisor.tree.phase is Phase.STOPPED
    with pytest.raises(UnavailableError, match="stopped"):
        await platform.locate("w/a")


async def test_a_child_that_does_not_stop_in_its_time_is_killed() -> None:
    platform = Platform(child("w/a"), child("w/b", stop_timeout_s=SHORT_S))
    supervisor = await platform.boot()
    platform.processes.hold("w/b", "stop")
    platform.processes.fail("w/a", "stop", RuntimeError("its store does not close"))
    await soon(supervisor.stop())
    assert platform.labels() == []


@pytest.mark.parametrize("step", ["launch", "activate"])
async def test_stopping_while_an_actor_starts_leaves_no_process(step: str) -> None:
    platform = Platform(child("w/a"))
    hold = platform.processes.hold("w/a", step)
    supervisor = await platform.boot()
    await soon(hold.reached.wait())
    stopping = asyncio.create_task(supervisor.stop())
    await quiet()
    platform.processes.let_go("w/a", step)
    await soon(stopping)
    assert platform.labels() == []
    assert platform.processes.story[-1] == "kill w/a#1"


async def test_stopping_while_an_actor_waits_for_its_next_try_starts_it_no_more() -> None:
    platform = Platform(child("w/a"))
    platform.processes.fail("w/a", "launch", BROKEN)
    supervisor = await platform.boot()
    await soon(supervisor.stop())
    await platform.clock.advance(60.0)
    assert platform.processes.steps("launch") == ["launch w/a#1"]


async def test_an_actor_whose_starts_are_broken_off_while_launching_leaves_no_process() -> None:
    platform = Platform()
    supervisor = await platform.boot()
    hold = platform.processes.hold("v/x", "launch")
    waiting = asyncio.create_task(platform.locate("v/x"))
    await soon(hold.reached.wait())
    supervisor.remove("v/x")
    await quiet()
    platform.processes.let_go("v/x", "launch")
    assert (await soon(waiting)).label == "v/x#2"  # its caller still waits for it
    await quiet()
    assert platform.labels() == ["v/x#2"]


async def test_more_failures_than_the_root_accepts_end_everything_and_are_told() -> None:
    platform = Platform(child("w/a"), child("w/b"), intensity=1)
    supervisor = await platform.boot()
    for _ in range(2):
        (await soon(platform.locate("w/a"))).die()
        await quiet()
    assert supervisor.tree.phase is Phase.GAVE_UP
    assert SupervisorGaveUp("root") in platform.told
    assert platform.labels() == []
    with pytest.raises(UnavailableError, match="gave_up"):
        await platform.locate("w/b")
    await soon(supervisor.stop())
    assert platform.labels() == []

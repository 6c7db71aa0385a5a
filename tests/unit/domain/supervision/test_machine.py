"""The supervision tree, event by event."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from anya_actors.domain.machine import Command, Event, IllegalTransitionError, InvalidInputError
from anya_actors.domain.supervision.machine import (
    HANDLERS,
    ChildAdded,
    ChildAdopted,
    ChildFailed,
    ChildRemoved,
    ChildStarted,
    ChildStopped,
    GiveUp,
    ShutdownRequested,
    StartChild,
    StartRequested,
    StopChild,
    step,
)
from anya_actors.domain.supervision.spec import ChildSpec, Restart, Strategy, SupervisorSpec
from anya_actors.domain.supervision.tree import Child, Phase, Status, Tree, plant

NAMES = ("k/a", "k/b", "k/c")


def spec(strategy: Strategy = Strategy.ONE_FOR_ONE, *names: str, intensity: int = 3) -> SupervisorSpec:
    children = tuple(ChildSpec(name) for name in names or NAMES)
    return SupervisorSpec("root", strategy, intensity=intensity, period_s=10.0, children=children)


class Played:
    """A tree, the commands it gave last, and the shorthand to go on."""

    def __init__(self, tree: SupervisorSpec | Tree) -> None:
        self.tree = plant(tree) if isinstance(tree, SupervisorSpec) else tree
        self.given: tuple[Command, ...] = ()
        self.at_s = 0.0

    def send(self, event: Event) -> tuple[Command, ...]:
        outcome = step(self.tree, event)
        self.tree, self.given = outcome.state, outcome.commands
        return self.given

    def started(self, name: str) -> tuple[Command, ...]:
        return self.send(ChildStarted(name, self.at_s))

    def failed(self, name: str) -> tuple[Command, ...]:
        return self.send(ChildFailed(name, self.at_s))

    def stopped(self, name: str) -> tuple[Command, ...]:
        return self.send(ChildStopped(name))

    def up(self) -> Played:
        """Start everything."""
        commands = self.send(StartRequested())
        while commands:
            commands = sum(
                (self.started(command.name) for command in commands if isinstance(command, StartChild)), ()
            )
        assert set(self.statuses().values()) <= {Status.RUNNING}
        return self

    def phase(self) -> Phase:
        return self.tree.phase

    def statuses(self) -> dict[str, Status]:
        return {child.name: child.status for child in self.tree.children.values()}


def start(*names: str, attempt: int = 0) -> tuple[Command, ...]:
    return tuple(StartChild(name, attempt) for name in names)


# -- starting ---------------------------------------------------------------------------------------


def test_children_that_depend_on_nobody_start_together() -> None:
    assert Played(spec()).send(StartRequested()) == start(*NAMES)


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
def test_children_that_depend_on_each_other_start_one_by_one(strategy: Strategy) -> None:
    played = Played(spec(strategy))
    assert played.send(StartRequested()) == start("k/a")
    assert played.started("k/a") == start("k/b")
    assert played.started("k/b") == start("k/c")
    assert played.started("k/c") == ()


def test_a_nested_supervisor_waits_for_its_elder_sibling_as_a_whole() -> None:
    inner = SupervisorSpec("inner", children=(ChildSpec("k/b"), ChildSpec("k/c")))
    last = ChildSpec("k/d")
    played = Played(SupervisorSpec("root", Strategy.REST_FOR_ONE, children=(ChildSpec("k/a"), inner, last)))
    assert played.send(StartRequested()) == start("k/a")
    assert played.started("k/a") == start("k/b", "k/c")
    assert played.started("k/c") == ()
    assert played.started("k/b") == start("k/d")


# -- strategies -------------------------------------------------------------------------------------


def test_under_one_for_one_only_the_dead_child_starts_again() -> None:
    played = Played(spec()).up()
    assert played.failed("k/b") == start("k/b")
    assert played.tree.child("k/b").restarts == 1


def test_under_one_for_all_the_others_stop_youngest_first_and_all_start_eldest_first() -> None:
    played = Played(spec(Strategy.ONE_FOR_ALL)).up()
    assert played.failed("k/b") == (StopChild("k/c"),)
    assert played.stopped("k/c") == (StopChild("k/a"),)
    assert played.stopped("k/a") == start("k/a")
    assert played.started("k/a") == start("k/b")
    assert played.started("k/b") == start("k/c")
    assert [child.restarts for child in played.tree.children.values()] == [1, 1, 1]


def test_under_rest_for_one_only_the_younger_ones_go_along() -> None:
    played = Played(spec(Strategy.REST_FOR_ONE)).up()
    assert played.failed("k/b") == (StopChild("k/c"),)
    assert played.stopped("k/c") == start("k/b")
    assert played.started("k/b") == start("k/c")
    assert played.tree.child("k/a").restarts == 0


def test_one_that_dies_before_its_turn_to_be_stopped_need_not_be_stopped() -> None:
    played = Played(spec(Strategy.ONE_FOR_ALL, "k/a", "k/b", "k/c", "k/d")).up()
    assert played.failed("k/d") == (StopChild("k/c"),)
    assert played.failed("k/b") == ()
    assert played.stopped("k/c") == (StopChild("k/a"),)
    assert played.stopped("k/a") == start("k/a")


def test_a_death_while_being_stopped_does_not_complete_the_stop() -> None:
    # The supervisor told of a death whose stop it had just been given: the machine started a
    # successor, then took the stop's completion for the successor's, and started a twin.
    played = Played(spec(Strategy.ONE_FOR_ALL)).up()
    played.failed("k/a")
    assert played.failed("k/c") == ()
    assert played.tree.child("k/c").status is Status.STOPPING
    assert played.stopped("k/c") == (StopChild("k/b"),)


def test_a_start_that_ends_after_its_stop_was_asked_for_changes_nothing() -> None:
    played = Played(spec(Strategy.ONE_FOR_ALL, "k/a", "k/b")).up()
    played.failed("k/b")  # k/a stops
    played.stopped("k/a")
    assert played.started("k/a") == start("k/b")
    assert played.failed("k/a") == (StopChild("k/b"),)
    assert played.started("k/b") == ()
    assert played.tree.child("k/b").status is Status.STOPPING


# -- intensity and escalation -----------------------------------------------------------------------


def test_as_many_restarts_as_the_intensity_are_accepted_and_one_more_is_not() -> None:
    played = Played(spec(intensity=2)).up()
    for _ in range(2):
        assert played.failed("k/a") == start("k/a")
        played.started("k/a")
    assert played.failed("k/a") == (GiveUp("root"), StopChild("k/c"))
    assert played.tree.phase is Phase.GAVE_UP
    assert played.stopped("k/c") == (StopChild("k/b"),)
    assert played.stopped("k/b") == ()
    assert set(played.statuses().values()) == {Status.STOPPED}


@pytest.mark.parametrize(("later_s", "accepted"), [(9.99, False), (10.0, False), (10.01, True)])
def test_a_restart_counts_until_the_period_has_passed(later_s: float, accepted: bool) -> None:
    played = Played(spec(intensity=1)).up()
    played.failed("k/a")
    played.started("k/a")
    played.at_s = later_s
    played.failed("k/a")
    assert (played.tree.phase is Phase.RUNNING) is accepted


def test_an_intensity_of_0_accepts_no_restart() -> None:
    played = Played(spec(intensity=0)).up()
    assert GiveUp("root") in played.failed("k/a")


def nested(root_intensity: int = 1, strategy: Strategy = Strategy.REST_FOR_ONE) -> SupervisorSpec:
    inner = SupervisorSpec("inner", intensity=0, children=(ChildSpec("k/b"), ChildSpec("k/c")))
    children = (ChildSpec("k/a"), inner, ChildSpec("k/d"))
    return SupervisorSpec("root", strategy, intensity=root_intensity, children=children)


def test_a_supervisor_that_fails_is_restarted_as_a_child_of_its_own() -> None:
    played = Played(nested()).up()
    assert played.failed("k/b") == (StopChild("k/d"),)
    assert played.stopped("k/d") == (StopChild("k/c"),)
    assert played.stopped("k/c") == start("k/b", "k/c")
    assert (played.started("k/c"), played.started("k/b")) == ((), start("k/d"))


def test_failures_climb_through_every_supervisor_up_to_the_root_which_gives_up() -> None:
    deep = SupervisorSpec("deep", intensity=0, children=(ChildSpec("k/b"),))
    middle = SupervisorSpec("middle", intensity=0, children=(deep, ChildSpec("k/c")))
    played = Played(SupervisorSpec("root", intensity=0, children=(ChildSpec("k/a"), middle))).up()
    assert played.failed("k/b") == (GiveUp("root"), StopChild("k/c"))
    assert played.stopped("k/c") == (StopChild("k/a"),)


def test_one_failure_of_a_supervisor_is_one_restart_of_its_parent() -> None:
    played = Played(nested(root_intensity=2, strategy=Strategy.ONE_FOR_ONE)).up()
    for _ in range(2):
        assert played.failed("k/b") == (StopChild("k/c"),)
        assert played.stopped("k/c") == start("k/b", "k/c")
        played.started("k/b")
        played.started("k/c")
    assert GiveUp("root") in played.failed("k/b")


# -- backoff ----------------------------------------------------------------------------------------


def test_a_child_that_ran_starts_again_at_once_and_one_that_cannot_start_waits_longer_each_time() -> None:
    played = Played(spec(Strategy.ONE_FOR_ONE, "k/a", intensity=9)).up()
    attempts = []
    for _ in range(4):
        (command,) = played.failed("k/a")
        assert isinstance(command, StartChild)
        attempts.append(command.attempt)
    assert attempts == [0, 1, 2, 3]


def test_a_child_that_ran_for_a_period_has_no_past() -> None:
    played = Played(spec(Strategy.ONE_FOR_ONE, "k/a", intensity=9)).up()
    played.failed("k/a")
    played.failed("k/a")
    played.started("k/a")
    played.at_s = 5.0
    assert played.failed("k/a") == start("k/a", attempt=1)
    played.started("k/a")
    played.at_s = 15.01
    assert played.failed("k/a") == start("k/a", attempt=0)


# -- dynamic, temporary, adopted ----------------------------------------------------------------------


def test_a_dynamic_child_starts_is_restarted_and_leaves() -> None:
    played = Played(spec()).up()
    assert played.send(ChildAdded("root", "k/x")) == start("k/x")
    played.started("k/x")
    assert played.failed("k/x") == start("k/x")
    played.started("k/x")
    assert played.send(ChildRemoved("k/x")) == (StopChild("k/x"),)
    assert played.stopped("k/x") == ()
    assert "k/x" not in played.tree.children


def test_a_child_that_leaves_is_never_started_again_even_if_it_dies_first() -> None:
    played = Played(spec()).up()
    played.send(ChildAdded("root", "k/x"))
    played.started("k/x")
    played.send(ChildRemoved("k/x"))
    assert played.failed("k/x") == ()
    assert played.stopped("k/x") == ()
    assert "k/x" not in played.tree.children


def test_a_slow_farewell_delays_nobodys_restart() -> None:
    # One idle actor that took 10 s to stop kept every crashed actor of the platform down.
    played = Played(spec()).up()
    for name in ("k/x", "k/y"):
        played.send(ChildAdded("root", name))
        played.started(name)
    assert played.send(ChildRemoved("k/x")) == (StopChild("k/x"),)
    assert played.failed("k/a") == start("k/a")
    assert played.send(ChildRemoved("k/y")) == (StopChild("k/y"),)


def test_a_dynamic_child_of_an_elder_supervisor_stops_after_all_that_may_need_it() -> None:
    elder = SupervisorSpec("elder", children=(ChildSpec("k/a"),))
    younger = SupervisorSpec("younger", children=(ChildSpec("k/b"),))
    played = Played(SupervisorSpec("root", children=(elder, younger))).up()
    played.send(ChildAdded("elder", "k/x"))
    played.started("k/x")
    assert played.send(ShutdownRequested()) == (StopChild("k/b"),)
    assert played.stopped("k/b") == (StopChild("k/x"),)
    assert played.stopped("k/x") == (StopChild("k/a"),)


def test_a_temporary_child_that_dies_leaves_the_tree_and_counts_for_nothing() -> None:
    children = (ChildSpec("k/a"), ChildSpec("k/t", Restart.TEMPORARY), ChildSpec("k/c"))
    played = Played(SupervisorSpec("root", Strategy.ONE_FOR_ALL, intensity=0, children=children)).up()
    assert played.failed("k/t") == ()
    assert list(played.statuses()) == ["k/a", "k/c"]
    assert played.tree.phase is Phase.RUNNING


def test_the_survivors_of_a_temporary_child_still_follow_their_strategy() -> None:
    children = (ChildSpec("k/t", Restart.TEMPORARY), ChildSpec("k/b"), ChildSpec("k/c"))
    played = Played(SupervisorSpec("root", Strategy.ONE_FOR_ALL, children=children)).up()
    played.failed("k/t")
    assert played.failed("k/b") == (StopChild("k/c"),)
    assert played.stopped("k/c") == start("k/b")


def test_what_was_adopted_is_not_started_and_keeps_its_count() -> None:
    played = Played(spec())
    assert played.send(ChildAdopted("k/b", 0.0, restarts=4)) == ()
    assert played.send(StartRequested()) == start("k/a", "k/c")
    played.failed("k/b")
    assert played.tree.child("k/b").restarts == 5


def test_a_dynamic_child_is_adopted_like_any_other() -> None:
    played = Played(spec())
    played.send(ChildAdded("root", "k/x"))
    played.send(ChildAdopted("k/x", 0.0))
    assert played.send(StartRequested()) == start(*NAMES)
    assert played.tree.child("k/x").status is Status.RUNNING


def test_adopted_siblings_of_one_that_died_unwatched_go_as_they_would_have() -> None:
    # The eldest died together with the supervisor: its dependants must not keep what they had of it.
    played = Played(spec(Strategy.REST_FOR_ONE))
    played.send(ChildAdopted("k/a", 0.0))
    played.send(ChildAdopted("k/c", 0.0))
    assert played.send(StartRequested()) == (StopChild("k/c"),)
    assert played.stopped("k/c") == start("k/b")
    assert played.started("k/b") == start("k/c")


def test_an_adopted_child_that_dies_before_the_tree_runs_is_started_with_it() -> None:
    played = Played(spec())
    played.send(ChildAdopted("k/b", 0.0, restarts=1))
    assert played.failed("k/b") == ()
    assert played.send(StartRequested()) == start(*NAMES)
    assert played.tree.child("k/b").restarts == 2


# -- shutdown ---------------------------------------------------------------------------------------


def test_shutdown_stops_everything_youngest_first_whatever_the_strategy() -> None:
    for strategy in Strategy:
        played = Played(spec(strategy)).up()
        assert played.send(ShutdownRequested()) == (StopChild("k/c"),)
        assert played.stopped("k/c") == (StopChild("k/b"),)
        assert played.stopped("k/b") == (StopChild("k/a"),)
        assert played.phase() is Phase.SHUTTING_DOWN
        assert played.stopped("k/a") == ()
        assert played.tree.phase is Phase.STOPPED


def test_shutdown_stops_what_is_only_starting_and_nothing_starts_any_more() -> None:
    played = Played(spec(Strategy.REST_FOR_ONE))
    played.send(StartRequested())
    played.started("k/a")
    assert played.send(ShutdownRequested()) == (StopChild("k/b"),)
    assert played.started("k/b") == ()
    assert played.stopped("k/b") == (StopChild("k/a"),)
    assert played.failed("k/a") == ()
    assert played.stopped("k/a") == ()
    assert played.tree.phase is Phase.STOPPED


def test_a_tree_that_never_ran_is_stopped_at_once_and_shutting_down_twice_is_no_error() -> None:
    played = Played(spec())
    for _ in range(2):
        assert played.send(ShutdownRequested()) == ()
        assert played.tree.phase is Phase.STOPPED


def test_shutdown_waits_for_a_child_that_was_leaving() -> None:
    played = Played(spec(Strategy.ONE_FOR_ONE, "k/a")).up()
    played.send(ChildAdded("root", "k/x"))
    played.started("k/x")
    played.send(ChildRemoved("k/x"))
    assert played.send(ShutdownRequested()) == ()
    assert played.stopped("k/x") == (StopChild("k/a"),)


# -- refusals ---------------------------------------------------------------------------------------

EVENTS: dict[type[Event], Event] = {
    StartRequested: StartRequested(),
    ShutdownRequested: ShutdownRequested(),
    ChildStarted: ChildStarted("k/a", 0.0),
    ChildAdopted: ChildAdopted("k/a", 0.0),
    ChildFailed: ChildFailed("k/a", 0.0),
    ChildStopped: ChildStopped("k/a"),
    ChildAdded: ChildAdded("root", "k/new"),
    ChildRemoved: ChildRemoved("k/a"),
}
ALWAYS = {(event, phase, status) for event in EVENTS for phase in Phase for status in Status}
REFUSED = (
    {(StartRequested, phase, status) for phase in Phase if phase is not Phase.IDLE for status in Status}
    | {(ChildAdopted, phase, status) for phase in Phase if phase is not Phase.IDLE for status in Status}
    | {(ChildAdded, phase, status) for phase in list(Phase)[2:] for status in Status}
    | {(ChildStarted, phase, status) for phase in Phase for status in (Status.STOPPED, Status.RUNNING)}
    | {(ChildStopped, phase, status) for phase in Phase for status in Status if status is not Status.STOPPING}
)  # fmt: skip


@pytest.mark.parametrize(
    ("event", "phase", "status"), sorted(itertools.product(EVENTS, Phase, Status), key=str)
)
def test_whatever_is_illegal_is_refused_and_the_rest_is_taken(
    event: type[Event], phase: Phase, status: Status
) -> None:
    tree = plant(spec(Strategy.ONE_FOR_ONE, "k/a"))
    tree = replace(tree, phase=phase, children={"k/a": Child("k/a", "root", status=status)})
    if (event, phase, status) in REFUSED:
        with pytest.raises(IllegalTransitionError, match=event.__name__):
            step(tree, EVENTS[event])
    else:
        assert step(tree, EVENTS[event]).state.spec is tree.spec


def test_the_table_of_refusals_knows_every_event() -> None:
    assert set(EVENTS) == set(HANDLERS)
    assert REFUSED < ALWAYS


def test_an_event_of_another_machine_is_refused() -> None:
    class Elsewhere(Event, frozen=True):
        pass

    with pytest.raises(IllegalTransitionError):
        step(plant(spec()), Elsewhere())


@pytest.mark.parametrize("event", [ChildStarted("k/z", 0), ChildFailed("k/z", 0), ChildStopped("k/z")])
def test_news_of_an_unknown_child_is_refused(event: Event) -> None:
    with pytest.raises(InvalidInputError, match="k/z"):
        step(plant(spec()), event)


@pytest.mark.parametrize(
    ("supervisor", "name"), [("root", "k/a"), ("nowhere", "k/x"), ("root", "inner"), ("inner", "k/t")]
)
def test_a_child_is_added_only_once_and_only_where_there_is_a_place(supervisor: str, name: str) -> None:
    inner = SupervisorSpec("inner", children=(ChildSpec("k/b"),))
    children = (ChildSpec("k/a"), inner, ChildSpec("k/t", Restart.TEMPORARY))
    played = Played(SupervisorSpec("root", children=children)).up()
    played.failed("k/t")
    with pytest.raises(InvalidInputError):
        played.send(ChildAdded(supervisor, name))


@pytest.mark.parametrize(
    "broken",
    [
        SupervisorSpec("root", children=(ChildSpec("k/a"), ChildSpec("k/a"))),
        SupervisorSpec("root", children=(SupervisorSpec("root"),)),
        SupervisorSpec("root", children=(SupervisorSpec("k/a"), ChildSpec("k/a"))),
        SupervisorSpec("root", intensity=-1),
        SupervisorSpec("root", period_s=0),
    ],
)
def test_a_tree_that_makes_no_sense_is_not_planted(broken: SupervisorSpec) -> None:
    with pytest.raises(InvalidInputError):
        plant(broken)

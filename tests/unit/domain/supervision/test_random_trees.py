"""Random deaths, starts, stops and visits on random trees: what must never happen, never happens.

The world here is kept apart from the machine's own book: a child is up, coming or going because of
the commands that were given, not because the tree says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from anya_actors.domain.machine import Command, Event
from anya_actors.domain.supervision.machine import (
    ChildAdded,
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
from anya_actors.domain.supervision.tree import Phase, Status, Tree, plant


@st.composite
def trees(draw: st.DrawFn) -> SupervisorSpec:
    """Up to three levels, up to about ten leaves; intensities low enough to be reached."""
    number = iter(range(1000))

    def node(depth: int) -> SupervisorSpec:
        children: list[ChildSpec | SupervisorSpec] = []
        for _ in range(draw(st.integers(0 if depth else 1, 3))):
            if depth < 2 and draw(st.booleans()):
                children.append(node(depth + 1))
            else:
                restart = draw(st.sampled_from([Restart.PERMANENT] * 4 + [Restart.TEMPORARY]))
                children.append(ChildSpec(f"k/{next(number)}", restart))
        strategy, intensity = draw(st.sampled_from(Strategy)), draw(st.integers(0, 4))
        return SupervisorSpec(f"sup{next(number)}", strategy, intensity, 10.0, children=tuple(children))

    return node(0)


def below(spec: SupervisorSpec, tree: Tree) -> list[str]:
    """The leaves under ``spec`` in the order of starting, worked out anew."""
    static = [child.name for child in spec.children if isinstance(child, ChildSpec)]
    names: list[str] = []
    for child in spec.children:
        if isinstance(child, SupervisorSpec):
            names += below(child, tree)
        elif child.name in tree.children:
            names.append(child.name)
    return names + [
        c.name for c in tree.children.values() if c.supervisor == spec.name and c.name not in static
    ]


def elders(spec: SupervisorSpec, tree: Tree, name: str) -> Iterator[str]:
    """Every leaf that must run before ``name`` may start."""
    groups: list[list[str]] = []
    for child in spec.children:
        groups.append(below(child, tree) if isinstance(child, SupervisorSpec) else [child.name])
        if isinstance(child, SupervisorSpec) and name in groups[-1]:
            yield from elders(child, tree, name)
    known = {child.name for child in spec.children}
    groups += [[c.name] for c in tree.children.values() if c.supervisor == spec.name and c.name not in known]
    if spec.strategy is not Strategy.ONE_FOR_ONE:
        for group in groups:
            if name in group:
                return
            yield from (leaf for leaf in group if leaf in tree.children)


class World(RuleBasedStateMachine):
    """``coming``, ``up`` and ``going`` are what really happens; ``tree`` is what the machine thinks."""

    def __init__(self) -> None:
        super().__init__()
        self.coming: set[str] = set()
        self.up: set[str] = set()
        self.going: set[str] = set()
        self.now_s = 0.0
        self.added = 0
        self.gave_up = False

    @initialize(spec=trees())
    def begin(self, spec: SupervisorSpec) -> None:
        self.tree = plant(spec)
        self.send(StartRequested())

    # -- what the commands do -------------------------------------------------------------------

    def send(self, event: Event) -> None:
        outcome = step(self.tree, event)
        self.tree = outcome.state
        for command in outcome.commands:
            self.obey(command)

    def obey(self, command: Command) -> None:
        if isinstance(command, StartChild):
            name = command.name
            assert name not in self.coming | self.up | self.going, f"{name} would have a twin"
            waits_for = [
                elder for elder in elders(self.tree.spec, self.tree, name)
                if elder not in self.up and not self.tree.child(elder).leaving
            ]  # fmt: skip
            assert not waits_for, f"{name} starts while {waits_for} do not run"
            self.coming.add(name)
        elif isinstance(command, StopChild):
            self.verify_stop(command.name)
            self.going.add(command.name)
        elif isinstance(command, GiveUp):
            assert not self.gave_up
            self.gave_up = True

    def verify_stop(self, name: str) -> None:
        assert name in self.coming | self.up, f"{name} is stopped and is not there"
        assert name not in self.going, f"{name} is stopped twice"
        child = self.tree.child(name)
        if child.leaving and self.tree.phase is Phase.RUNNING:
            return
        order = list(self.tree.children)
        younger = [
            other for other in order[order.index(name) + 1 :]
            if self.tree.child(other).condemned and not self.tree.child(other).leaving
        ]  # fmt: skip
        assert not younger, f"{name} is stopped before {younger}"

    # -- what happens to the world --------------------------------------------------------------

    @precondition(lambda self: self.coming)
    @rule(data=st.data(), lives=st.booleans())
    def a_start_ends(self, data: st.DataObject, lives: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.coming)))
        self.coming.discard(name)
        if lives:
            self.up.add(name)
            self.send(ChildStarted(name, self.now_s))
        elif name in self.going:
            self.coming.add(name)  # the stop has cancelled it: only the stop's end tells
        else:
            self.send(ChildFailed(name, self.now_s))

    @precondition(lambda self: self.up)
    @rule(data=st.data())
    def a_child_dies(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.up)))
        self.up.discard(name)
        if name in self.going:
            self.up.add(name)  # it stays the stop's own
        self.send(ChildFailed(name, self.now_s))

    @precondition(lambda self: self.going)
    @rule(data=st.data())
    def a_stop_ends(self, data: st.DataObject) -> None:
        self.finish_stop(data.draw(st.sampled_from(sorted(self.going))))

    def finish_stop(self, name: str) -> None:
        for place in (self.going, self.up, self.coming):
            place.discard(name)
        self.send(ChildStopped(name))

    @rule(seconds=st.sampled_from([0.5, 3.0, 11.0]))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds

    @precondition(lambda self: self.tree.phase is Phase.RUNNING and self.added < 4)
    @rule(data=st.data())
    def a_child_joins(self, data: st.DataObject) -> None:
        node = data.draw(st.sampled_from(list(self.tree.spec.supervisors())))
        self.added += 1
        self.send(ChildAdded(node.name, f"d/{self.added}"))

    @rule(data=st.data())
    def a_child_leaves(self, data: st.DataObject) -> None:
        dynamic = sorted(name for name in self.tree.children if name.startswith("d/"))
        if dynamic:
            self.send(ChildRemoved(data.draw(st.sampled_from(dynamic))))

    @rule(really=st.integers(0, 9))
    def the_platform_stops(self, really: int) -> None:
        if really == 0:
            self.send(ShutdownRequested())

    # -- what always holds ------------------------------------------------------------------------

    @invariant()
    def the_book_agrees_with_the_world(self) -> None:
        if not hasattr(self, "tree"):
            return
        kept: dict[Status, Iterable[str]] = {
            status: {c.name for c in self.tree.children.values() if c.status is status} for status in Status
        }
        assert kept[Status.STOPPING] == self.going
        assert kept[Status.STARTING] == self.coming - self.going
        assert kept[Status.RUNNING] == self.up - self.going
        assert list(self.tree.children) == below(self.tree.spec, self.tree)

    def teardown(self) -> None:
        """Once nothing fails any more, everything runs; asked to stop, everything stops."""
        if not hasattr(self, "tree"):
            return
        self.calm_down()
        if self.tree.phase is Phase.RUNNING:
            assert all(child.status is Status.RUNNING for child in self.tree.children.values())
            self.send(ShutdownRequested())
            self.calm_down()
        assert not self.up | self.coming | self.going
        assert self.tree.phase is (Phase.GAVE_UP if self.gave_up else Phase.STOPPED)

    def calm_down(self) -> None:
        for _ in range(1000):
            if self.going:
                self.finish_stop(min(self.going))
            elif self.coming:
                name = min(self.coming)
                self.coming.discard(name)
                self.up.add(name)
                self.send(ChildStarted(name, self.now_s))
            else:
                return
        raise AssertionError("it never comes to rest")


TestRandomTrees = World.TestCase
TestRandomTrees.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)

"""The supervision tree as a pure machine. Source: OTP Design Principles, Supervisor Behaviour.

The machine says what must be started, stopped and given up; it starts and stops nothing. Two
orders rule it: stopping goes in the reverse order of starting, one at a time, and a child under
``one_for_all`` or ``rest_for_one`` starts only when its elder siblings run. Children under
``one_for_one`` depend on nobody and start together.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from anya_actors.domain.machine import Command, Event, IllegalTransitionError, InvalidInputError, Step
from anya_actors.domain.supervision.spec import ChildSpec, Restart, Strategy, SupervisorSpec, verify_spec


class Status(enum.Enum):
    """Where one child stands."""

    STOPPED = "stopped"
    STARTING = "starting"  # includes the wait of its backoff
    RUNNING = "running"
    STOPPING = "stopping"


class Phase(enum.Enum):
    """Where the whole tree stands."""

    IDLE = "idle"
    RUNNING = "running"
    SHUTTING_DOWN = "shutting_down"
    STOPPED = "stopped"
    GAVE_UP = "gave_up"  # the root had more restarts than it accepts


class StartRequested(Event, frozen=True):
    """The tree is to run."""


class ShutdownRequested(Event, frozen=True):
    """The tree is to stop, youngest child first."""


class ChildStarted(Event, frozen=True):
    """A start succeeded."""

    name: str
    at_s: float


class ChildFailed(Event, frozen=True):
    """A child died, or could not be started."""

    name: str
    at_s: float


class ChildStopped(Event, frozen=True):
    """A stop that the tree asked for is complete."""

    name: str


class ChildAdopted(Event, frozen=True):
    """A child was found alive by a supervisor that was itself restarted."""

    name: str
    at_s: float
    restarts: int = 0


class ChildAdded(Event, frozen=True):
    """A dynamic child joins a supervisor."""

    supervisor: str
    name: str
    restart: str = Restart.PERMANENT.value


class ChildRemoved(Event, frozen=True):
    """A dynamic child is to be stopped and forgotten (passivated, closed)."""

    name: str


class StartChild(Command, frozen=True):
    """Start it after ``delay_s`` seconds, less a jitter."""

    name: str
    attempt: int


class StopChild(Command, frozen=True):
    """Stop it, gracefully if it still runs."""

    name: str


class GiveUp(Command, frozen=True):
    """The root has failed: tell whoever started the platform."""

    supervisor: str


@dataclass(frozen=True, slots=True)
class Child:
    """One leaf. ``restarts`` counts over its life, ``attempt`` since it last ran for a period."""

    name: str
    supervisor: str
    restart: Restart = Restart.PERMANENT
    status: Status = Status.STOPPED
    condemned: bool = False  # must be stopped before anything starts
    leaving: bool = False  # forgotten once stopped
    restarts: int = 0
    attempt: int = 0
    running_since_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Tree:
    """The state: children in the order of starting, and the recent restarts of each supervisor."""

    spec: SupervisorSpec
    phase: Phase = Phase.IDLE
    children: Mapping[str, Child] = field(default_factory=dict)
    windows: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def child(self, name: str) -> Child:
        found = self.children.get(name)
        if found is None:
            raise InvalidInputError("child", f"{name} is not in the tree")
        return found


def plant(spec: SupervisorSpec) -> Tree:
    """The tree of ``spec``, with nothing started."""
    verify_spec(spec)
    children: dict[str, Child] = {}
    for node in spec.supervisors():
        for child in node.children:
            if isinstance(child, ChildSpec):
                children[child.name] = Child(child.name, node.name, child.restart)
    return Tree(spec, children={leaf.name: children[leaf.name] for leaf in spec.leaves()})


def step(tree: Tree, event: Event) -> Step[Tree]:
    """Apply one event and say what is to be started and stopped now."""
    handler = HANDLERS.get(type(event))
    if handler is None:
        raise IllegalTransitionError(tree.phase.value, type(event).__name__)
    changed, commands = handler(tree, event)
    settled, more = _advance(changed)
    return Step(settled, (*commands, *more))


# -- events -------------------------------------------------------------------------------------

Outcome = tuple[Tree, tuple[Command, ...]]


def _start_requested(tree: Tree, _: StartRequested) -> Outcome:
    if tree.phase is not Phase.IDLE:
        raise IllegalTransitionError(tree.phase.value, "StartRequested")
    return replace(tree, phase=Phase.RUNNING), ()


def _shutdown_requested(tree: Tree, _: ShutdownRequested) -> Outcome:
    if tree.phase in (Phase.STOPPED, Phase.GAVE_UP, Phase.SHUTTING_DOWN):
        return tree, ()
    return _condemn(replace(tree, phase=Phase.SHUTTING_DOWN), tree.children), ()


def _child_started(tree: Tree, event: ChildStarted) -> Outcome:
    child = tree.child(event.name)
    if child.status is not Status.STARTING:
        return tree, ()  # it was told to stop in the meantime
    return _with(tree, replace(child, status=Status.RUNNING, running_since_s=event.at_s)), ()


def _child_adopted(tree: Tree, event: ChildAdopted) -> Outcome:
    child = replace(tree.child(event.name), restarts=event.restarts)
    return _with(tree, replace(child, status=Status.RUNNING, running_since_s=event.at_s)), ()


def _child_failed(tree: Tree, event: ChildFailed) -> Outcome:
    child = tree.child(event.name)
    if child.status is Status.STOPPED:
        return tree, ()
    stood = child.status is Status.RUNNING and (
        event.at_s - child.running_since_s > _node(tree, child.supervisor).period_s
    )
    dead = replace(
        child,
        status=Status.STOPPED,
        restarts=child.restarts + 1,
        attempt=0 if stood else child.attempt + (child.status is Status.STARTING),
    )
    meant_to_go = child.condemned or child.leaving or tree.phase is not Phase.RUNNING
    if child.status is Status.STOPPING or meant_to_go:
        return _gone(tree, child), ()
    if child.restart is Restart.TEMPORARY:
        return _without(tree, child.name), ()
    return _restart_under(_with(tree, dead), child.supervisor, child.name, event.at_s)


def _child_stopped(tree: Tree, event: ChildStopped) -> Outcome:
    return _gone(tree, tree.child(event.name)), ()


def _child_added(tree: Tree, event: ChildAdded) -> Outcome:
    if event.name in tree.children:
        raise InvalidInputError("child", f"{event.name} is in the tree already")
    if tree.phase not in (Phase.IDLE, Phase.RUNNING):  # idle: a restarted supervisor adopts
        raise IllegalTransitionError(tree.phase.value, "ChildAdded")
    _node(tree, event.supervisor)
    return _with(tree, Child(event.name, event.supervisor, Restart(event.restart))), ()


def _child_removed(tree: Tree, event: ChildRemoved) -> Outcome:
    child = replace(tree.child(event.name), leaving=True)
    return _condemn(_with(tree, child), [child.name]), ()


HANDLERS: Final[Mapping[type[Event], Callable[[Tree, Any], Outcome]]] = {
    StartRequested: _start_requested,
    ShutdownRequested: _shutdown_requested,
    ChildStarted: _child_started,
    ChildAdopted: _child_adopted,
    ChildFailed: _child_failed,
    ChildStopped: _child_stopped,
    ChildAdded: _child_added,
    ChildRemoved: _child_removed,
}


# -- strategies ---------------------------------------------------------------------------------


def _restart_under(tree: Tree, supervisor: str, failed: str, at_s: float) -> Outcome:
    """``failed`` (a child or a supervisor) has died under ``supervisor``: who goes with it?"""
    node = _node(tree, supervisor)
    recent = tuple(t for t in tree.windows.get(supervisor, ()) if at_s - t <= node.period_s)
    tree = replace(tree, windows={**tree.windows, supervisor: (*recent, at_s)})
    if len(recent) + 1 > node.intensity:
        return _escalate(tree, node, at_s)
    names = [child.name for child in node.children] + _dynamic(tree, node)
    affected = {
        Strategy.ONE_FOR_ONE: [failed],
        Strategy.ONE_FOR_ALL: names,
        Strategy.REST_FOR_ONE: names[names.index(failed) :],
    }[node.strategy]
    return _condemn(tree, [leaf for name in affected for leaf in _leaves(tree, name)]), ()


def _escalate(tree: Tree, node: SupervisorSpec, at_s: float) -> Outcome:
    tree = _condemn(tree, _leaves(tree, node.name))
    tree = replace(tree, windows={**tree.windows, node.name: ()})
    if node.name == tree.spec.name:
        return _condemn(replace(tree, phase=Phase.GAVE_UP), tree.children), (GiveUp(node.name),)
    return _restart_under(tree, _parent(tree, node.name).name, node.name, at_s)


def _condemn(tree: Tree, names: Any) -> Tree:
    for name in list(names):
        child = tree.child(name)
        if child.status is not Status.STOPPED:
            tree = _with(tree, replace(child, condemned=True))
        elif child.leaving:
            tree = _without(tree, name)
    return tree


# -- what is next -------------------------------------------------------------------------------


def _advance(tree: Tree) -> Outcome:
    """Issue the next stops, or, when none is pending, every start that may begin."""
    condemned = [child for child in tree.children.values() if child.condemned]
    if condemned:
        if any(child.status is Status.STOPPING for child in condemned):
            return tree, ()
        last = condemned[-1]
        return _with(tree, replace(last, status=Status.STOPPING)), (StopChild(last.name),)
    if tree.phase is Phase.SHUTTING_DOWN:
        return replace(tree, phase=Phase.STOPPED), ()
    if tree.phase is not Phase.RUNNING:
        return tree, ()
    commands: list[Command] = []
    for child in tree.children.values():
        if child.status is Status.STOPPED and _elders_run(tree, child.supervisor, child.name):
            tree = _with(tree, replace(child, status=Status.STARTING))
            commands.append(StartChild(child.name, child.attempt))
    return tree, tuple(commands)


def _elders_run(tree: Tree, supervisor: str, name: str) -> bool:
    """Whether everything that ``name`` must wait for is running, up to the root."""
    node = _node(tree, supervisor)
    if node.strategy is not Strategy.ONE_FOR_ONE:
        names = [child.name for child in node.children] + _dynamic(tree, node)
        for elder in names[: names.index(name)]:
            if any(tree.children[leaf].status is not Status.RUNNING for leaf in _leaves(tree, elder)):
                return False
    if supervisor == tree.spec.name:
        return True
    return _elders_run(tree, _parent(tree, supervisor).name, supervisor)


# -- the tree's shape ---------------------------------------------------------------------------


def _node(tree: Tree, name: str) -> SupervisorSpec:
    for node in tree.spec.supervisors():
        if node.name == name:
            return node
    raise InvalidInputError("supervisor", f"{name} is not in the tree")


def _parent(tree: Tree, name: str) -> SupervisorSpec:
    for node in tree.spec.supervisors():
        if any(child.name == name for child in node.children):
            return node
    raise InvalidInputError("supervisor", f"{name} has no supervisor")


def _dynamic(tree: Tree, node: SupervisorSpec) -> list[str]:
    static = {child.name for child in node.children}
    return [c.name for c in tree.children.values() if c.supervisor == node.name and c.name not in static]


def _leaves(tree: Tree, name: str) -> list[str]:
    """The leaf itself, or every leaf under the supervisor of this name, in order of starting."""
    if name in tree.children:
        return [name]
    below: set[str] = {node.name for node in _node_or_none(tree, name)}
    return [child.name for child in tree.children.values() if child.supervisor in below]


def _node_or_none(tree: Tree, name: str) -> list[SupervisorSpec]:
    # A static leaf that has left the tree (temporary) is a name without a node.
    for node in tree.spec.supervisors():
        if node.name == name:
            return list(node.supervisors())
    return []


def _with(tree: Tree, child: Child) -> Tree:
    return replace(tree, children={**tree.children, child.name: child})


def _without(tree: Tree, name: str) -> Tree:
    return replace(tree, children={n: c for n, c in tree.children.items() if n != name})


def _gone(tree: Tree, child: Child) -> Tree:
    if child.leaving:
        return _without(tree, child.name)
    return _with(tree, replace(child, status=Status.STOPPED, condemned=False))

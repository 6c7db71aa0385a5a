"""The supervision tree as a pure machine. Source: OTP Design Principles, Supervisor Behaviour.

The machine says what must be started, stopped and given up; it starts and stops nothing. Two
orders rule it: stopping goes in the reverse order of starting, one at a time, and a child under
``one_for_all`` or ``rest_for_one`` starts only when its elder siblings run. Children under
``one_for_one`` depend on nobody: they start together, and one that leaves holds nobody up.

Every `StartChild` is answered by one `ChildStarted` or `ChildFailed`, unless a `StopChild` comes
first; every `StopChild` is answered by one `ChildStopped`, and by nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from anya_actors.domain.machine import Command, Event, IllegalTransitionError, InvalidInputError, Step
from anya_actors.domain.supervision.spec import Restart, Strategy, SupervisorSpec
from anya_actors.domain.supervision.tree import (
    Child,
    Phase,
    Status,
    Tree,
    dynamic_under,
    in_order,
    leaves_of,
    node_of,
    parent_of,
    stands_elsewhere,
    with_child,
    without_child,
)


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
    tree = replace(tree, phase=Phase.RUNNING)
    for child in tree.children.values():
        if child.status is Status.STOPPED:
            # It died while nobody watched: adopted siblings that depend on it go as they would have.
            tree = _condemn(tree, _affected(tree, node_of(tree, child.supervisor), child.name))
    return tree, ()


def _shutdown_requested(tree: Tree, _: ShutdownRequested) -> Outcome:
    if tree.phase in (Phase.STOPPED, Phase.GAVE_UP, Phase.SHUTTING_DOWN):
        return tree, ()
    return _condemn(replace(tree, phase=Phase.SHUTTING_DOWN), tree.children), ()


def _child_started(tree: Tree, event: ChildStarted) -> Outcome:
    child = tree.child(event.name)
    if child.status is Status.STOPPING:
        return tree, ()  # it was told to stop in the meantime
    if child.status is not Status.STARTING:
        raise IllegalTransitionError(child.status.value, "ChildStarted")
    return with_child(tree, replace(child, status=Status.RUNNING, running_since_s=event.at_s)), ()


def _child_adopted(tree: Tree, event: ChildAdopted) -> Outcome:
    if tree.phase is not Phase.IDLE:
        raise IllegalTransitionError(tree.phase.value, "ChildAdopted")
    child = replace(tree.child(event.name), restarts=event.restarts)
    return with_child(tree, replace(child, status=Status.RUNNING, running_since_s=event.at_s)), ()


def _child_failed(tree: Tree, event: ChildFailed) -> Outcome:
    child = tree.child(event.name)
    if child.status in (Status.STOPPED, Status.STOPPING):
        return tree, ()  # its stop is complete when `ChildStopped` says so, not before
    stood = child.status is Status.RUNNING and (
        event.at_s - child.running_since_s > node_of(tree, child.supervisor).period_s
    )
    dead = replace(
        child,
        status=Status.STOPPED,
        restarts=child.restarts + 1,
        attempt=0 if stood else child.attempt + (child.status is Status.STARTING),
    )
    meant_to_go = child.condemned or child.leaving or tree.phase is not Phase.RUNNING
    if meant_to_go:
        return _gone(tree, child), ()
    if child.restart is Restart.TEMPORARY:
        return without_child(tree, child.name), ()
    return _restart_under(with_child(tree, dead), child.supervisor, child.name, event.at_s)


def _child_stopped(tree: Tree, event: ChildStopped) -> Outcome:
    child = tree.child(event.name)
    if child.status is not Status.STOPPING:
        raise IllegalTransitionError(child.status.value, "ChildStopped")
    return _gone(tree, child), ()


def _child_added(tree: Tree, event: ChildAdded) -> Outcome:
    if event.name in tree.children:
        raise InvalidInputError("child", f"{event.name} is in the tree already")
    if tree.phase not in (Phase.IDLE, Phase.RUNNING):  # idle: a restarted supervisor adopts
        raise IllegalTransitionError(tree.phase.value, "ChildAdded")
    node = node_of(tree, event.supervisor)
    if any(stands_elsewhere(other, event.name, node) for other in tree.spec.supervisors()):
        raise InvalidInputError("child", f"{event.name} has another place in the tree")
    tree = with_child(tree, Child(event.name, event.supervisor, Restart(event.restart)))
    return replace(tree, children={name: tree.children[name] for name in in_order(tree, tree.spec)}), ()


def _child_removed(tree: Tree, event: ChildRemoved) -> Outcome:
    child = replace(tree.child(event.name), leaving=True)
    return _condemn(with_child(tree, child), [child.name]), ()


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
    node = node_of(tree, supervisor)
    recent = tuple(t for t in tree.windows.get(supervisor, ()) if at_s - t <= node.period_s)
    tree = replace(tree, windows={**tree.windows, supervisor: (*recent, at_s)})
    if len(recent) + 1 > node.intensity:
        return _escalate(tree, node, at_s)
    return _condemn(tree, _affected(tree, node, failed)), ()


def _affected(tree: Tree, node: SupervisorSpec, failed: str) -> list[str]:
    """The leaves that go when ``failed`` dies under ``node``."""
    names = [child.name for child in node.children] + dynamic_under(tree, node)
    affected = {
        Strategy.ONE_FOR_ONE: [failed],
        Strategy.ONE_FOR_ALL: names,
        Strategy.REST_FOR_ONE: names[names.index(failed) :],
    }[node.strategy]
    return [leaf for name in affected for leaf in leaves_of(tree, name)]


def _escalate(tree: Tree, node: SupervisorSpec, at_s: float) -> Outcome:
    tree = _condemn(tree, leaves_of(tree, node.name))
    tree = replace(tree, windows={**tree.windows, node.name: ()})
    if node.name == tree.spec.name:
        return _condemn(replace(tree, phase=Phase.GAVE_UP), tree.children), (GiveUp(node.name),)
    return _restart_under(tree, parent_of(tree, node.name).name, node.name, at_s)


def _condemn(tree: Tree, names: Any) -> Tree:
    for name in list(names):
        child = tree.child(name)
        if child.status is not Status.STOPPED:
            tree = with_child(tree, replace(child, condemned=True))
        elif child.leaving:
            tree = without_child(tree, name)
    return tree


# -- what is next -------------------------------------------------------------------------------


def _advance(tree: Tree) -> Outcome:
    """Issue the next stops, or, when none is pending, every start that may begin."""
    commands: list[Command] = []
    for child in tree.children.values():
        if child.condemned and child.status is not Status.STOPPING and _goes_alone(tree, child):
            tree = with_child(tree, replace(child, status=Status.STOPPING))
            commands.append(StopChild(child.name))
    condemned = [c for c in tree.children.values() if c.condemned and not _goes_alone(tree, c)]
    if condemned:
        if not any(child.status is Status.STOPPING for child in condemned):
            last = condemned[-1]
            tree = with_child(tree, replace(last, status=Status.STOPPING))
            commands.append(StopChild(last.name))
        return tree, tuple(commands)
    if tree.phase is Phase.SHUTTING_DOWN:
        return replace(tree, phase=Phase.STOPPED), tuple(commands)
    if tree.phase is not Phase.RUNNING:
        return tree, tuple(commands)
    for child in tree.children.values():
        if child.status is Status.STOPPED and _elders_run(tree, child.supervisor, child.name):
            tree = with_child(tree, replace(child, status=Status.STARTING))
            commands.append(StartChild(child.name, child.attempt))
    return tree, tuple(commands)


def _goes_alone(tree: Tree, child: Child) -> bool:
    """Whether ``child`` leaves without anybody waiting for it: a slow farewell delays no restart."""
    independent = node_of(tree, child.supervisor).strategy is Strategy.ONE_FOR_ONE
    return child.leaving and independent and tree.phase is Phase.RUNNING


def _elders_run(tree: Tree, supervisor: str, name: str) -> bool:
    """Whether everything that ``name`` must wait for is running, up to the root."""
    node = node_of(tree, supervisor)
    if node.strategy is not Strategy.ONE_FOR_ONE:
        names = [child.name for child in node.children] + dynamic_under(tree, node)
        for elder in names[: names.index(name)]:
            leaves = [tree.children[leaf] for leaf in leaves_of(tree, elder)]
            if any(leaf.status is not Status.RUNNING and not leaf.leaving for leaf in leaves):
                return False
    if supervisor == tree.spec.name:
        return True
    return _elders_run(tree, parent_of(tree, supervisor).name, supervisor)


def _gone(tree: Tree, child: Child) -> Tree:
    if child.leaving:
        return without_child(tree, child.name)
    again = tree.phase in (Phase.IDLE, Phase.RUNNING)
    gone = replace(child, status=Status.STOPPED, condemned=False, restarts=child.restarts + again)
    return with_child(tree, gone)

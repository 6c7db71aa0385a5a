"""The shape of a supervision tree, and where each of its children stands."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from anya_actors.domain.machine import InvalidInputError
from anya_actors.domain.supervision.spec import ChildSpec, Restart, SupervisorSpec, verify_spec


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
    """The state: children in the order of starting, and the recent restarts of each supervisor.

    A dynamic child stands after the static children of its supervisor, before all that is younger
    than that supervisor.
    """

    spec: SupervisorSpec
    phase: Phase = Phase.IDLE
    children: Mapping[str, Child] = field(default_factory=dict)
    windows: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def child(self, name: str) -> Child:
        """The child of this name; raises `InvalidInputError`."""
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


def node_of(tree: Tree, name: str) -> SupervisorSpec:
    """The supervisor of this name."""
    for node in tree.spec.supervisors():
        if node.name == name:
            return node
    raise InvalidInputError("supervisor", f"{name} is not in the tree")


def parent_of(tree: Tree, name: str) -> SupervisorSpec:
    """The supervisor above the node or static leaf of this name."""
    for node in tree.spec.supervisors():
        if any(child.name == name for child in node.children):
            return node
    raise InvalidInputError("supervisor", f"{name} has no supervisor")


def dynamic_under(tree: Tree, node: SupervisorSpec) -> list[str]:
    """The children that joined ``node`` later, in the order of their coming."""
    static = {child.name for child in node.children}
    return [c.name for c in tree.children.values() if c.supervisor == node.name and c.name not in static]


def stands_elsewhere(node: SupervisorSpec, name: str, place: SupervisorSpec) -> bool:
    """Whether ``name`` is ``node`` itself, or a static child of it while it is not ``place``."""
    return node.name == name or (node is not place and any(child.name == name for child in node.children))


def in_order(tree: Tree, node: SupervisorSpec) -> list[str]:
    """Every leaf at or below ``node``, in the order of starting."""
    names: list[str] = []
    for child in node.children:
        if isinstance(child, SupervisorSpec):
            names += in_order(tree, child)
        elif child.name in tree.children:
            names.append(child.name)
    return names + dynamic_under(tree, node)


def leaves_of(tree: Tree, name: str) -> list[str]:
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


def with_child(tree: Tree, child: Child) -> Tree:
    """The tree with this child, new or changed."""
    return replace(tree, children={**tree.children, child.name: child})


def without_child(tree: Tree, name: str) -> Tree:
    """The tree without the child of this name."""
    return replace(tree, children={n: c for n, c in tree.children.items() if n != name})

"""What the platform tells of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from anya_actors.coordinator.health import Active
from anya_actors.domain.supervision.spec import ChildSpec, SupervisorSpec
from anya_actors.domain.supervision.tree import Tree


class ActorView(msgspec.Struct, frozen=True):
    """One supervised actor. ``pid``, ``node_ip`` and ``epoch`` are None while it does not serve."""

    name: str
    supervisor: str
    status: str
    restarts: int
    critical: bool
    standby: bool
    pid: int | None = None
    node_ip: str | None = None
    epoch: int | None = None


class SupervisorView(msgspec.Struct, frozen=True):
    """One node of the tree; ``children`` are the names of actors and nested supervisors."""

    name: str
    strategy: str
    intensity: int
    period_s: float
    children: tuple[SupervisorView | str, ...]


class SystemView(msgspec.Struct, frozen=True):
    """The whole platform. ``version`` grows with every change of the tree.

    ``spares`` counts the processes that wait for an actor, by the kind that they are prepared for;
    under the empty name, those that any actor may take.
    """

    name: str
    platform_version: str
    phase: str
    version: int
    coordinator_pid: int
    coordinator_epoch: int
    started_unix_ms: int
    restarts: int
    kinds: tuple[str, ...]
    tree: SupervisorView
    actors: tuple[ActorView, ...]
    settings: dict[str, Any]
    spares: dict[str, int] = msgspec.field(default_factory=dict)


def actor_views(tree: Tree, active: Mapping[str, Active], standbys: set[str]) -> tuple[ActorView, ...]:
    """Every child of ``tree``, in the order of starting."""
    critical = {leaf.name for leaf in tree.spec.leaves() if leaf.critical}
    views = []
    for child in tree.children.values():
        serving = active.get(child.name)
        identity = None if serving is None else serving.identity
        views.append(
            ActorView(
                name=child.name,
                supervisor=child.supervisor,
                status=child.status.value,
                restarts=child.restarts,
                critical=child.name in critical,
                standby=child.name in standbys,
                pid=None if identity is None else identity.pid,
                node_ip=None if identity is None else identity.node_ip,
                epoch=None if identity is None else identity.epoch,
            )
        )
    return tuple(views)


def supervisor_view(spec: SupervisorSpec, tree: Tree) -> SupervisorView:
    """The node with everything below it, dynamic children last."""
    named = {child.name for child in spec.children}
    static: list[SupervisorView | str] = [
        child.name if isinstance(child, ChildSpec) else supervisor_view(child, tree)
        for child in spec.children
    ]
    dynamic = [c.name for c in tree.children.values() if c.supervisor == spec.name and c.name not in named]
    return SupervisorView(spec.name, spec.strategy.value, spec.intensity, spec.period_s, (*static, *dynamic))

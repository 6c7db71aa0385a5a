"""What is supervised, and how, in OTP's terms."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field

from anya_actors.domain.machine import InvalidInputError
from anya_actors.domain.supervision.backoff import Backoff


class Strategy(enum.Enum):
    """Who else is restarted when one child dies."""

    ONE_FOR_ONE = "one_for_one"  # only the child itself
    ONE_FOR_ALL = "one_for_all"  # all of its siblings
    REST_FOR_ONE = "rest_for_one"  # the siblings that were started after it


class Restart(enum.Enum):
    """Whether a child that died is started again."""

    PERMANENT = "permanent"
    TEMPORARY = "temporary"  # never: it leaves the tree


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One actor. ``name`` is ``kind/key``; a critical one keeps a standby process."""

    name: str
    restart: Restart = Restart.PERMANENT
    critical: bool = False
    start_timeout_s: float = 60.0
    stop_timeout_s: float = 10.0
    idle_timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class SupervisorSpec:
    """A node of the tree.

    More than ``intensity`` restarts within ``period_s`` seconds are more than this supervisor
    accepts: it stops its children and fails, as a child of its own supervisor.
    """

    name: str
    strategy: Strategy = Strategy.ONE_FOR_ONE
    intensity: int = 5
    period_s: float = 10.0
    backoff: Backoff = field(default_factory=lambda: Backoff(first_s=0.1, longest_s=15.0))
    children: tuple[ChildSpec | SupervisorSpec, ...] = ()

    def supervisors(self) -> Iterator[SupervisorSpec]:
        """This node and every supervisor below it, top first."""
        yield self
        for child in self.children:
            if isinstance(child, SupervisorSpec):
                yield from child.supervisors()

    def leaves(self) -> Iterator[ChildSpec]:
        """Every child below this node that is an actor, in the order of starting."""
        for child in self.children:
            if isinstance(child, SupervisorSpec):
                yield from child.leaves()
            else:
                yield child


def verify_spec(root: SupervisorSpec) -> None:
    """Raise `InvalidInputError` when two nodes share a name or a number makes no sense."""
    names = [node.name for node in root.supervisors()] + [leaf.name for leaf in root.leaves()]
    for name in names:
        if names.count(name) > 1:
            raise InvalidInputError("supervision tree", f"{name} stands in it twice")
    for node in root.supervisors():
        if node.intensity < 0 or node.period_s <= 0:
            raise InvalidInputError(node.name, "intensity must be at least 0 and period_s above 0")

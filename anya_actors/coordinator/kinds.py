"""The kinds of actor that this platform has."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from anya_actors.actors.shell import Builder, DurableActor
from anya_actors.domain.supervision.spec import ChildSpec, Restart

KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind: the shell class, how its service is built, and how its actors are kept.

    ``supervisor`` is where actors of this kind appear when they are called for the first time;
    None where only the actors that stand in the tree exist. ``builder`` is picklable; it runs in
    the actor's own process. A virtual actor with ``restart`` temporary is not started again when it
    dies, but when it is called again. A ``pinned`` kind keeps files of its own beside the store, so
    it runs on the coordinator's node alone. For the next actors of the kind ``warm`` processes wait in
    which ``builder`` has prepared already, and callers are connected to them while they activate.
    """

    name: str
    shell: type[DurableActor[Any]]
    builder: Builder
    supervisor: str | None = None
    most_active: int = 64
    idle_timeout_s: float | None = 300.0
    critical: bool = False
    start_timeout_s: float = 60.0
    mailbox_limit: int = 1000
    restart: Restart = Restart.PERMANENT
    pinned: bool = False
    warm: int = 0

    def child_spec(self, actor: str) -> ChildSpec:
        """The spec of a virtual actor of this kind."""
        return ChildSpec(
            actor,
            restart=self.restart,
            critical=self.critical,
            start_timeout_s=self.start_timeout_s,
            idle_timeout_s=self.idle_timeout_s,
        )


class Kinds:
    """Finds the kind of an actor's name."""

    def __init__(self, kinds: Mapping[str, Kind]) -> None:
        self._kinds = dict(kinds)

    def kind_of(self, actor: str) -> Kind | None:
        """The kind of ``kind/key``, or None when the kind or the form of the key is unknown."""
        name, _, key = actor.partition("/")
        if KEY.fullmatch(key) is None:
            return None
        return self._kinds.get(name)

    def is_warm(self, actor: str) -> bool:
        """Whether processes wait for actors of its kind."""
        kind = self.kind_of(actor)
        return kind is not None and kind.warm > 0

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._kinds.values())

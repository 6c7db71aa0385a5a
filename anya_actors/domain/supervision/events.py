"""What supervision tells the world."""

from __future__ import annotations

from anya_actors.domain.encoding import Schema
from anya_actors.domain.machine import SystemEvent


class ActorStarted(SystemEvent, frozen=True):
    """An actor serves. ``restarts`` is 0 the first time."""

    actor: str
    epoch: int
    pid: int
    restarts: int


class ActorFailed(SystemEvent, frozen=True):
    """An actor died, hung, or could not start; its supervisor acts on it."""

    actor: str
    reason: str


class SupervisorGaveUp(SystemEvent, frozen=True):
    """The root accepted no more restarts; the platform stops."""

    supervisor: str


SUPERVISION_EVENT: Schema[SystemEvent] = Schema(
    "supervision event", ActorStarted | ActorFailed | SupervisorGaveUp
)

"""Where durable actors keep what they must not lose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from anya_actors.domain.machine import AnyaError


class FencedError(AnyaError):
    """A newer copy of this actor has been activated; this one may never commit again."""

    code = "fenced"
    message = "{} was activated again: epoch {} is over"
    remedy = "Send the call again with the same message id; it reaches the newer copy."

    def __init__(self, actor: str, epoch: int) -> None:
        super().__init__(actor, epoch)


class StoreLockedError(AnyaError):
    """Another living process holds this actor's store."""

    code = "store-locked"
    message = "the store of {} is open in another process: {}"
    remedy = "Stop the other platform that uses this data directory, or choose another --data-dir."

    def __init__(self, actor: str, where: str) -> None:
        super().__init__(actor, where)


class VersionConflictError(AnyaError):
    """The key changed since it was loaded."""

    code = "version-conflict"
    message = "{} {} is at version {}, not {}"
    remedy = "Load it again and decide anew."

    def __init__(self, actor: str, key: str, found: int, expected: int) -> None:
        super().__init__(actor, key, found, expected)


class MessageAppliedError(AnyaError):
    """The message id of this commit was applied before."""

    code = "message-applied"
    message = "{} has already applied message {}"
    remedy = "Ask for its first answer instead."

    def __init__(self, actor: str, message_id: str) -> None:
        super().__init__(actor, message_id)


class StoreFullError(AnyaError):
    """The disk (or the database) takes no more; the commit did not happen."""

    code = "store-full"
    message = "the store of {} cannot write: {}"
    remedy = "Free disk space, then send the call again with the same message id."

    def __init__(self, actor: str, reason: str) -> None:
        super().__init__(actor, reason)


@dataclass(frozen=True, slots=True)
class Stored:
    """One key as last committed. ``version`` counts its commits from 1."""

    version: int
    state: bytes


@dataclass(frozen=True, slots=True)
class Applied:
    """What was answered to a message, and the fingerprint of the request that it answered."""

    fingerprint: bytes
    reply: bytes


@dataclass(frozen=True, slots=True)
class Owed:
    """A command that has been committed and not yet been settled.

    ``sequence`` counts up from 1 over the actor's whole life, so ``actor/sequence`` names the
    effect for ever.
    """

    sequence: int
    key: str
    command: bytes


@dataclass(frozen=True, slots=True)
class Recorded:
    """One committed event. ``sequence`` counts up from 1 without gaps over the actor's life."""

    sequence: int
    event: bytes


@dataclass(frozen=True, slots=True)
class Commit:
    """One atomic change of one key.

    ``expected_version`` is 0 for a key that must not exist yet. ``settles`` are the outbox
    sequences that this commit marks done. ``at_unix_ms`` dates the reply, for
    `StateStore.forget_replies`.
    """

    key: str
    expected_version: int
    state: bytes
    message_id: str
    fingerprint: bytes = b""
    reply: bytes = b""
    commands: tuple[bytes, ...] = ()
    events: tuple[bytes, ...] = ()
    settles: tuple[int, ...] = ()
    at_unix_ms: int = 0


class StateStore(Protocol):
    """The store of one activation of one actor.

    Every method but `close` raises `FencedError` once a newer activation exists (an adapter whose
    file lock makes a second activation impossible never has to). Concurrent commits of different
    keys may share one disk sync; each is still atomic, and none returns before it is on disk.
    A method that raises has changed nothing, except that a commit whose connection broke may or
    may not have happened: the same ``message_id`` tells, as soon as a later write has returned.
    """

    @property
    def actor(self) -> str:
        """The actor's name, ``kind/key``."""

    @property
    def epoch(self) -> int:
        """This activation's number: one more than the last activation's."""

    async def load(self, key: str) -> Stored | None:
        """The key as last committed, or None."""

    async def keys(self, prefix: str = "") -> list[str]:
        """Every key that begins with ``prefix``, sorted."""

    async def applied(self, message_id: str) -> Applied | None:
        """The first answer to ``message_id``, or None if it was never applied (or forgotten)."""

    async def commit(self, commit: Commit) -> tuple[int, ...]:
        """Write state, outbox, message id and events, all or nothing, synced.

        Returns the sequences given to ``commit.commands``. Raises `VersionConflictError`,
        `MessageAppliedError`, `FencedError` or `StoreFullError`.
        """

    async def owed(self) -> list[Owed]:
        """Every command not yet settled, in the order of its sequence."""

    async def settle(self, sequence: int) -> None:
        """Mark one owed command done without changing a state; settling twice is no error."""

    async def events_after(self, sequence: int, limit: int) -> list[Recorded]:
        """Up to ``limit`` events with a greater sequence, in order."""

    async def forget_events(self, up_to_sequence: int) -> None:
        """Drop events up to and including the sequence. Numbers are never given again."""

    async def forget_replies(self, before_unix_ms: int) -> int:
        """Drop answers dated before the time; return how many. Their ids could be applied anew."""

    async def close(self) -> None:
        """Release the store. Called once, last."""


class StateStores(Protocol):
    """Opens stores: the one thing an actor needs to come to life."""

    async def activate(self, actor: str) -> StateStore:
        """Take the actor's next epoch and open its store; raises `StoreLockedError`."""

    async def names(self, prefix: str = "") -> Sequence[str]:
        """Every actor that was ever activated here and whose name begins with ``prefix``."""

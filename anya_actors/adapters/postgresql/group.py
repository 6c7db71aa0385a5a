"""Which commits of a group may be written together, and what is written for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from anya_actors.adapters.postgresql import schema
from anya_actors.domain.machine import AnyaError
from anya_actors.ports.state_store import Commit, MessageAppliedError, VersionConflictError


def encode_text(text: str) -> bytes:
    """UTF-8; it sorts as the text does, and takes every ``str``."""
    return text.encode("utf-8", "surrogatepass")


def decode_text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


@dataclass(slots=True)
class CommitGroup:
    """Commits of one actor in one transaction, decided in order, each on top of those before it.

    ``messages`` and ``versions`` are what the database holds of the messages and keys that the
    commits name, read after the actor's row was locked.
    """

    actor: str
    last_command: int
    last_event: int
    messages: set[bytes]
    versions: dict[bytes, int]
    states: dict[bytes, bytes] = field(default_factory=dict)
    replies: list[tuple[bytes, int, bytes, bytes]] = field(default_factory=list)
    owed: list[tuple[int, bytes, bytes]] = field(default_factory=list)
    events: list[tuple[int, bytes]] = field(default_factory=list)
    settled: list[int] = field(default_factory=list)

    def add(self, commit: Commit) -> tuple[int, ...] | AnyaError:
        """Take the commit in and return its command sequences, or return why it is refused."""
        message, key = encode_text(commit.message_id), encode_text(commit.key)
        if message in self.messages:
            return MessageAppliedError(self.actor, commit.message_id)
        found = self.versions.get(key, 0)
        if found != commit.expected_version:
            return VersionConflictError(self.actor, commit.key, found, commit.expected_version)
        self.messages.add(message)
        self.versions[key] = found + 1
        self.states[key] = commit.state
        self.replies.append((message, commit.at_unix_ms, commit.fingerprint, commit.reply))
        self.settled.extend(commit.settles)
        first = self.last_command + 1
        self.owed.extend((first + n, key, command) for n, command in enumerate(commit.commands))
        self.last_command += len(commit.commands)
        self.events.extend((self.last_event + 1 + n, event) for n, event in enumerate(commit.events))
        self.last_event += len(commit.events)
        return tuple(range(first, self.last_command + 1))

    async def write(self, connection: Any) -> None:
        """Write everything taken in, inside the caller's transaction."""
        actor = encode_text(self.actor)
        if not self.replies:
            return
        rows = [(key, self.versions[key], state) for key, state in self.states.items()]
        await connection.execute(schema.PUT_STATES, actor, *_columns(rows))
        await connection.execute(schema.PUT_REPLIES, actor, *_columns(self.replies))
        if self.owed:
            await connection.execute(schema.PUT_OWED, actor, *_columns(self.owed))
        if self.settled:
            # After the new ones: a commit may settle what an earlier one of its group brought.
            await connection.execute(schema.PUT_SETTLED, actor, self.settled)
        if self.events:
            await connection.execute(schema.PUT_EVENTS, actor, *_columns(self.events))
        if self.owed or self.events:
            await connection.execute(schema.PUT_NUMBERS, actor, self.last_command, self.last_event)


def _columns(rows: list[Any]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]

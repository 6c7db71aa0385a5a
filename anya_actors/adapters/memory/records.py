"""What one actor's store holds and which commits it takes: the rules that every store obeys."""

from __future__ import annotations

from anya_actors.ports.state_store import (
    Applied,
    Commit,
    MessageAppliedError,
    Owed,
    Recorded,
    Stored,
    VersionConflictError,
)


class ActorRecords:
    """The durable content of one actor, as plain dictionaries.

    `check` decides, `apply` changes. Nothing here waits, so a caller that does both without an
    ``await`` between them is atomic.
    """

    def __init__(self, actor: str) -> None:
        self.actor = actor
        self.last_command = 0
        self.last_event = 0
        self._stored: dict[str, Stored] = {}
        self._applied: dict[str, tuple[int, Applied]] = {}
        self._owed: dict[int, Owed] = {}
        self._events: dict[int, bytes] = {}

    def check(self, commit: Commit) -> None:
        """Return if ``commit`` may be applied now.

        A repeated message is told before a conflict: it is the reason for the conflict.
        """
        if commit.message_id in self._applied:
            raise MessageAppliedError(self.actor, commit.message_id)
        stored = self._stored.get(commit.key)
        found = stored.version if stored else 0
        if found != commit.expected_version:
            raise VersionConflictError(self.actor, commit.key, found, commit.expected_version)

    def apply(self, commit: Commit) -> tuple[int, ...]:
        """Change everything that ``commit`` says; the sequences of its commands."""
        self._stored[commit.key] = Stored(commit.expected_version + 1, commit.state)
        answer = Applied(commit.fingerprint, commit.reply)
        self._applied[commit.message_id] = (commit.at_unix_ms, answer)
        for sequence in commit.settles:
            self._owed.pop(sequence, None)
        first = self.last_command + 1
        for sequence, command in enumerate(commit.commands, first):
            self._owed[sequence] = Owed(sequence, commit.key, command)
        self.last_command += len(commit.commands)
        for sequence, event in enumerate(commit.events, self.last_event + 1):
            self._events[sequence] = event
        self.last_event += len(commit.events)
        return tuple(range(first, self.last_command + 1))

    def load(self, key: str) -> Stored | None:
        return self._stored.get(key)

    def keys(self, prefix: str) -> list[str]:
        return sorted(key for key in self._stored if key.startswith(prefix))

    def applied(self, message_id: str) -> Applied | None:
        found = self._applied.get(message_id)
        return found[1] if found else None

    def owed(self) -> list[Owed]:
        return [self._owed[sequence] for sequence in sorted(self._owed)]

    def settle(self, sequence: int) -> None:
        self._owed.pop(sequence, None)

    def events_after(self, sequence: int, limit: int) -> list[Recorded]:
        later = sorted(number for number in self._events if number > sequence)
        return [Recorded(number, self._events[number]) for number in later[:limit]]

    def forget_events(self, up_to_sequence: int) -> None:
        for number in [number for number in self._events if number <= up_to_sequence]:
            del self._events[number]

    def forget_replies(self, before_unix_ms: int) -> int:
        old = [name for name, (at_unix_ms, _) in self._applied.items() if at_unix_ms < before_unix_ms]
        for name in old:
            del self._applied[name]
        return len(old)

"""State stores in PostgreSQL: any node may activate an actor, the newest epoch alone commits."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from anya_actors.adapters.postgresql import schema
from anya_actors.adapters.postgresql.connections import Connections
from anya_actors.adapters.postgresql.group import CommitGroup, decode_text, encode_text
from anya_actors.domain.machine import AnyaError, UnavailableError
from anya_actors.ports.state_store import Applied, Commit, FencedError, Owed, Recorded, Stored

_LARGEST_GROUP = 256


@dataclass(frozen=True, slots=True)
class _Waiting:
    commit: Commit
    done: asyncio.Future[tuple[int, ...]]


class PostgresStateStore:
    """The store of one activation.

    Commits that arrive while a transaction is under way share the next one. All of them check the
    epoch under the actor's row lock, which an activation needs too: after a new activation has
    returned, no older one ever commits. If the connection breaks, `commit` raises
    `UnavailableError` and may have happened.
    """

    def __init__(self, actor: str, epoch: int, connections: Connections) -> None:
        self._actor = actor
        self._name = encode_text(actor)
        self._epoch = epoch
        self._connections = connections
        self._waiting: list[_Waiting] = []
        self._writer: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def actor(self) -> str:
        return self._actor

    @property
    def epoch(self) -> int:
        return self._epoch

    async def load(self, key: str) -> Stored | None:
        (row,) = await self._read(schema.LOAD, encode_text(key))
        return None if row["version"] is None else Stored(row["version"], row["state"])

    async def keys(self, prefix: str = "") -> list[str]:
        start = encode_text(prefix)
        rows = await self._read(schema.KEYS, start, len(start))
        return [decode_text(row["key"]) for row in rows if row["key"] is not None]

    async def applied(self, message_id: str) -> Applied | None:
        (row,) = await self._read(schema.APPLIED, encode_text(message_id))
        return None if row["reply"] is None else Applied(row["fingerprint"], row["reply"])

    async def owed(self) -> list[Owed]:
        rows = await self._read(schema.OWED)
        return [
            Owed(row["sequence"], decode_text(row["key"]), row["command"])
            for row in rows
            if row["sequence"] is not None
        ]

    async def events_after(self, sequence: int, limit: int) -> list[Recorded]:
        # A limit of 0 would leave out the row that tells the epoch.
        rows = await self._read(schema.EVENTS, sequence, max(limit, 1))
        found = [Recorded(row["sequence"], row["event"]) for row in rows if row["sequence"] is not None]
        return found[: max(limit, 0)]

    async def commit(self, commit: Commit) -> tuple[int, ...]:
        self._refuse_if_closed()
        done: asyncio.Future[tuple[int, ...]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(commit, done))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all())
        return await done

    async def settle(self, sequence: int) -> None:
        await self._drop(schema.SETTLE, sequence)

    async def forget_events(self, up_to_sequence: int) -> None:
        await self._drop(schema.FORGET_EVENTS, up_to_sequence)

    async def forget_replies(self, before_unix_ms: int) -> int:
        return await self._drop(schema.FORGET_REPLIES, before_unix_ms)

    async def close(self) -> None:
        self._closed = True
        if self._writer is not None:
            await self._writer

    async def _read(self, statement: str, *arguments: Any) -> list[Any]:
        self._refuse_if_closed()
        async with self._connections.one(self._actor) as connection:
            rows: list[Any] = await connection.fetch(statement, self._name, *arguments)
        if not rows or rows[0]["epoch"] != self._epoch:
            raise FencedError(self._actor, self._epoch)
        return rows

    async def _drop(self, statement: str, bound: int) -> int:
        self._refuse_if_closed()
        async with self._connections.one(self._actor) as connection:
            row = await connection.fetchrow(statement, self._name, self._epoch, bound)
        if not row["living"]:
            raise FencedError(self._actor, self._epoch)
        return int(row["gone"])

    async def _write_all(self) -> None:
        group: list[_Waiting] = []
        try:
            while self._waiting:
                group = self._waiting[:_LARGEST_GROUP]
                del self._waiting[:_LARGEST_GROUP]
                for waiting, outcome in zip(group, await self._outcomes(group), strict=True):
                    _tell(waiting.done, outcome)
        except BaseException as error:
            for waiting in group + self._waiting:
                _tell(waiting.done, UnavailableError(f"the store of {self._actor}", repr(error)))
            raise
        finally:
            self._writer = None

    async def _outcomes(self, group: Sequence[_Waiting]) -> Sequence[tuple[int, ...] | AnyaError]:
        try:
            async with self._connections.one(self._actor) as connection, connection.transaction():
                return await self._write(connection, [waiting.commit for waiting in group])
        except AnyaError as error:
            # None of the group is known to be written, so neither is what a refusal may rest on.
            return [error] * len(group)

    async def _write(self, connection: Any, commits: Sequence[Commit]) -> list[tuple[int, ...] | AnyaError]:
        numbers = await connection.fetchrow(schema.LOCK, self._name)
        if numbers is None or numbers["epoch"] != self._epoch:
            raise FencedError(self._actor, self._epoch)
        messages = [encode_text(commit.message_id) for commit in commits]
        keys = [encode_text(commit.key) for commit in commits]
        found = await connection.fetch(schema.FIND_MESSAGES, self._name, messages)
        versions = await connection.fetch(schema.FIND_VERSIONS, self._name, keys)
        decided = CommitGroup(
            self._actor,
            numbers["last_command"],
            numbers["last_event"],
            {row["message_id"] for row in found},
            {row["key"]: row["version"] for row in versions},
        )
        outcomes = [decided.add(commit) for commit in commits]
        await decided.write(connection)
        return outcomes

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise UnavailableError(f"the store of {self._actor}", "it has been closed")


def _tell(done: asyncio.Future[tuple[int, ...]], outcome: tuple[int, ...] | AnyaError) -> None:
    if done.done():
        return
    if isinstance(outcome, AnyaError):
        done.set_exception(outcome)
    else:
        done.set_result(outcome)


class PostgresStateStores:
    """Opens `PostgresStateStore`s in one database; they share this process's connections."""

    def __init__(self, url: str, *, connections: int = 8) -> None:
        """``url`` is a libpq URL, ``postgresql://user:password@host/database``."""
        self._connections = Connections(url, connections)

    async def activate(self, actor: str) -> PostgresStateStore:
        async with self._connections.one(actor) as connection:
            epoch = await connection.fetchval(schema.ACTIVATE, encode_text(actor))
        return PostgresStateStore(actor, epoch, self._connections)

    async def names(self, prefix: str = "") -> Sequence[str]:
        start = encode_text(prefix)
        async with self._connections.one(prefix) as connection:
            rows = await connection.fetch(schema.NAMES, start, len(start))
        return [decode_text(row["actor"]) for row in rows]

    async def close(self) -> None:
        """Close the connections; stores opened here can then do nothing more."""
        await self._connections.close()

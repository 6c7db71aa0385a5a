"""Ports that are served by another machine: a store as PostgreSQL gives it, and the event bus."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from anya_actors.domain.machine import UnavailableError
from anya_actors.ports.event_bus import Delivered
from anya_actors.ports.state_store import Applied, Commit, FencedError, Owed, Recorded, Stored
from anya_actors.testing.simulation.network import ConnectionRefused, Network, travelled
from anya_actors.testing.simulation.process import Machine, Process
from anya_actors.testing.simulation.store import JournalStore, JournalStores

_TIMEOUT_S = 2.0


class RemoteStores:
    """`StateStores` held by the machine ``database``; any process may activate any actor.

    A lost request or answer is `UnavailableError`: the change may have happened. The connection
    is a stream, so nothing is doubled.
    """

    def __init__(self, network: Network, process: Process, database: Machine) -> None:
        self._network = network
        self._process = process
        self._database = database

    async def activate(self, actor: str) -> RemoteStore:
        async def serve(process: Process) -> int:
            stores: JournalStores = process.served["stores"]
            return (await stores.activate(actor)).epoch

        return RemoteStore(self, actor, await self.ask(serve))

    async def names(self, prefix: str = "") -> Sequence[str]:
        async def serve(process: Process) -> Sequence[str]:
            stores: JournalStores = process.served["stores"]
            return await stores.names(prefix)

        names: Sequence[str] = await self.ask(serve)
        return names

    async def ask(self, serve: Any) -> Any:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                return await self._network.request(self._process, self._database, serve, stream=True)
        except (TimeoutError, ConnectionRefused) as error:
            raise UnavailableError("the database", type(error).__name__) from error


class RemoteStore:
    """The `StateStore` of one activation, over the network.

    Writes whose answer never came are named in the next write, and the server lets none of them
    happen after it: what PostgreSQL brings about by the lock on the actor's row.
    """

    def __init__(self, stores: RemoteStores, actor: str, epoch: int) -> None:
        self._stores = stores
        self._actor = actor
        self._epoch = epoch
        self._writes = 0
        self._given_up: set[int] = set()

    @property
    def actor(self) -> str:
        return self._actor

    @property
    def epoch(self) -> int:
        return self._epoch

    async def load(self, key: str) -> Stored | None:
        stored: Stored | None = await self._ask("load", key)
        return stored

    async def keys(self, prefix: str = "") -> list[str]:
        keys: list[str] = await self._ask("keys", prefix)
        return keys

    async def applied(self, message_id: str) -> Applied | None:
        applied: Applied | None = await self._ask("applied", message_id)
        return applied

    async def commit(self, commit: Commit) -> tuple[int, ...]:
        sequences: tuple[int, ...] = await self._write("commit", commit)
        return sequences

    async def owed(self) -> list[Owed]:
        owed: list[Owed] = await self._ask("owed")
        return owed

    async def settle(self, sequence: int) -> None:
        await self._write("settle", sequence)

    async def events_after(self, sequence: int, limit: int) -> list[Recorded]:
        events: list[Recorded] = await self._ask("events_after", sequence, limit)
        return events

    async def forget_events(self, up_to_sequence: int) -> None:
        await self._write("forget_events", up_to_sequence)

    async def forget_replies(self, before_unix_ms: int) -> int:
        dropped: int = await self._write("forget_replies", before_unix_ms)
        return dropped

    async def close(self) -> None:
        """Nothing to release: connections are not simulated."""

    async def _ask(self, method: str, *arguments: Any) -> Any:
        arguments = travelled(arguments)

        async def serve(process: Process) -> Any:
            return await getattr(self._opened(process), method)(*arguments)

        return await self._stores.ask(serve)

    async def _write(self, method: str, *arguments: Any) -> Any:
        self._writes += 1
        number, given_up = self._writes, frozenset(self._given_up)
        arguments = travelled(arguments)

        async def serve(process: Process) -> Any:
            store = self._opened(process)
            store.number, store.given_up = number, given_up
            return await getattr(store, method)(*arguments)

        try:
            answer = await self._stores.ask(serve)
        except UnavailableError:
            self._given_up.add(number)
            raise
        self._given_up -= given_up
        return answer

    def _opened(self, process: Process) -> JournalStore:
        stores: JournalStores = process.served["stores"]
        shelf = stores.shelf(self._actor)
        if shelf.epoch == 0:
            raise FencedError(self._actor, self._epoch)
        return JournalStore(stores, shelf, self._epoch)


class RemoteBus:
    """The `EventBus` of the machine ``coordinator``, over the network."""

    def __init__(self, network: Network, process: Process, coordinator: Machine) -> None:
        self._network = network
        self._process = process
        self._coordinator = coordinator

    async def publish(self, source: str, events: Sequence[Recorded]) -> int:
        last: int = await self._ask("publish", source, list(events))
        return last

    async def last_sequence(self, source: str) -> int:
        last: int = await self._ask("last_sequence", source)
        return last

    async def events_after(self, cursor: int, limit: int, wait_s: float) -> list[Delivered]:
        delivered: list[Delivered] = await self._ask("events_after", cursor, limit, wait_s)
        return delivered

    async def _ask(self, method: str, *arguments: Any) -> Any:
        arguments = travelled(arguments)

        async def serve(process: Process) -> Any:
            return await getattr(process.served["bus"], method)(*arguments)

        try:
            async with asyncio.timeout(_TIMEOUT_S):
                return await self._network.request(self._process, self._coordinator, serve)
        except (TimeoutError, ConnectionRefused) as error:
            raise UnavailableError("the event bus", type(error).__name__) from error

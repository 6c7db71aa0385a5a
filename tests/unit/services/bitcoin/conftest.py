"""A whole world for the bitcoin service in memory: node, keys, stores, bus, and a clock held still."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from anya_actors.adapters.memory.bitcoin_rpc import MemoryBitcoinNode
from anya_actors.adapters.memory.event_bus import MemoryEventBus
from anya_actors.adapters.memory.keyring import MemoryKeyring
from anya_actors.adapters.memory.state_store import MemoryStateStores
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.domain.bitcoin.address import encode_address, parse_address
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.rules import EVENT
from anya_actors.domain.bitcoin.script import p2wpkh_script
from anya_actors.domain.machine import SystemEvent, UnavailableError
from anya_actors.ports.state_store import Commit, StateStore
from anya_actors.services.bitcoin import BitcoinService, BitcoinSettings
from anya_actors.testing.clock import ManualClock

COIN_SAT = 100_000_000


class Death:
    """The moment at which a process dies: at its ``at``-th commit, before or after it is durable."""

    def __init__(self, at: int, *, durable: bool) -> None:
        self.at = at
        self.durable = durable
        self.commits = 0

    @property
    def dead(self) -> bool:
        return self.commits >= self.at

    def commit(self) -> bool:
        """Count a commit; whether the process dies at it."""
        self.commits += 1
        return self.dead


class DyingStore:
    """A store whose process dies: from then on nothing of it reaches the disk."""

    def __init__(self, store: StateStore, death: Death) -> None:
        self._store = store
        self._death = death

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, commit: Commit) -> tuple[int, ...]:
        if self._death.dead:
            raise UnavailableError("the store", "this process is dead")
        if not self._death.commit():
            return await self._store.commit(commit)
        if self._death.durable:
            await self._store.commit(commit)
        raise UnavailableError("the store", "this process has just died")

    async def settle(self, sequence: int) -> None:
        if self._death.dead:
            raise UnavailableError("the store", "this process is dead")
        await self._store.settle(sequence)


class World:
    """Everything outside the service, and the service's present incarnation."""

    def __init__(self, network: Network = Network.REGTEST) -> None:
        self.network = network
        self.node = MemoryBitcoinNode(network)
        self.keyring = MemoryKeyring()
        self.stores = MemoryStateStores()
        self.bus = MemoryEventBus()
        self.clock = ManualClock()
        self.settings = BitcoinSettings(network=network)
        self.payee = self.foreign_address(7)
        self.living: list[BitcoinService] = []

    def foreign_address(self, number: int) -> str:
        """An address that no wallet here holds."""
        address = encode_address(p2wpkh_script(number.to_bytes(20, "big")), self.network)
        assert address is not None
        return address

    def script(self, address: str) -> bytes:
        return parse_address(address, self.network)

    async def start(self, death: Death | None = None) -> BitcoinService:
        """A new incarnation over the same stores; an older one is fenced by it."""
        store: StateStore = await self.stores.activate("bitcoin/main")
        service = BitcoinService(
            store=store if death is None else DyingStore(store, death),
            rpc=self.node,
            signer=self.keyring,
            actors=self.keyring,
            clock=self.clock,
            randomness=SystemRandomness(),
            bus=self.bus,
            settings=self.settings,
        )
        self.living.append(service)
        await service.resume()
        await self.breathe()
        return service

    async def restart(self, service: BitcoinService, death: Death | None = None) -> BitcoinService:
        """The old incarnation ends as a killed process does: it tells no one, finishes nothing."""
        await service.close()
        self.living.remove(service)
        return await self.start(death)

    async def breathe(self) -> None:
        """Let everything run that waits for nothing but its turn."""
        for _ in range(400):
            await asyncio.sleep(0)

    async def pass_time(self, seconds: float = 10.0) -> None:
        """Let retries and polls happen."""
        for _ in range(int(seconds)):
            await self.clock.advance(1.0)
            await self.breathe()

    async def funded(self, service: BitcoinService, *amounts_btc: int, name: str = "main") -> str:
        """A wallet that holds a mature block reward for each entry."""
        view = await service.create_wallet(name, message_id=f"create {name}")
        self.node.mine(len(amounts_btc) or 1, self.script(view.address))
        self.node.mine(100)
        await service.follow()
        return name

    async def events(self, *kinds: type[SystemEvent]) -> list[SystemEvent]:
        await self.breathe()
        delivered = await self.bus.events_after(0, 10_000, 0)
        decoded = [EVENT.decode(one.event) for one in delivered]
        return [event for event in decoded if not kinds or isinstance(event, kinds)]

    async def close(self) -> None:
        for service in self.living:
            await service.close()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    await world.close()


@pytest.fixture
async def service(world: World) -> BitcoinService:
    return await world.start()


@pytest.fixture(scope="session")
def new_world() -> type[World]:
    return World


@pytest.fixture
def death() -> type[Death]:
    return Death

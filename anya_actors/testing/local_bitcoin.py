"""A ``bitcoin/main`` in one process over a node in memory, without Ray: for tests of what calls it."""

from __future__ import annotations

from typing import Any

from anya_actors.actors.bitcoin import BitcoinActor
from anya_actors.adapters.memory.bitcoin_rpc import MemoryBitcoinNode
from anya_actors.adapters.memory.event_bus import MemoryEventBus
from anya_actors.adapters.memory.keyring import MemoryKeyring
from anya_actors.adapters.memory.state_store import MemoryStateStores
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.ports.actors import Actors
from anya_actors.ports.clock import Clock
from anya_actors.ports.signer import Signer
from anya_actors.services.bitcoin import BitcoinService
from anya_actors.testing.local_actors import LocalActors

NAME = "bitcoin/main"


class LocalBitcoin:
    """The node, the service, and its shell. Keys are in memory unless a signer and its HSM are given."""

    def __init__(self) -> None:
        self.node = MemoryBitcoinNode()
        self.service: BitcoinService
        self._actor: BitcoinActor | None = None

    async def start(
        self, actors: LocalActors, clock: Clock, *, signer: Signer | None = None, hsm: Actors | None = None
    ) -> BitcoinService:
        """Bring the service to life and let it be ``bitcoin/main`` among ``actors``."""
        keyring = MemoryKeyring()
        self.service = BitcoinService(
            store=await MemoryStateStores().activate(NAME),
            rpc=self.node,
            signer=signer or keyring,
            actors=hsm or keyring,
            clock=clock,
            randomness=SystemRandomness(),
            bus=MemoryEventBus(),
        )
        self._actor = BitcoinActor(NAME, self, lambda: actors)
        await self._actor.activate()
        actors.place(NAME, self._actor)
        await self.service.follow()
        return self.service

    async def prepare(self) -> None:
        """As a builder: nothing is done before the store is taken."""

    async def build(self, name: str, actors: Actors) -> tuple[Any, int]:
        """As a builder: the service that `start` has made."""
        return self.service, 1

    async def close(self) -> None:
        """Stop serving."""
        if self._actor is not None:
            await self._actor.drain()

"""``bitcoin-node/main``: the one process that holds the consensus engine, which may abort it."""

from __future__ import annotations

from typing import Protocol

from anya_actors.actors.shell import DurableActor, Service, served
from anya_actors.services.bitcoin_node.addresses import NodeAddresses


class RunningNode(Service, Protocol):
    """A node that serves JSON-RPC in this process."""

    async def addresses(self) -> NodeAddresses:
        """How to reach it."""


class BitcoinNodeActor(DurableActor[RunningNode]):
    """The embedded node on Ray. Everybody talks to it over JSON-RPC, as to any Bitcoin Core."""

    @served
    async def addresses(self) -> NodeAddresses:
        return await self.service.addresses()

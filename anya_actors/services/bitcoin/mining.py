"""Mining on request (regtest), at most once for each message id."""

from __future__ import annotations

import hashlib
from typing import Final

from anya_actors.domain.bitcoin.address import parse_address
from anya_actors.domain.bitcoin.generation import (
    Generation,
    GenerationBegun,
    GenerationFailed,
    GenerationFinished,
)
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.machine import InvalidInputError, NotSupportedError
from anya_actors.ports.bitcoin_rpc import (
    BitcoinRpc,
    ChainInfo,
    NodeAuthenticationError,
    NodeBusyError,
    NodeWarmingUpError,
    RpcRefusedError,
)
from anya_actors.services.bitcoin.follower import Follower
from anya_actors.services.bitcoin.ledger import Ledger
from anya_actors.services.durable import IdempotencyConflictError

MAX_BLOCKS: Final = 1000

_NOT_MINED = (
    RpcRefusedError,
    NotSupportedError,
    NodeAuthenticationError,
    NodeBusyError,
    NodeWarmingUpError,
)


class Miner:
    """Asks the node for blocks, each request once."""

    def __init__(self, ledger: Ledger, rpc: BitcoinRpc, follower: Follower, network: Network) -> None:
        self._ledger = ledger
        self._rpc = rpc
        self._follower = follower
        self._network = network

    async def generate(self, address: str, blocks: int, message_id: str) -> list[str]:
        """See `BitcoinService.generate`."""
        self._check(address, blocks)
        tag = hashlib.sha256(message_id.encode()).hexdigest()[:32]
        key = f"generation/{tag}"
        async with self._ledger.locks(key):
            before = await self._ledger.generation(tag)
            if before is not None and (before.address, before.blocks) != (address, blocks):
                raise IdempotencyConflictError(message_id)
            if before is None or before.block_hashes is None:
                hashes = await self._generate(key, before, address, blocks)
            else:
                hashes = before.block_hashes
        await self._follower.follow()
        return list(hashes)

    def _check(self, address: str, blocks: int) -> None:
        if self._network is not Network.REGTEST:
            raise NotSupportedError("mining on request", f"{self._network.value} is not regtest")
        parse_address(address, self._network)
        if isinstance(blocks, bool) or not isinstance(blocks, int) or not 1 <= blocks <= MAX_BLOCKS:
            raise InvalidInputError("blocks", f"it is not a whole number from 1 to {MAX_BLOCKS}")

    async def _generate(
        self, key: str, before: Generation | None, address: str, blocks: int
    ) -> tuple[str, ...]:
        # A node that is not there is found out before the request counts as begun.
        tip = await self._rpc.chain_info()
        attempt = 0 if before is None else before.attempt + 1
        prefix = f"{key}/{attempt}"
        engine = self._ledger.engine
        await engine.handle(key, GenerationBegun(address, blocks), message_id=f"{prefix}/begun")
        try:
            mined = await self._rpc.generate_to_address(blocks, address)
        except _NOT_MINED as error:
            # A node may refuse in the middle, with blocks mined: then the chain has moved.
            if not isinstance(error, RpcRefusedError) or await self._stands_at(tip):
                await engine.handle(key, GenerationFailed(), message_id=f"{prefix}/failed")
            raise
        hashes = tuple(str(block_hash) for block_hash in mined)
        await engine.handle(key, GenerationFinished(hashes), message_id=f"{prefix}/finished")
        return hashes

    async def _stands_at(self, tip: ChainInfo) -> bool:
        return (await self._rpc.chain_info()).best_hash == tip.best_hash

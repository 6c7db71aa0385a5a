"""A whole node in this process: the real consensus code with its databases in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import pytest

from anya_actors.adapters.bitcoinkernel.engine import KernelEngines
from anya_actors.adapters.memory.append_log import MemoryAppendLog
from anya_actors.adapters.memory.chain_index import MemoryChainIndexes
from anya_actors.adapters.sealing.aes_gcm import AesGcmCipher
from anya_actors.adapters.sealing.argon2 import Argon2Kdf
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.hsm.root import KdfParameters
from anya_actors.ports.append_log import AppendLog
from anya_actors.ports.chain_index import ChainIndexStores
from anya_actors.services.bitcoin_node.service import BitcoinNodeService
from anya_actors.services.bitcoin_node.wallets.sealing import WalletSeals
from anya_actors.testing.clock import ManualClock

NOW_MS = 1_700_000_000_000


class CountedRandomness:
    """The same bytes in every run."""

    def __init__(self) -> None:
        self._calls = 0

    def token_bytes(self, size: int) -> bytes:
        self._calls += 1
        return bytes([self._calls]) * size

    def uniform(self) -> float:
        return 0.5


class StartNode(Protocol):
    """Starts a node."""

    async def __call__(
        self, log: AppendLog, indexes: ChainIndexStores | None = None
    ) -> BitcoinNodeService: ...


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW_MS)


@pytest.fixture
async def start_node(tmp_path: Path, clock: ManualClock) -> AsyncIterator[StartNode]:
    """Starts nodes on given journals, each with a fresh engine and fresh indexes, as after a crash."""
    started: list[BitcoinNodeService] = []

    async def start(log: AppendLog, indexes: ChainIndexStores | None = None) -> BitcoinNodeService:
        engines = KernelEngines(tmp_path / str(len(started)), Network.REGTEST, in_memory=True)
        node = BitcoinNodeService(
            engines=engines,
            log=log,
            indexes=indexes or MemoryChainIndexes(),
            clock=clock,
            randomness=CountedRandomness(),
            seals=WalletSeals(Argon2Kdf(), AesGcmCipher(SystemRandomness()), KdfParameters(8, 1, 1)),
        )
        await node.start()
        started.append(node)
        return node

    yield start
    for node in started:
        await node.close()


@pytest.fixture
async def log() -> MemoryAppendLog:
    return MemoryAppendLog()


@pytest.fixture
async def node(start_node: StartNode, log: MemoryAppendLog) -> BitcoinNodeService:
    return await start_node(log)

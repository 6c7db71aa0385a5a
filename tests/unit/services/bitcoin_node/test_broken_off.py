"""A change that breaks off in the middle: nobody is served from half of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from anya_actors.adapters.bitcoinkernel.engine import KernelEngines
from anya_actors.adapters.memory.append_log import MemoryAppendLog
from anya_actors.adapters.memory.chain_index import MemoryChainIndexes
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.transaction import Transaction, TxOutput
from anya_actors.domain.machine import UnavailableError
from anya_actors.ports.append_log import AppendLog
from anya_actors.ports.consensus import EngineFailedError
from anya_actors.services.bitcoin_node.service import BitcoinNodeService
from anya_actors.testing.clock import ManualClock
from tests.unit.services.bitcoin_node.purse import pay, wallet_script

StartNode = Callable[[AppendLog], Awaitable[BitcoinNodeService]]

TRUE = b"\x51"


class BreakingEngines(KernelEngines):
    """The real engine; ``broken`` names the calls that fail from now on."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, Network.REGTEST, in_memory=True)
        self.broken: set[str] = set()

    def open(self, *, wipe: bool) -> Any:
        self._refuse("open")
        engine: Any = super().open(wipe=wipe)
        verify = engine.verify_scripts

        def verify_scripts(transaction: Transaction, spent: Sequence[TxOutput]) -> None:
            self._refuse("verify_scripts")
            verify(transaction, spent)

        engine.verify_scripts = verify_scripts
        return engine

    def _refuse(self, call: str) -> None:
        if call in self.broken:
            raise EngineFailedError(call, "its disk cannot be read")


@pytest.fixture
def engines(tmp_path: Path) -> BreakingEngines:
    return BreakingEngines(tmp_path / "breaking")


@pytest.fixture
async def node(engines: BreakingEngines, log: MemoryAppendLog, clock: ManualClock) -> BitcoinNodeService:
    node = BitcoinNodeService(
        engines=engines,
        log=log,
        indexes=MemoryChainIndexes(),
        clock=clock,
        randomness=SystemRandomness(),
    )
    await node.start()
    return node


async def test_a_branch_left_half_way_is_left_in_full_after_a_new_start(
    node: BitcoinNodeService, engines: BreakingEngines, log: MemoryAppendLog, start_node: StartNode
) -> None:
    hashes = await node.generate(TRUE, 3)
    engines.broken = {"open"}
    with pytest.raises(EngineFailedError):
        await node.invalidate_block(hashes[1])
    with pytest.raises(UnavailableError, match="opened anew"):
        await node.check_health()
    await node.close()
    assert (await start_node(log)).chain.tip.height == 1


async def test_what_a_block_gave_up_is_not_lost_when_taking_it_back_breaks_off(
    node: BitcoinNodeService, engines: BreakingEngines, log: MemoryAppendLog, start_node: StartNode
) -> None:
    script = await wallet_script(node)
    await node.generate(script, 1)
    await node.generate(TRUE, 100)
    txid = await pay(node, script, 1_000_000)
    hashes = await node.generate(TRUE, 1)
    node._waiting.acceptance._verified.clear()  # judged so long ago that it must be judged again
    engines.broken = {"verify_scripts"}
    with pytest.raises(EngineFailedError):
        await node.invalidate_block(hashes[-1])
    with pytest.raises(UnavailableError, match="opened anew"):
        await node.check_health()
    await node.close()
    assert txid in (await start_node(log)).pool.entries

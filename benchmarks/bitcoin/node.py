"""A node on disk for benchmarks, as ``anya up`` builds it, without its doors."""

from __future__ import annotations

from pathlib import Path

from anya_actors.adapters.bitcoinkernel.engine import KernelEngines
from anya_actors.adapters.files.append_log import FileAppendLog
from anya_actors.adapters.files.disk import SystemDisk
from anya_actors.adapters.rocksdb.chain_index import RocksdbChainIndexes
from anya_actors.adapters.system.clock import SystemClock
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.domain.bitcoin.network import Network
from anya_actors.services.bitcoin_node.service import BitcoinNodeService


async def open_node(folder: Path) -> BitcoinNodeService:
    """Start the node whose data lies in ``folder``."""
    node = BitcoinNodeService(
        engines=KernelEngines(folder / "kernel", Network.REGTEST),
        log=await FileAppendLog.open(SystemDisk(folder), "journal"),
        indexes=RocksdbChainIndexes(folder / "indexes"),
        clock=SystemClock(),
        randomness=SystemRandomness(),
    )
    await node.start()
    return node

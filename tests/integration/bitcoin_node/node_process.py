"""A node in a process of its own, to be killed: ``python node_process.py DATA_DIR [FEE_INTERVAL_S]``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from anya_actors.adapters.bitcoinkernel.engine import KernelEngines
from anya_actors.adapters.files.append_log import FileAppendLog
from anya_actors.adapters.files.disk import SystemDisk
from anya_actors.adapters.rocksdb.chain_index import RocksdbChainIndexes
from anya_actors.adapters.sealing.aes_gcm import AesGcmCipher
from anya_actors.adapters.sealing.argon2 import Argon2Kdf
from anya_actors.adapters.system.clock import SystemClock
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.hsm.root import KdfParameters
from anya_actors.serve.bitcoin_node.embedded import (
    FEE_INTERVAL_S,
    EmbeddedNode,
    EmbeddedNodeSettings,
    serve_until_told,
)
from anya_actors.services.bitcoin_node import flushing
from anya_actors.services.bitcoin_node.addresses import NodeAddresses
from anya_actors.services.bitcoin_node.wallets.sealing import WalletSeals


def _tell(addresses: NodeAddresses) -> None:
    sys.stdout.write(f"{addresses.bitcoin_rpc} {addresses.bitcoin_cookie}\n")
    sys.stdout.flush()


async def _main(data_dir: Path, fee_interval_s: float) -> None:
    # Often enough that kills meet flushes: otherwise these short lives would end before the first.
    flushing._JUDGED_S, flushing._JUDGED_PER_FLUSH = 0.02, 2  # type: ignore[misc]

    async def open_journal() -> FileAppendLog:
        return await FileAppendLog.open(SystemDisk(data_dir), "journal")

    node = EmbeddedNode(
        EmbeddedNodeSettings(data_dir, fee_interval_s=fee_interval_s),
        engines=KernelEngines(data_dir / "kernel", Network.REGTEST),
        open_journal=open_journal,
        indexes=RocksdbChainIndexes(data_dir / "indexes"),
        clock=SystemClock(),
        randomness=SystemRandomness(),
        seals=WalletSeals(Argon2Kdf(), AesGcmCipher(SystemRandomness()), KdfParameters(8, 1, 1)),
    )
    await serve_until_told(node, _tell)


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else FEE_INTERVAL_S))

"""Whether the node's memory stays flat over 10,000 blocks.

Blocks with a few real transactions each, handed to a node on disk in a process of its own; the
resident memory of that process after every tenth of them. Starts: `bench_restart`.
``python -m benchmarks.bitcoin.bench_memory --blocks 10000``.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import multiprocessing
import shutil
import sys
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path

import psutil

from benchmarks.bitcoin.blocks import Workload
from benchmarks.bitcoin.node import open_node
from benchmarks.report import write

TRANSACTIONS = 4
MIB = 1 << 20
LIMIT_MIB = 32
"""The kernel keeps 300 bytes and more for every block, the node half a kilobyte."""


def grow(folder: Path, blocks: int, told: Connection) -> None:
    """Take blocks and tell the memory; in a process of its own."""
    asyncio.run(_grow(folder, blocks, told))


async def _grow(folder: Path, blocks: int, told: Connection) -> None:
    node = await open_node(folder)
    workload = Workload(100)
    process = psutil.Process()
    for block in workload.first_blocks():
        await node.submit_block(block)
    for number in range(1, blocks + 1):
        await node.submit_block(workload.spending_block(TRANSACTIONS))
        if number % (blocks // 10) == 0:
            gc.collect()
            told.send((number, process.memory_info().rss / MIB))
    await node.close()


def measure(blocks: int, folder: Path) -> list[tuple[int, float]]:
    """The curve."""
    fresh = multiprocessing.get_context("spawn")
    reader, writer = fresh.Pipe(duplex=False)
    process = fresh.Process(target=grow, args=(folder, blocks, writer))
    process.start()
    curve = []
    for _ in range(10):
        curve.append(reader.recv())
        print(f"{curve[-1][0]:>8} blocks {curve[-1][1]:>8.1f} MiB", flush=True)
    process.join()
    return curve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=10_000)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="anya-memory-"))
    try:
        curve = measure(arguments.blocks, folder)
    finally:
        shutil.rmtree(folder)
    grown_mib = curve[-1][1] - curve[0][1]
    print(f"grown by {grown_mib:.1f} MiB from {curve[0][0]} to {curve[-1][0]} blocks")
    write(
        "bitcoin_memory",
        {
            "transactions_per_block": TRANSACTIONS,
            "rss_mib": dict(curve),
            "grown_mib": grown_mib,
            "limit_mib": LIMIT_MIB,
        },
    )
    if grown_mib > LIMIT_MIB:
        sys.exit(f"the memory grew by more than {LIMIT_MIB} MiB")


if __name__ == "__main__":
    main()

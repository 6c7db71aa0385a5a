"""Whether the node's memory stays flat over 10,000 blocks, and how long it takes to start with them.

Blocks with a few real transactions each, handed to a node on disk in a process of its own; the
resident memory of that process after every tenth of them. Then two starts: after a clean stop, and
after a stop that was none, where the engine has to judge every block of the journal again.
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
import time
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


def start(folder: Path, told: Connection, *, clean: bool) -> None:
    """Start, tell how long it took and the memory; in a process of its own."""
    asyncio.run(_start(folder, told, clean))


async def _start(folder: Path, told: Connection, clean: bool) -> None:
    began = time.perf_counter()
    node = await open_node(folder, clean=clean)
    told.send((time.perf_counter() - began, psutil.Process().memory_info().rss / MIB))
    await node.close()


def measure(blocks: int, folder: Path) -> tuple[list[tuple[int, float]], dict[str, tuple[float, float]]]:
    """The curve, and seconds and memory of both kinds of start."""
    fresh = multiprocessing.get_context("spawn")
    reader, writer = fresh.Pipe(duplex=False)
    process = fresh.Process(target=grow, args=(folder, blocks, writer))
    process.start()
    curve = []
    for _ in range(10):
        curve.append(reader.recv())
        print(f"{curve[-1][0]:>8} blocks {curve[-1][1]:>8.1f} MiB", flush=True)
    process.join()
    starts = {}
    for name, clean in (("clean", True), ("unclean", False)):
        process = fresh.Process(target=start, args=(folder, writer), kwargs={"clean": clean})
        process.start()
        starts[name] = reader.recv()
        process.join()
        print(f"start after a stop that was {name}: {starts[name][0]:.2f} s, {starts[name][1]:.1f} MiB")
    return curve, starts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=10_000)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="anya-memory-"))
    try:
        curve, starts = measure(arguments.blocks, folder)
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
            "start_s": {name: seconds for name, (seconds, _) in starts.items()},
            "start_rss_mib": {name: mib for name, (_, mib) in starts.items()},
        },
    )
    if grown_mib > LIMIT_MIB:
        sys.exit(f"the memory grew by more than {LIMIT_MIB} MiB")


if __name__ == "__main__":
    main()

"""How long a node takes to serve again after SIGKILL, after an orderly stop, and judging all its blocks.

Blocks with a few real transactions each, handed to a node on disk in a process of its own, which is
killed at several lengths of its chain: how much it had judged since the engine's last flush is
chance. Judging all blocks is what it did after every kill before the engine was flushed now and
then, and does when the engine's directory is lost.
``python -m benchmarks.bitcoin.bench_restart --blocks 1000 10000``.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import random
import shutil
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.bitcoin.blocks import Workload
from benchmarks.bitcoin.node import open_node
from benchmarks.report import show, spread, write

TRANSACTIONS = 4
MOST_BETWEEN = 200
FRESH = multiprocessing.get_context("spawn")


def live(folder: Path, pipe: Connection) -> None:
    """Start, tell the seconds, then take blocks until an empty one; in a process of its own."""
    asyncio.run(_live(folder, pipe))


async def _live(folder: Path, pipe: Connection) -> None:
    began = time.perf_counter()
    node = await open_node(folder)
    pipe.send(time.perf_counter() - began)
    while raw := pipe.recv_bytes():
        await node.submit_raw_block(raw)
        pipe.send(node.chain.tip.height)
    await node.close()


class Life:
    """One node after another in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._workload = Workload(100)
        self.start()
        for block in self._workload.first_blocks():
            self._give(block.serialize())

    def start(self) -> float:
        """Seconds until it serves."""
        self._pipe, theirs = FRESH.Pipe()
        self._process = FRESH.Process(target=live, args=(self._folder, theirs))
        self._process.start()
        theirs.close()
        seconds: float = self._pipe.recv()
        return seconds

    @property
    def height(self) -> int:
        return self._workload.height

    def grow(self, height: int) -> None:
        """Give it blocks up to a height."""
        while self._workload.height < height:
            self._give(self._workload.spending_block(TRANSACTIONS).serialize())

    def _give(self, raw: bytes) -> None:
        self._pipe.send_bytes(raw)
        height = self._pipe.recv()
        if height != self._workload.height:
            raise RuntimeError(f"the node stands at {height} of {self._workload.height} blocks")

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.join()

    def stop(self) -> None:
        """An orderly stop."""
        self._pipe.send_bytes(b"")
        self._process.join()

    def forget(self) -> None:
        """Lose what the engine was flushed with."""
        shutil.rmtree(self._folder / "kernel")


def measure(life: Life, blocks: int, kills: int, chance: random.Random) -> dict[str, list[float]]:
    """Seconds of the starts at about this many blocks, by how the node had ended."""
    found: dict[str, list[float]] = {"killed": [], "stopped": [], "killed, all judged again": []}
    life.grow(blocks - kills * MOST_BETWEEN // 2)
    for _ in range(kills):
        life.grow(life.height + chance.randrange(MOST_BETWEEN))
        life.kill()
        found["killed"].append(life.start())
    for _ in range(3):
        life.stop()
        found["stopped"].append(life.start())
    life.kill()
    life.forget()
    found["killed, all judged again"].append(life.start())
    show(f"seconds to serve, {blocks} blocks", "s", {name: spread(times) for name, times in found.items()})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--kills", type=int, default=9)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="anya-restart-"))
    try:
        life, chance = Life(folder), random.Random(7)
        found = {blocks: measure(life, blocks, arguments.kills, chance) for blocks in arguments.blocks}
        life.stop()
    finally:
        shutil.rmtree(folder)
    write(
        "bitcoin_restart",
        {
            "transactions_per_block": TRANSACTIONS,
            "start_s": {
                blocks: {name: spread(times) for name, times in kinds.items()}
                for blocks, kinds in found.items()
            },
        },
    )


if __name__ == "__main__":
    main()

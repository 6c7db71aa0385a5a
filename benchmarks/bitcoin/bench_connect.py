"""How long a block of 2,000 transactions takes: the bare kernel, and our node around it.

Both get the same bytes in turn, in one process, each with a data directory of its own on the same
disk, and the kernel is set up alike. The kernel's time is that of reading the block from bytes and
``ProcessNewBlock``. The node's ends when ``submit_raw_block`` has returned: judged, synced to the
journal, indexed, the mempool brought behind it and subscribers told. Every transaction has one real
input, half of them P2WPKH, half P2TR. The processor time beside it is that of all threads.
``python -m benchmarks.bitcoin.bench_connect --rounds 20``.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from anya_actors.adapters.bitcoinkernel.engine import KernelEngine, KernelEngines
from anya_actors.domain.bitcoin.network import Network
from anya_actors.ports.consensus import Standing
from anya_actors.services.bitcoin_node.service import BitcoinNodeService
from benchmarks.bitcoin.blocks import Workload
from benchmarks.bitcoin.node import open_node
from benchmarks.report import show, spread, write

TRANSACTIONS = 2_000
LIMIT = 1.3
BARE, NODE, CPU = "bare kernel", "our node", "our node, processor time"


async def measure(rounds: int, folder: Path) -> tuple[dict[str, list[float]], list[float]]:
    """Milliseconds of each, and the ratio round by round."""
    engine = KernelEngines(folder / "bare", Network.REGTEST).open(wipe=True)
    node = await open_node(folder / "node")
    notices: list[object] = []
    node.subscribe(notices.append)
    workload = Workload(TRANSACTIONS)
    for block in workload.first_blocks():
        _bare(engine, block.serialize())
        await node.submit_block(block)
    found: dict[str, list[float]] = {BARE: [], NODE: [], CPU: []}
    ratios = []
    for number in range(-2, rounds):
        raw = workload.spending_block(TRANSACTIONS).serialize()
        bare_ms, node_ms, cpu_ms = await _round(engine, node, raw, bare_first=number % 2 == 0)
        if number >= 0:  # the rounds before the first warm up
            for name, value in ((BARE, bare_ms), (NODE, node_ms), (CPU, cpu_ms)):
                found[name].append(value)
            ratios.append(node_ms / bare_ms)
    if node.chain.index.tip != engine.tip()[0] or len(notices) != workload.height:
        raise RuntimeError("the node did not follow")
    await node.close()
    engine.close()
    return found, ratios


async def _round(
    engine: KernelEngine, node: BitcoinNodeService, raw: bytes, *, bare_first: bool
) -> tuple[float, float, float]:
    async def bare() -> None:
        await asyncio.to_thread(_bare, engine, raw)

    async def ours() -> None:
        verdict = await node.submit_raw_block(raw)
        if verdict.standing is not Standing.VALID:
            raise RuntimeError(verdict.reason)

    times: dict[str, tuple[float, float]] = {}
    steps: list[tuple[str, Callable[[], Awaitable[None]]]] = [(BARE, bare), (NODE, ours)]
    for name, step in steps if bare_first else reversed(steps):
        cpu, wall = time.process_time(), time.perf_counter()
        await step()
        times[name] = (time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3
    return times[BARE][0], times[NODE][0], times[NODE][1]


def _bare(engine: KernelEngine, raw: bytes) -> None:
    if engine.process_block(raw).standing is not Standing.VALID:
        raise RuntimeError("the kernel refused a block")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="anya-connect-"))
    try:
        found, ratios = asyncio.run(measure(arguments.rounds, folder))
    finally:
        shutil.rmtree(folder)
    rows = {name: spread(values) for name, values in found.items()}
    ratio = spread(ratios)
    show(f"a block of {TRANSACTIONS} transactions", "ms", rows)
    show("our node / bare kernel, round by round", "times", {"ratio": ratio})
    write(
        "bitcoin_connect",
        {"unit": "ms", "transactions": TRANSACTIONS, "rows": rows, "ratio": ratio, "limit": LIMIT},
    )
    if ratio["median"] > LIMIT:
        sys.exit(f"the median ratio {ratio['median']:.2f} is over the limit of {LIMIT}")


if __name__ == "__main__":
    main()

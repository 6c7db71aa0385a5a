"""How many addresses a second are looked up in the node's indexes, in process.

One look-up is the history and the unspent outputs of a random script, from the indexes of a real
node: blocks of 2,000 transactions, then the node is closed and opened again, so that rows come from
the disk's tables. Most scripts were paid once; those of the keys, which every block pays again,
have a long history; some were never paid. ``python -m benchmarks.bitcoin.bench_lookups --rounds 20``.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from anya_actors.domain.bitcoin.coin_index import scripthash
from anya_actors.services.bitcoin_node.chain_index import ChainIndex
from benchmarks.bitcoin.blocks import Workload
from benchmarks.bitcoin.node import open_node
from benchmarks.report import show, spread, write

TRANSACTIONS = 2_000
A_ROUND = 5_000
LEAST_PER_S = 10_000


def rounds_of(index: ChainIndex, names: list[bytes], rounds: int, chance: random.Random) -> list[float]:
    """Look-ups per second."""
    rates = []
    for number in range(-1, rounds):
        chosen = chance.choices(names, k=A_ROUND)
        began = time.perf_counter()
        for name in chosen:
            index.history(name)
            index.unspent(name)
        if number >= 0:  # the round before the first warms up
            rates.append(A_ROUND / (time.perf_counter() - began))
    return rates


async def measure(blocks: int, rounds: int, folder: Path) -> tuple[dict[str, list[float]], int]:
    """The rates by kind of script, and how many scripts there are."""
    node = await open_node(folder)
    workload = Workload(TRANSACTIONS)
    for block in workload.first_blocks():
        await node.submit_block(block)
    once: list[bytes] = []
    for _ in range(blocks):
        block = workload.spending_block(TRANSACTIONS)
        once += [scripthash(item.outputs[1].script_pubkey) for item in block.transactions[1:]]
        await node.submit_block(block)
    await node.close()
    node = await open_node(folder)
    chance = random.Random(7)
    often = [scripthash(script) for script in workload.scripts]
    never = [chance.randbytes(32) for _ in range(len(once) // 10)]
    kinds = {
        "all": once + often + never,
        "paid once": once,
        f"paid and spent by {blocks} blocks": often,
        "never paid": never,
    }
    found = {kind: rounds_of(node.chain.index, names, rounds, chance) for kind, names in kinds.items()}
    await node.close()
    return found, len(kinds["all"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--blocks", type=int, default=20)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="anya-lookups-"))
    try:
        found, scripts = asyncio.run(measure(arguments.blocks, arguments.rounds, folder))
    finally:
        shutil.rmtree(folder)
    rows = {kind: spread(rates) for kind, rates in found.items()}
    show(f"look-ups among {scripts} scripts", "per second", rows)
    write("bitcoin_lookups", {"unit": "per second", "scripts": scripts, "rows": rows, "least": LEAST_PER_S})
    if rows["all"]["median"] < LEAST_PER_S:
        sys.exit(f"fewer than {LEAST_PER_S} look-ups a second")


if __name__ == "__main__":
    main()

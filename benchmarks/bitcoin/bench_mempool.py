"""How many transactions a second enter the embedded node's mempool, and where the time goes.

Each transaction has one input (half P2WPKH, half P2TR) and two outputs, comes alone, and is on
disk before the next is sent. Beside it, over the same transactions: the two judges of scripts
alone, choosing a block of them, and what they take in memory against what the mempool counts.
``python -m benchmarks.bitcoin.bench_mempool --rounds 5``.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

from anya_actors.adapters.bitcoinkernel.engine import verify_scripts
from anya_actors.domain.bitcoin.block_template import choose_transactions
from anya_actors.domain.bitcoin.mempool import Mempool, MempoolEntry
from anya_actors.domain.bitcoin.script_policy import verify_standard_scripts
from anya_actors.domain.bitcoin.transaction import Transaction, TxOutput, parse_transaction
from benchmarks.bitcoin.blocks import Workload
from benchmarks.bitcoin.node import open_node
from benchmarks.report import show, spread, write

A_ROUND = 500

Rates = dict[str, list[float]]
Spends = list[tuple[Transaction, list[TxOutput]]]


def _rate(began: float) -> float:
    return A_ROUND / (time.perf_counter() - began)


def judges(spends: Spends, rates: Rates) -> None:
    """Each judge of scripts alone."""
    for name, judge in (
        ("relay rules (btclib)", verify_standard_scripts),
        ("consensus (kernel)", verify_scripts),
    ):
        began = time.perf_counter()
        for transaction, spent in spends:
            judge(transaction, spent)
        rates.setdefault(f"scripts under {name}", []).append(_rate(began))


async def measure(rounds: int, folder: Path) -> tuple[Rates, list[MempoolEntry]]:
    """Rates by what is done, and the entries of the last round."""
    node = await open_node(folder)
    workload = Workload(A_ROUND)
    for block in workload.first_blocks():
        await node.submit_block(block)
    rates: Rates = {}
    entries: list[MempoolEntry] = []
    for _ in range(rounds):
        spends = [parse_transaction(found.serialize()) for found in workload.spends(A_ROUND)]
        began = time.perf_counter()
        for transaction in spends:
            await node.submit_transaction(transaction)
        rates.setdefault("accepted, each synced", []).append(_rate(began))
        entries = list(node.pool.entries.values())
        judges([(entry.transaction, list(entry.spent)) for entry in entries], rates)
        began = time.perf_counter()
        chosen = choose_transactions(node.pool)
        rates.setdefault("chosen for a block", []).append(_rate(began))
        await node.submit_block(workload.block([entry.transaction for entry in chosen]))
    await node.close()
    return rates, entries


def memory(entries: Sequence[MempoolEntry]) -> dict[str, float]:
    """Bytes for each transaction: traced, and as the mempool counts them."""
    raw = [(entry.transaction.serialize(), entry) for entry in entries]
    tracemalloc.start()
    pool = Mempool()
    before, _ = tracemalloc.get_traced_memory()
    for data, entry in raw:
        spent = tuple(
            TxOutput(found.amount_sat, bytes(bytearray(found.script_pubkey))) for found in entry.spent
        )
        pool.add(MempoolEntry(parse_transaction(data), entry.fee_sat, 0, 0, entry.sigops_cost, spent))
    pool.take_notices()
    pool.clusters.worst_chunk()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return {"traced": (after - before) / len(raw), "counted": pool.usage_bytes / len(raw)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="anya-mempool-"))
    try:
        rates, entries = asyncio.run(measure(arguments.rounds, folder))
    finally:
        shutil.rmtree(folder)
    rows = {name: spread(found) for name, found in rates.items()}
    show("transactions", "per second", rows)
    taken = memory(entries)
    print(f"bytes of memory a transaction: {taken['traced']:.0f} traced, {taken['counted']:.0f} counted")
    write("bitcoin_mempool", {"unit": "transactions per second", "rows": rows, "bytes_each": taken})


if __name__ == "__main__":
    main()

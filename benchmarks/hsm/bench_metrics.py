"""What counting costs the HSM for each audited operation, over a table that is as full as it may be.

python -m benchmarks.hsm.bench_metrics [--rounds N]
"""

from __future__ import annotations

import argparse
import sys
import time

from anya_actors.domain.hsm.metrics import MOST_KEYS, OperationMetrics
from benchmarks.report import show, spread, write

CALLS = 20_000


def measure(rounds: int) -> dict[str, list[float]]:
    """Microseconds for each."""
    metrics = OperationMetrics()
    for number in range(MOST_KEYS):
        metrics.count("alice", f"key-{number}", "ed25519", "sign", "ok")
        metrics.observe("alice", f"key-{number}", "ed25519", "sign", number / 1e6)
    found: dict[str, list[float]] = {"counted and timed": [], "counted as other": [], "all sums": []}
    for _ in range(rounds):
        began = time.perf_counter()
        for _ in range(CALLS):
            metrics.count("alice", "key-7", "ed25519", "sign", "ok", 100)
            metrics.observe("alice", "key-7", "ed25519", "sign", 0.00021, 100)
        found["counted and timed"].append((time.perf_counter() - began) / CALLS * 1e6)
        began = time.perf_counter()
        for _ in range(CALLS):
            metrics.count("mallory", "guess", "", "open", "refused: unknown-key")
        found["counted as other"].append((time.perf_counter() - began) / CALLS * 1e6)
        began = time.perf_counter()
        metrics.sums()
        found["all sums"].append((time.perf_counter() - began) * 1e6)
    return found


def main(arguments: list[str]) -> None:
    """Measure, show and write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args(arguments).rounds
    result = {name: spread(values) for name, values in measure(rounds).items()}
    show("metrics of the HSM, 1000 keys", "µs", result)
    write("hsm_metrics", {"us": result})


if __name__ == "__main__":
    main(sys.argv[1:])

"""What a durable commit costs on top of a bare Ray actor call, in one run.

Three calls in turn, one at a time and 100 at once: a bare async Ray actor; a read of our actor (its
host, mailbox and client); a deposit, which commits state, outbox, answer and event, synced to disk,
and then performs the effect it owes. ``python -m benchmarks.actors.bench_commit --rounds 10``.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from anya_actors.testing.shared_ray import SharedRay, prepare_environment
from benchmarks.report import show, spread, write

BARE, READ, COMMIT = "bare Ray actor call", "our actor, read", "our actor, durable commit"
CALLS = {1: 200, 100: 1000}


class Bare:
    """The least that an async Ray actor can do."""

    async def echo(self, number: int) -> int:
        """The number."""
        return number


async def rate(call: Callable[[int], Awaitable[Any]], at_once: int) -> float:
    """Calls per second, so many of them under way at any moment."""
    numbers = iter(range(CALLS[at_once]))

    async def caller() -> None:
        for number in numbers:
            await call(number)

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(at_once)))
    return CALLS[at_once] / (time.perf_counter() - began)


async def measure(rounds: int, folder: Path) -> dict[int, dict[str, list[float]]]:
    """Interleaved rounds over one Ray."""
    import ray

    from anya_actors.coordinator.client import RayActors
    from anya_actors.coordinator.launch import launch_coordinator, stop_coordinator
    from anya_actors.testing.ledger_actor import ledger_plan

    coordinator = await launch_coordinator(ledger_plan(folder))
    actors = RayActors()
    bare: Any = ray.remote(Bare).options(num_cpus=0, max_concurrency=1000).remote()
    ids = itertools.count()

    async def read(number: int) -> Any:
        return await actors.call("ledger/main", "account", f"account-{number % 64}")

    async def commit(number: int) -> Any:
        name = f"account-{number % 64}"
        return await actors.call("ledger/main", "deposit", name, 1, message_id=f"m{next(ids)}")

    calls = {BARE: lambda number: bare.echo.remote(number), READ: read, COMMIT: commit}
    found: dict[int, dict[str, list[float]]] = {n: {name: [] for name in calls} for n in CALLS}
    for at_once in CALLS:
        for number in range(-1, rounds):
            for name, call in calls.items():
                per_s = await rate(call, at_once)
                if number >= 0:  # the round before the first warms up
                    found[at_once][name].append(per_s)
    await stop_coordinator(coordinator)
    return found


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    folder = Path(tempfile.mkdtemp(prefix="anya-bench-"))
    prepare_environment(folder)
    shared = SharedRay()
    try:
        shared.ensure()
        found = asyncio.run(measure(rounds, folder))
    finally:
        shared.stop()
        shutil.rmtree(folder)
    result = {}
    for at_once, rates in found.items():
        rows = {name: spread(values) for name, values in rates.items()}
        show(f"{at_once} call(s) at once", "calls/s", rows)
        overhead_ms = (1 / rows[COMMIT]["median"] - 1 / rows[BARE]["median"]) * 1e3
        print(f"a durable commit costs {overhead_ms:.2f} ms of wall time more than a bare call")
        result[str(at_once)] = {"calls_per_s": rows, "commit_over_bare_ms": overhead_ms}
    write("commit", {"calls_at_once": result})
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""From SIGKILL of an actor to its next served call, beside Ray's own restart, in one run.

Each round kills, one after another: a bare Ray actor that Ray restarts (``max_restarts=-1`` with
retries, its best case, no state to bring back); our actor, restarted by its supervisor, with its
state restored and the effect it owed performed; and our actor marked critical, succeeded by its
standby. ``python -m benchmarks.actors.bench_recovery --rounds 15``.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from anya_actors.testing.shared_ray import SharedRay, prepare_environment
from benchmarks.report import show, spread, write

BARE, OURS, CRITICAL = "Ray max_restarts=-1", "supervised", "supervised, critical (standby)"
LIMIT_CRITICAL_S = 0.150


class Bare:
    """The least that Ray restarts."""

    def pid(self) -> int:
        """Its process."""
        return os.getpid()


async def kill_bare(actor: Any) -> float:
    """Seconds from the kill to the next answer."""
    os.kill(await actor.pid.remote(), signal.SIGKILL)
    began = time.perf_counter()
    await actor.pid.remote()
    return time.perf_counter() - began


async def kill_ours(actors: Any, name: str, number: int) -> float:
    """Seconds from the kill to an answer that shows the state restored and nothing owed."""
    from anya_actors.testing.pytest_plugin import serving_pid

    pid = await serving_pid(actors, name)
    paid = await actors.call(name, "deposit", "alice", 1, message_id=f"m{number}")
    os.kill(pid, signal.SIGKILL)
    began = time.perf_counter()
    account = await actors.call(name, "settled", "alice")
    took = time.perf_counter() - began
    if (account.deposits, account.receipts) != (paid.deposits, paid.deposits):
        raise AssertionError(f"lost or doubled: {account}")
    return took


async def measure(rounds: int, folder: Path) -> dict[str, list[float]]:
    """Interleaved rounds over one Ray."""
    import ray

    from anya_actors.coordinator.client import RayActors
    from anya_actors.coordinator.launch import launch_coordinator, stop_coordinator
    from anya_actors.testing.ledger_actor import ledger_plan

    coordinator = await launch_coordinator(ledger_plan(folder, critical=True))
    actors = RayActors()
    bare: Any = ray.remote(Bare).options(max_restarts=-1, max_task_retries=-1, num_cpus=0).remote()
    took: dict[str, list[float]] = {BARE: [], OURS: [], CRITICAL: []}
    for number in range(rounds):
        await standby_ready(actors)
        took[BARE].append(await kill_bare(bare))
        took[OURS].append(await kill_ours(actors, "ledger/plain", number))
        await standby_ready(actors)
        took[CRITICAL].append(await kill_ours(actors, "ledger/main", number))
    await stop_coordinator(coordinator)
    return took


async def standby_ready(actors: Any) -> None:
    """Wait until the critical actor has its standby and the machine has come to rest."""
    await actors.call("ledger/main", "accounts")
    await actors.call("ledger/plain", "accounts")
    system = await actors.call("coordinator", "system")
    while not any(actor.standby for actor in system.actors):
        system = await actors.call(
            "coordinator", "system_after", system.coordinator_epoch, system.version, 5.0
        )
    await asyncio.sleep(3.0)  # the spare process, too, is being replaced


def main() -> int:
    """Measure, print, write; 1 if a limit of the issue is passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    folder = Path(tempfile.mkdtemp(prefix="anya-bench-"))
    prepare_environment(folder)
    shared = SharedRay()
    try:
        shared.ensure()
        took = asyncio.run(measure(rounds, folder))
    finally:
        shared.stop()
        shutil.rmtree(folder)
    rows = {name: spread(values) for name, values in took.items()}
    show("SIGKILL to the next served call", "s", rows)
    ratio = rows[OURS]["median"] / rows[BARE]["median"]
    print(f"\nsupervised / Ray = {ratio:.2f} (at most 1); critical at most {LIMIT_CRITICAL_S} s")
    write("recovery", {"seconds": rows, "supervised_over_ray": ratio, "samples_s": took})
    return 0 if ratio <= 1.0 and rows[CRITICAL]["median"] <= LIMIT_CRITICAL_S else 1


if __name__ == "__main__":
    sys.exit(main())

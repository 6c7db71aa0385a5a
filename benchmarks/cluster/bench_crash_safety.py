"""Thousands of calls while SIGKILLs rain: what was acknowledged must be there, once.

``python -m benchmarks.cluster.bench_crash_safety --calls 2000 --kills 50 --seed 1``. The calls and
the kills are drawn from the seed; the interleaving is the machine's. See
`anya_actors.testing.crash_safety` for what is called, killed and compared.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from anya_actors.testing.shared_ray import SharedRay, prepare_environment
from benchmarks.report import write


async def storm(folder: Path, calls: int, kills: int, seed: int) -> dict[str, Any]:
    """One platform, one storm; the figures."""
    from anya_actors.coordinator.client import RayActors
    from anya_actors.coordinator.launch import launch_coordinator, stop_coordinator
    from anya_actors.testing.crash_safety import CrashSafety, Storm
    from anya_actors.testing.storm_plan import storm_plan

    coordinator = await launch_coordinator(storm_plan(folder))
    actors = RayActors()
    run = CrashSafety(actors, folder, Storm(calls, kills, seed, report=print))
    began = time.monotonic()
    try:
        await run.run()
    finally:
        print(f"killed: {dict(run.killed)}; refused: {dict(run.acknowledged.refusals)}")
    took_s = time.monotonic() - began
    system = await actors.call("coordinator", "system")
    await stop_coordinator(coordinator)
    told = run.acknowledged
    return {
        "seed": seed,
        "acknowledged_calls": told.calls,
        "deposits": sum(len(amounts) for amounts in told.deposits.values()),
        "payments": len(told.payments),
        "keys": len(told.keys),
        "blocks": len(told.blocks),
        "refusals": dict(told.refusals),
        "kills": dict(run.killed),
        "kills_total": run.killed.total(),
        "restarts_counted_by_the_coordinator": system.restarts,
        "seconds": round(took_s, 1),
        "lost": 0,
        "doubled": 0,
    }


def main() -> int:
    """Run, print, write. A broken promise ends it with a traceback that names it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=2200)
    parser.add_argument("--kills", type=int, default=55)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="anya-storm-"))
    prepare_environment(folder)
    shared = SharedRay()
    try:
        shared.ensure()
        result = asyncio.run(storm(folder, options.calls, options.kills, options.seed))
    finally:
        shared.stop()
        shutil.rmtree(folder)
    for name, value in result.items():
        print(f"{name:<40}{value}")
    write("crash_safety", result)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Many seeds over several processes."""

from __future__ import annotations

import logging
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from anya_actors.testing.simulation.outcome import Outcome
from anya_actors.testing.simulation.scenario import simulate

_AT_ONCE = 20


@dataclass(slots=True)
class Total:
    """The sums over all seeds run."""

    seeds: int = 0
    failed: int = 0
    acknowledged: int = 0
    crashes: int = 0
    wall_s: float = 0.0


def quiet_logs() -> None:
    """What breaks in a simulation is meant to break: log nothing of it."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)


def run_seeds(
    first: int,
    count: int,
    processes: int,
    failed: Callable[[int, tuple[str, ...]], None],
    progress: Callable[[int], None] = lambda _: None,
) -> Total:
    """Run ``count`` seeds from ``first``; ``failed`` is told each seed that broke a promise."""
    total, started = Total(), time.monotonic()
    # Spawned, not forked: the caller may have threads.
    with multiprocessing.get_context("spawn").Pool(processes, quiet_logs) as pool:
        for outcome in pool.imap_unordered(_run, range(first, first + count), chunksize=_AT_ONCE):
            total.seeds += 1
            total.acknowledged += outcome.acknowledged
            total.crashes += outcome.crashes
            if outcome.problems:
                total.failed += 1
                failed(outcome.seed, outcome.problems)
            progress(total.seeds)
    total.wall_s = time.monotonic() - started
    return total


def _run(seed: int) -> Outcome:
    return simulate(seed)

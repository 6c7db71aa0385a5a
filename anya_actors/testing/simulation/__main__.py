"""``python -m anya_actors.testing.simulation --seeds N``: run many seeds, print those that fail."""

from __future__ import annotations

import argparse
import os
import sys

from anya_actors.testing.simulation.campaign import quiet_logs, run_seeds
from anya_actors.testing.simulation.scenario import simulate


def main() -> int:
    """Run the seeds asked for; 0 if all promises held in all of them."""
    parser = argparse.ArgumentParser(prog="python -m anya_actors.testing.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many seeds to run")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, help="run this one seed alone")
    parser.add_argument("--trace", action="store_true", help="with --seed: print what happened")
    given = parser.parse_args()
    return _one(given.seed, given.trace) if given.seed is not None else _many(given)


def _one(seed: int, trace: bool) -> int:
    quiet_logs()
    outcome = simulate(seed, keep_trace=trace)
    for line in outcome.trace:
        _say(line)
    _say(f"seed {seed}: {outcome.fingerprint}, {outcome.acknowledged} calls, {outcome.crashes} crashes")
    for problem in outcome.problems:
        _say(f"BROKEN: {problem}")
    return 1 if outcome.problems else 0


def _many(given: argparse.Namespace) -> int:
    def failed(seed: int, problems: tuple[str, ...]) -> None:
        _say(f"seed {seed} FAILED: {'; '.join(problems)}")
        _say(f"  replay: python -m anya_actors.testing.simulation --seed {seed} --trace")

    def progress(done: int) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{done}/{given.seeds} seeds")
            sys.stderr.flush()

    total = run_seeds(given.first, given.seeds, given.processes, failed, progress)
    _say(
        f"{total.seeds} seeds from {given.first}: {total.failed} failed; {total.acknowledged} acknowledged"
        f" calls, {total.crashes} crashes, {total.wall_s:.1f} s"
    )
    return 1 if total.failed else 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)

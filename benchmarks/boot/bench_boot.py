"""``anya up`` from command to ready, memory of all its processes, CPU of the idle platform, stop.

``python -m benchmarks.boot.bench_boot --runs 5 --idle 30``. Each run is a fresh data directory, so it
includes the first sealing of the HSM and the first block of the chain. Memory is the sum of PSS
(proc(5)): pages that processes share are counted once. Idle CPU is user and system time of all
processes over the idle window, in percent of one core. The machine's load average is written down
with each run, and the CPU time that all processes had used when the platform was ready, because the
boot of a busy machine says little.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import psutil

from anya_actors.cli.demo.hosted import HostedPlatform
from benchmarks.__main__ import machine

MOST_BOOT_S = 12.0
MOST_MEMORY_MIB = 1536.0
MOST_IDLE_CPU_PERCENT = 20.0
SETTLE_S = 20.0  # the standby, the spare process and the prepared ones are there by then
MIB = 1024 * 1024
RESULT = Path(__file__).parents[1] / "results" / "boot.json"


def main() -> int:
    """Measure, print, write; 1 if a limit of the issue is passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--idle", type=float, default=30.0, help="seconds of idleness to measure, once")
    options = parser.parse_args()
    runs = [measure(options.idle if number == 0 else 0.0) for number in range(options.runs)]
    summary = summarise(runs)
    show(summary, runs)
    RESULT.parent.mkdir(exist_ok=True)
    result = {
        "benchmark": "boot",
        "machine": machine(),
        "command": " ".join(["python -m benchmarks.boot.bench_boot", *sys.argv[1:]]),
        "limits": {
            "boot_s": MOST_BOOT_S,
            "memory_mib": MOST_MEMORY_MIB,
            "idle_cpu_percent": MOST_IDLE_CPU_PERCENT,
        },
        "summary": summary,
        "runs": runs,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    idle = [run["idle_cpu_percent"] for run in runs if run["idle_cpu_percent"] is not None]
    within = (
        summary["boot_s"]["median"] <= MOST_BOOT_S
        and summary["memory_mib"]["median"] <= MOST_MEMORY_MIB
        and all(percent <= MOST_IDLE_CPU_PERCENT for percent in idle)
    )
    print("within the limits" if within else "OVER A LIMIT")
    return 0 if within else 1


def measure(idle_s: float) -> dict[str, Any]:
    """One platform from its command to its last process."""
    stages: dict[str, float] = {}
    load = os.getloadavg()[0]
    began = time.monotonic()

    def on_stage(text: str) -> None:
        stages[text.split(":")[0]] = round(time.monotonic() - began, 3)

    with HostedPlatform(on_stage) as platform:
        boot_s = time.monotonic() - began
        boot_cpu_s = sum(busy_s(process) for process in platform.processes())
        time.sleep(SETTLE_S)
        processes = platform.processes()
        memory = memory_by_name(processes)
        idle_percent, idle_by_name = idle_cpu(processes, idle_s) if idle_s else (None, {})
        stopping = time.monotonic()
        code = platform.stop()
    return {
        "boot_s": round(boot_s, 3),
        "boot_cpu_s": round(boot_cpu_s, 2),
        "stop_s": round(time.monotonic() - stopping, 3),
        "exit_code": code,
        "memory_mib": round(sum(memory.values()), 1),
        "memory_mib_by_process": memory,
        "processes": len(processes),
        "idle_cpu_percent": idle_percent,
        "idle_cpu_percent_by_process": idle_by_name,
        "load_average_before": round(load, 2),
        "stages_s": stages,
    }


def memory_by_name(processes: Iterable[psutil.Process]) -> dict[str, float]:
    """MiB of PSS, summed by what the processes call themselves, the largest first."""
    found: dict[str, float] = defaultdict(float)
    for process in processes:
        try:
            found[title(process)] += process.memory_full_info().pss / MIB
        except psutil.Error:
            continue
    return {name: round(mib, 1) for name, mib in sorted(found.items(), key=lambda item: -item[1])}


def idle_cpu(processes: set[psutil.Process], idle_s: float) -> tuple[float, dict[str, float]]:
    """Percent of one core over the window, whole and by process."""
    before = {process: busy_s(process) for process in processes}
    began = time.monotonic()
    time.sleep(idle_s)
    window_s = time.monotonic() - began
    spent: dict[str, float] = defaultdict(float)
    for process, was in before.items():
        spent[title(process)] += max(0.0, busy_s(process) - was)
    percent = {name: round(100 * s / window_s, 2) for name, s in sorted(spent.items(), key=lambda i: -i[1])}
    return round(100 * sum(spent.values()) / window_s, 2), percent


def busy_s(process: psutil.Process) -> float:
    """User and system time of a process so far."""
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def title(process: psutil.Process) -> str:
    """What a process is, in a word."""
    try:
        line = process.cmdline()
    except psutil.Error:
        return "gone"
    if line and line[0].startswith("ray::"):
        return line[0]
    for word in line:
        if word.startswith("anya_actors."):
            return word
        if word.endswith(".py") or "/ray/core/src/" in word:
            return Path(word).name
    return process.name()


def summarise(runs: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Median, least and most of every figure."""
    summary = {}
    for figure in ("boot_s", "boot_cpu_s", "stop_s", "memory_mib", "processes", "idle_cpu_percent"):
        values = [run[figure] for run in runs if run[figure] is not None]
        if values:
            summary[figure] = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return summary


def show(summary: Mapping[str, Mapping[str, float]], runs: list[dict[str, Any]]) -> None:
    """The table, and what the first run's memory and CPU went to."""
    print(f"{'figure':<20}{'median':>10}{'min':>10}{'max':>10}   over {len(runs)} runs")
    for figure, spread in summary.items():
        print(f"{figure:<20}{spread['median']:>10.2f}{spread['min']:>10.2f}{spread['max']:>10.2f}")
    cpu = runs[0]["idle_cpu_percent_by_process"]
    print(f"\n{'process':<40}{'MiB':>8}{'CPU %':>8}   of the first run")
    for name, mib in runs[0]["memory_mib_by_process"].items():
        print(f"{name[:39]:<40}{mib:>8.1f}{cpu.get(name, 0.0):>8.2f}")


if __name__ == "__main__":
    sys.exit(main())

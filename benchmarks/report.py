"""What every benchmark's result looks like: a table for a person, JSON for the next one."""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.__main__ import machine

RESULTS = Path(__file__).parent / "results"


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, quartiles, extremes and count."""
    ordered = sorted(values)
    quartiles = statistics.quantiles(ordered, n=4) if len(ordered) > 1 else [ordered[0]] * 3
    return {
        "median": statistics.median(ordered),
        "p25": quartiles[0],
        "p75": quartiles[2],
        "min": ordered[0],
        "max": ordered[-1],
        "n": len(ordered),
    }


def show(title: str, unit: str, rows: Mapping[str, Mapping[str, float]]) -> None:
    """One line a row: median, quartiles, extremes."""
    print(f"\n{title} [{unit}]")
    print(f"{'':<44}{'median':>10}{'p25':>10}{'p75':>10}{'min':>10}{'max':>10}{'n':>6}")
    for name, row in rows.items():
        figures = "".join(f"{row[key]:>10.3f}" for key in ("median", "p25", "p75", "min", "max"))
        print(f"{name:<44}{figures}{row['n']:>6.0f}")


def write(name: str, result: Mapping[str, Any]) -> None:
    """Write ``benchmarks/results/<name>.json`` with the machine, the load and the command beside it."""
    RESULTS.mkdir(exist_ok=True)
    document = {
        "benchmark": name,
        "machine": machine(),
        "load_average": round(os.getloadavg()[0], 2),
        "command": " ".join(["python -m", _module(), *sys.argv[1:]]),
        **result,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _module() -> str:
    spec = sys.modules["__main__"].__spec__
    return spec.name if spec is not None else sys.argv[0]

"""Runs one fuzz target under atheris, beginning from the official vectors where they are."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import atheris

VECTORS = (
    Path(os.environ.get("ANYA_VECTORS", Path(__file__).parents[1] / ".." / "shared" / "vectors")) / "bitcoin"
)


def run(target: Callable[[bytes], None], seeds: Iterable[bytes]) -> None:
    """Feed the target until ``-max_total_time`` is over; any exception that it lets out is a finding.

    Arguments are libFuzzer's. New inputs are kept in a temporary folder only.
    """
    with tempfile.TemporaryDirectory(prefix="anya-fuzz-") as corpus:
        for number, seed in enumerate(seeds):
            (Path(corpus) / f"seed{number}").write_bytes(seed)
        atheris.Setup([sys.argv[0], corpus, *sys.argv[1:]], target)
        atheris.Fuzz()


def vector_strings(*names: str) -> list[str]:
    """Every string in these vector files; none where they are absent."""
    found: list[str] = []
    for name in names:
        path = VECTORS / f"{name}.json"
        if path.exists():
            _collect(json.loads(path.read_text("utf-8")), found)
    return found


def _collect(value: Any, found: list[str]) -> None:
    if isinstance(value, str):
        found.append(value)
    elif isinstance(value, dict):
        for inner in value.values():
            _collect(inner, found)
    elif isinstance(value, list):
        for inner in value:
            _collect(inner, found)

"""``anya hsm metrics`` prints what the HSM counted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from anya_actors.cli.hsm import app
from anya_actors.cli.hsm_metrics import row_of
from anya_actors.cli.remote import Remote

BOUNDS_S = [0.001, 0.01]
METRIC = {
    "owner": "alice",
    "key": "k",
    "algorithm": "ed25519",
    "operation": "sign",
    "outcomes": {"ok": 10, "invalid-input": 2},
    "latency": {"count": 10, "seconds": 0.05, "buckets": [6, 3, 1]},
}


def test_a_row_tells_mean_and_the_buckets_of_the_quantiles() -> None:
    row = row_of(METRIC, BOUNDS_S)
    assert (row["ok"], row["refused"]) == (10, {"invalid-input": 2})
    assert (row["mean_ms"], row["p50_ms"], row["p99_ms"]) == ("5", "≤1", ">10")


def test_what_never_succeeded_has_no_latency() -> None:
    metric = METRIC | {
        "outcomes": {"key-rate": 1},
        "latency": {"count": 0, "seconds": 0, "buckets": [0, 0, 0]},
    }
    row = row_of(metric, BOUNDS_S)
    assert (row["ok"], row["mean_ms"], row["p50_ms"], row["p99_ms"]) == (0, None, None, None)


def test_the_command_asks_the_api_and_prints_a_line_for_each_series(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def get(_: Remote, path: str) -> Any:
        asked.append(path)
        return {"bucket_bounds_s": BOUNDS_S, "operations": [METRIC, METRIC | {"key": "l"}]}

    monkeypatch.setattr(Remote, "get", get)
    answer = CliRunner().invoke(app, ["metrics", "--json"])
    assert answer.exit_code == 0, answer.output
    assert [json.loads(line)["key"] for line in answer.output.splitlines()] == ["k", "l"]
    assert asked == ["/api/v1/security/metrics"]

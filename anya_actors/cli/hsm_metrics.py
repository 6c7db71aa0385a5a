"""``anya hsm metrics``: operations, failures and latencies by key and algorithm."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any, Final

from anya_actors.cli.options import asking
from anya_actors.cli.remote import Remote

COLUMNS: Final = (
    *("owner", "key", "algorithm", "operation"),
    *("ok", "refused", "mean_ms", "p50_ms", "p99_ms"),
)


@asking
def metrics(remote: Remote) -> None:
    """What the HSM did since it came to life, by key and algorithm; p50 and p99 are upper bounds."""
    found = remote.get("/api/v1/security/metrics")
    bounds_s = found["bucket_bounds_s"]
    rows = [row_of(each, bounds_s) for each in found["operations"]]
    remote.show_part(rows, COLUMNS)


def row_of(metric: Mapping[str, Any], bounds_s: list[float]) -> dict[str, Any]:
    """One line of the table."""
    latency, outcomes = metric["latency"], metric["outcomes"]
    counted = latency["count"]
    return {
        **{name: metric[name] for name in ("owner", "key", "algorithm", "operation")},
        "ok": outcomes.get("ok", 0),
        "refused": {code: count for code, count in outcomes.items() if code != "ok"} or None,
        "mean_ms": f"{latency['seconds'] / counted * 1000:.3g}" if counted else None,
        "p50_ms": _bound_ms(0.5, latency, bounds_s),
        "p99_ms": _bound_ms(0.99, latency, bounds_s),
    }


def _bound_ms(part: float, latency: Mapping[str, Any], bounds_s: list[float]) -> str | None:
    """The bucket that so many fell into: under its bound, or over the last."""
    if not latency["count"]:
        return None
    for bound_s, reached in zip(bounds_s, accumulate(latency["buckets"]), strict=False):
        if reached >= part * latency["count"]:
            return f"≤{bound_s * 1000:g}"
    return f">{bounds_s[-1] * 1000:g}"

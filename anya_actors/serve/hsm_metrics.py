"""The HSM's counts in Prometheus' terms: sums for anyone, keys by name for those who may see them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from anya_actors.domain.hsm.metrics import HsmMetricsView, LatencyView
from anya_actors.domain.machine import AnyaError
from anya_actors.ports.actors import HSM, Actors
from anya_actors.ports.clock import Clock

SUMS_KEPT_S: Final = 1.0
TIMEOUT_S: Final = 2.0


class HsmSums:
    """What anyone may see of the HSM's counts; asked for once a second, however many want it."""

    def __init__(self, actors: Actors, clock: Clock) -> None:
        self._actors = actors
        self._clock = clock
        self._asking = asyncio.Lock()
        self._asked_s = float("-inf")
        self._sums: HsmMetricsView | None = None

    async def read(self) -> HsmMetricsView | None:
        """Sums that name no key and no owner; None while the HSM does not answer."""
        async with self._asking:
            now_s = self._clock.monotonic_s()
            if now_s - self._asked_s >= SUMS_KEPT_S:
                try:
                    self._sums = await self._actors.call(HSM, "metrics", None, False, timeout_s=TIMEOUT_S)
                except AnyaError:
                    self._sums = None
                self._asked_s = now_s
        return self._sums


def exposition(view: HsmMetricsView | None) -> bytes:
    """The text that Prometheus scrapes; None says that the HSM is down."""
    registry = CollectorRegistry()
    registry.register(_Collected(_families(view)))
    return generate_latest(registry)


class _Collected(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = tuple(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def _families(view: HsmMetricsView | None) -> Iterator[Metric]:
    yield GaugeMetricFamily("anya_hsm_up", "Whether the HSM answers", value=float(view is not None))
    if view is None:
        return
    for name, text, value in (
        ("sealed", "Whether the HSM is sealed", float(view.sealed)),
        ("open_sessions", "Open sessions", view.open_sessions),
        ("session_limit", "Most sessions", view.session_limit),
        ("audit_entries", "Entries of the audit log", view.audit_entries),
        ("audit_waiting", "Audit entries that wait to be written", view.audit_waiting),
        ("counting_since_seconds", "When the HSM began to count", view.since_unix_ms / 1000),
    ):
        yield GaugeMetricFamily(f"anya_hsm_{name}", text, value=value)
    commits = HistogramMetricFamily("anya_hsm_audit_commit_seconds", "Time until audit entries are durable")
    _add(commits, [], view.bucket_bounds_s, view.audit_commit)
    yield commits
    yield from _operations(view)


def _operations(view: HsmMetricsView) -> Iterator[Metric]:
    named = any(each.owner or each.key for each in view.operations)
    labels = [*(("owner", "key") if named else ()), "algorithm", "operation"]
    counter = CounterMetricFamily("anya_hsm_operations", "Operations", labels=[*labels, "outcome"])
    seconds = HistogramMetricFamily("anya_hsm_operation_seconds", "Time of what succeeded", labels=labels)
    for each in view.operations:
        place = [*((each.owner, each.key) if named else ()), each.algorithm, each.operation]
        for outcome, count in sorted(each.outcomes.items()):
            counter.add_metric([*place, outcome], count)
        if each.latency.count:
            _add(seconds, place, view.bucket_bounds_s, each.latency)
    yield counter
    yield seconds


def _add(family: Any, labels: list[str], bounds_s: tuple[float, ...], latency: LatencyView) -> None:
    bounds = [*map(str, bounds_s), "+Inf"]
    family.add_metric(
        labels, list(zip(bounds, accumulate(latency.buckets), strict=True)), sum_value=latency.seconds
    )

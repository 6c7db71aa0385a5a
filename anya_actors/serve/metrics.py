"""What the door counts of itself, in Prometheus' terms."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

_BUCKETS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0)


class DoorMetrics:
    """Counters of one replica. A label is a route's template or a fixed word, never user input."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "anya_http_requests_total",
            "Requests answered",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "anya_http_request_seconds",
            "Time from request to answer",
            ("method", "route"),
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self.in_flight = Gauge("anya_http_in_flight", "Requests being answered", registry=self.registry)
        self.listeners = Gauge(
            "anya_event_listeners", "Connected WebSocket and SSE listeners", registry=self.registry
        )
        self.listeners_dropped = Counter(
            "anya_event_listeners_dropped_total",
            "Listeners dropped",
            ("reason",),
            registry=self.registry,
        )
        # labels() checks and hashes on every call; these two dictionaries do it once per triple.
        self._counters: dict[tuple[str, str, int], Any] = {}
        self._timers: dict[tuple[str, str], Any] = {}

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        counter = self._counters.get((method, route, status))
        if counter is None:
            counter = self._counters[(method, route, status)] = self._requests.labels(
                method, route, str(status)
            )
        timer = self._timers.get((method, route))
        if timer is None:
            timer = self._timers[(method, route)] = self._seconds.labels(method, route)
        counter.inc()
        timer.observe(seconds)

    def render(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self.registry)

from __future__ import annotations

import math

from anya_actors.domain.hsm.metrics import (
    BOUNDS_S,
    MOST_KEYS,
    OTHER,
    Latencies,
    OperationMetrics,
)


def test_buckets_reach_from_fifty_microseconds_to_ten_seconds() -> None:
    assert (BOUNDS_S[0], BOUNDS_S[-1]) == (0.00005, 10.0)
    assert list(BOUNDS_S) == sorted(BOUNDS_S)


def test_a_batch_is_observed_once_with_its_count() -> None:
    latencies = Latencies()
    latencies.observe(0.00005, 1000)  # a bound belongs to its bucket, as in Prometheus
    latencies.observe(11.0)
    view = latencies.view
    assert (view.count, view.buckets[0], view.buckets[-1], sum(view.buckets)) == (1001, 1000, 1, 1001)
    assert math.isclose(view.seconds, 11.05)


def test_refusals_are_counted_by_their_code() -> None:
    metrics = OperationMetrics()
    for outcome in ("ok", "refused: invalid-input", "refused: invalid-input"):
        metrics.count("alice", "k", "ed25519", "sign", outcome)
    (series,) = metrics.views()
    assert series.outcomes == {"ok": 1, "invalid-input": 2}


def test_a_name_that_never_succeeded_gets_no_series_of_its_own() -> None:
    metrics = OperationMetrics()
    for number in range(3):
        metrics.count("mallory", f"guess-{number}", "", "open", "refused: unknown-key")
    (series,) = metrics.views()
    assert (series.owner, series.key, series.outcomes) == ("", OTHER, {"unknown-key": 3})
    assert metrics.views("mallory") == ()


def test_an_algorithm_that_does_not_exist_is_counted_as_another() -> None:
    metrics = OperationMetrics()
    metrics.count("alice", "k", "ed25519", "sign", "ok")
    for name in ("rot13", "rot14"):
        metrics.count("alice", "k", name, "sign", "refused: invalid-input")
    assert [each.algorithm for each in metrics.views()] == ["ed25519", OTHER]


def test_keys_beyond_the_most_are_counted_together() -> None:
    metrics = OperationMetrics()
    for number in range(MOST_KEYS + 5):
        metrics.count("alice", f"k{number}", "ed25519", "sign", "ok")
    metrics.observe("alice", f"k{MOST_KEYS + 1}", "ed25519", "sign", 1.0)
    metrics.count("alice", "k0", "ed25519", "sign", "ok")
    views = {each.key: each for each in metrics.views()}
    assert len(views) == MOST_KEYS + 1
    assert (views[OTHER].outcomes, views[OTHER].latency.count) == ({"ok": 5}, 1)
    assert views["k0"].outcomes == {"ok": 2}


def test_sessions_of_many_keys_are_counted_for_no_key() -> None:
    metrics = OperationMetrics()
    metrics.count("alice", "a,b", "", "open-session", "ok")
    metrics.count("alice", "", "", "close-session", "key a was disabled")
    assert [(each.key, each.outcomes) for each in metrics.views()] == [("", {"ok": 1}), ("", {"ok": 1})]


def test_sums_name_no_key_and_lose_nothing() -> None:
    metrics = OperationMetrics()
    for owner, key in (("alice", "a"), ("alice", "b"), ("bob", "c")):
        metrics.count(owner, key, "ed25519", "sign", "ok", 2)
        metrics.observe(owner, key, "ed25519", "sign", 0.001, 2)
    (series,) = metrics.sums()
    assert (series.owner, series.key, series.outcomes, series.latency.count) == ("", "", {"ok": 6}, 6)

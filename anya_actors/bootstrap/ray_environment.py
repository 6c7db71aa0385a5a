"""What Ray and Serve are to read when they are imported: the same for a platform and for its tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

NAMESPACE: Final = "anya"
"""The namespace of the platform's actors in its Ray."""

# A batch travels inside its call, not through the object store: that halves what a batch costs, and
# keeps what callers have encrypted out of shared memory. Whoever calls must have it too.
INSIDE_CALLS: Final[Mapping[str, str]] = {"RAY_max_direct_call_object_size": str(2 * 1024 * 1024)}

RAY_ENVIRONMENT: Final[Mapping[str, str]] = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray would run its workers, and so every actor and door, behind all else on the machine.
    "RAY_worker_niceness": "0",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # Our doors listen themselves; direct ingress would start a proxy and a port beside them.
    "RAY_SERVE_ENABLE_DIRECT_INGRESS": "0",
    # Serve looks at its replicas four times a second, not ten: the difference is idle processor time.
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.25",
    **INSIDE_CALLS,
}

# On a machine of our own, workers are started when actors need them, not in advance.
NO_IDLE_WORKERS: Final[Mapping[str, str]] = {
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
}

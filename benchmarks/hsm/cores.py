"""Which cores a benchmark and its platform run on."""

from __future__ import annotations

import contextlib
import os

import psutil

from anya_actors.cli.demo.hosted import HostedPlatform


def pin(platform: HostedPlatform, cores: int) -> None:
    """Have every thread of the platform and of this process run on the first ``cores`` cores; 0: on all."""
    if not cores:
        return
    chosen = sorted(os.sched_getaffinity(0))[:cores]
    for process in platform.processes() | {psutil.Process()}:
        with contextlib.suppress(psutil.Error, OSError):
            for thread in process.threads():
                os.sched_setaffinity(thread.id, chosen)

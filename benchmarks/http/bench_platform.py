"""`GET /api/v1/system` of a whole running platform beside a plain FastAPI doing the same work.

As ``benchmarks.http.bench_system``, but the door is the one of ``anya up``: a Ray Serve replica with
its actors, supervisor and node around it. The comparison verifies the same token against the same
key set and answers the same document. ``python -m benchmarks.http.bench_platform --rounds 12``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import uvloop

from anya_actors.cli.demo.hosted import HostedPlatform
from anya_actors.serve.settings import DoorSettings
from anya_actors.serve.system_source import SystemSnapshot
from anya_actors.services.hsm import HsmSettings
from benchmarks.http.bench_system import (
    DOOR,
    IDIOMATIC,
    LIMIT,
    TUNED,
    GivenKeys,
    Target,
    measure,
    serve_app,
    show_results,
    start,
    summarize,
)
from benchmarks.report import write


def serve_plain(given: Mapping[str, Any], ready: Any) -> None:
    """Run the comparison with the platform's own key set and document."""
    from benchmarks.http.plain_app import build_plain

    names = HsmSettings()
    settings = DoorSettings(audience=names.audience, issuer=names.issuer)
    snapshot = SystemSnapshot(given["document"], httpx.Response(200, content=given["document"]).json())
    serve_app(lambda: build_plain(GivenKeys(given["keys"]), settings, snapshot), ready)


def replica(platform: HostedPlatform) -> psutil.Process:
    """The process that listens at the door."""
    for process in platform.processes():
        # The port itself is held by the launcher, too.
        if any(word.startswith("ray::ServeReplica:") for word in process.cmdline()[:1]):
            return process
    raise AssertionError("no replica serves")


def main() -> int:
    """Measure, print, write; 1 if the door is slower than it may be."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=12)
    arguments.add_argument("--seconds", type=float, default=1.0)
    given = arguments.parse_args()
    with HostedPlatform(lambda _: None) as platform:
        token = platform.admin_token()
        api = platform.ready["api"]
        address = urlsplit(api)
        keys = httpx.get(f"{api}/.well-known/jwks.json").json()
        document = httpx.get(f"{api}/api/v1/system", headers={"Authorization": f"Bearer {token}"}).content
        plain, line, (host, port) = start(serve_plain, {"keys": keys, "document": document})
        process = psutil.Process(plain.pid)
        targets = {
            DOOR: Target(replica(platform), str(address.hostname), int(address.port or 0), "/api/v1/system"),
            IDIOMATIC: Target(process, host, port, "/idiomatic"),
            TUNED: Target(process, host, port, "/tuned"),
        }
        try:
            found = uvloop.run(measure(targets, token, given.rounds, given.seconds))
        finally:
            line.send(None)
            plain.join(5)
    result = {str(n): summarize(taken) for n, taken in found.items()}
    worst = show_results(result)
    write("http_platform", {"limit": LIMIT, "worst_median_ratio": worst, "connections": result})
    return 0 if worst >= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())

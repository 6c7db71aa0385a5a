"""From `open_session` to the answer of the new session's first operation, on a whole running platform.

Through Ray from Python, and through HTTP with one kept connection, in turn. Before each warm opening
the pool is waited for; before each cold one the session kind's prepared hosts and the spare are taken
by other sessions. The processor time that the platform's processes spent on a warm one is written beside
the wall time: a busy machine stretches the one more than the other. What the opening itself takes is
the time to the first answer, less that of another signature right after it.
``python -m benchmarks.hsm.bench_sessions --rounds 30 --cold 5``.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import secrets
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from anya_actors.cli.demo.hosted import HostedPlatform
from benchmarks.boot.bench_boot import busy_s
from benchmarks.report import show, spread, write

LIMIT_S = 0.050
WARM_POOL = "warm pool"
KIND = "hsm-session"
API = "/api/v1/security"
MESSAGE = bytes(range(32))
WARM = 2  # the default of hsm.warm_sessions
KEY, OWNER = "bench", "admin"

Opening = Callable[[], Awaitable[tuple[str, Callable[[], Awaitable[Any]]]]]
"""Opens a session, has it sign, and gives its id and what has it sign again."""
Took = tuple[float, float, float]
"""Seconds to the first answer, of them those of the opening itself, and processor seconds."""


class Bench:
    """A driver of the platform's Ray and a client of its door."""

    def __init__(self, platform: HostedPlatform, actors: Any, http: httpx.AsyncClient) -> None:
        self._platform = platform
        self._actors = actors
        self._http = http

    async def through_ray(self) -> tuple[str, Callable[[], Awaitable[Any]]]:
        """As any actor of the platform does it."""
        session = await self._call("open_session", OWNER, (KEY,))

        async def sign() -> None:
            await self._actors.call(session.actor, "sign", KEY, MESSAGE, "ed25519")

        await sign()
        return str(session.session_id), sign

    async def through_http(self) -> tuple[str, Callable[[], Awaitable[Any]]]:
        """As a user does it."""
        opened = await self._http.post(f"{API}/sessions", json={"keys": [KEY]})
        session_id = str(opened.raise_for_status().json()["session_id"])
        asked = {"key": KEY, "message_hex": MESSAGE.hex(), "algorithm": "ed25519"}

        async def sign() -> None:
            (await self._http.post(f"{API}/sessions/{session_id}/sign", json=asked)).raise_for_status()

        await sign()
        return session_id, sign

    async def make_key(self) -> None:
        """The key of every session."""
        await self._call("create_key", KEY, "ed25519", OWNER)

    async def warm(self, opening: Opening) -> Took:
        """One opening from a full pool."""
        while (await self._spares()).get(KIND, 0) < WARM:  # noqa: ASYNC110 - that of another process
            await asyncio.sleep(0.2)
        await asyncio.sleep(0.3)  # whatever the last process of the pool still does
        return await self._timed(opening)

    async def cold(self, opening: Opening) -> Took:
        """The same when all that wait have been taken."""
        taken = []
        while any((await self._spares()).values()):
            taken.append((await self.through_ray())[0])
        took = await self._timed(opening)
        for session_id in taken:
            await self._call("close_session", session_id)
        return took

    async def _timed(self, opening: Opening) -> Took:
        before = {process: busy_s(process) for process in self._platform.processes()}
        began = time.perf_counter()
        session_id, sign = await opening()
        took = time.perf_counter() - began
        busy = sum(max(0.0, busy_s(process) - was) for process, was in before.items())  # some have ended
        began = time.perf_counter()
        await sign()
        alone = took - (time.perf_counter() - began)
        await self._call("close_session", session_id)
        return took, alone, busy

    async def _spares(self) -> dict[str, int]:
        return dict((await self._actors.call("coordinator", "system")).spares)

    async def _call(self, method: str, *arguments: Any) -> Any:
        return await self._actors.call("hsm/main", method, *arguments, message_id=secrets.token_hex(16))


async def measure(platform: HostedPlatform, rounds: int, cold: int) -> dict[str, list[Took]]:
    """Interleaved rounds."""
    from anya_actors.coordinator.client import RayActors

    headers = {"Authorization": f"Bearer {platform.admin_token()}"}
    async with httpx.AsyncClient(base_url=platform.ready["api"], headers=headers, timeout=60.0) as http:
        bench = Bench(platform, RayActors(), http)
        await bench.make_key()
        ways = {"Ray": bench.through_ray, "HTTP": bench.through_http}
        found: dict[str, list[Took]] = {}
        for opening in ways.values():
            await bench.warm(opening)  # what only the first one of all pays
        for _ in range(rounds):
            for way, opening in ways.items():
                found.setdefault(f"{way}, {WARM_POOL}", []).append(await bench.warm(opening))
        for _ in range(cold):
            for way, opening in ways.items():
                found.setdefault(f"{way}, cold", []).append(await bench.cold(opening))
        return found


def join_ray(platform: HostedPlatform) -> None:
    """Become a driver of the platform's Ray."""
    raylet = next(process for process in platform.processes() if process.name() == "raylet")
    address = next(word.partition("=")[2] for word in raylet.cmdline() if word.startswith("--gcs-address="))
    token = platform.data_dir / "run" / "ray-token"
    os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(token))
    import ray

    ray.init(address=address, namespace="anya", log_to_driver=False, logging_level=logging.ERROR)


def main() -> int:
    """Measure, print, write; 1 if the limit is passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--cold", type=int, default=5)
    given = parser.parse_args()
    with HostedPlatform(lambda _: None) as platform:
        join_ray(platform)
        import ray

        load_before = os.getloadavg()[0]
        try:
            found = asyncio.run(measure(platform, given.rounds, given.cold))
        finally:
            ray.shutdown()
    walls = {name: spread([wall for wall, _, _ in values]) for name, values in found.items()}
    for name, values in found.items():
        walls[name]["p95"] = statistics.quantiles([wall for wall, _, _ in values], n=20)[-1]
    warm = {name: values for name, values in found.items() if name.endswith(WARM_POOL)}
    alone = {name: spread([opening for _, opening, _ in values]) for name, values in warm.items()}
    # A cold one starts processes, which nobody had counted before.
    spent = {name: spread([cpu for _, _, cpu in values]) for name, values in warm.items()}
    show("open_session to the first answer", "s", walls)
    show("the opening alone: less another signature", "s", alone)
    show("processor time of all processes until the first answer", "s", spent)
    worst = max(row["median"] for row in alone.values())
    p95 = {name: round(row["p95"], 4) for name, row in walls.items()}
    print(f"\np95: {p95}; worst warm p50 {worst * 1000:.1f} ms (limit {LIMIT_S * 1000:.0f} ms)")
    result = {"limit_p50_s": LIMIT_S, "worst_warm_p50_s": worst, "opening_seconds": alone}
    around = {"load_average_before": round(load_before, 2), "niceness": os.nice(0)}
    write("hsm_sessions", {**result, **around, "seconds": walls, "processor_seconds": spent})
    return 0 if worst < LIMIT_S else 1


if __name__ == "__main__":
    sys.exit(main())

"""Batches over HTTP beside the library called directly, and single operations beside a bare Ray actor.

A whole platform, the client and what it is compared with run on the same core (``--cores 1``; 0 lets
the kernel choose). In turn, round by round: the library signs in a loop; clients on keep-alive
connections send batches of 1024 to ``/sign/batch``; single signatures through the Python client take
turns with calls of an empty async Ray actor that returns the same bytes. Processor time per signature,
of every process of the platform, says what a busy machine hides.
``python -m benchmarks.hsm.bench_http --rounds 10``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import anya_actors.platform
from anya_actors.cli.demo.hosted import HostedPlatform
from benchmarks.hsm.cores import pin
from benchmarks.http.load import load_request
from benchmarks.report import show, spread, write

SECURITY = "/api/v1/security"
BATCH = 1024
CONNECTIONS = 4
MESSAGES = [bytes([number % 256, number // 256]) * 16 for number in range(BATCH)]
LEAST_OF_DIRECT = 0.6
MOST_OF_BARE = 2.0
LIBRARY, HTTP = "library, direct", "HTTP, batches of 1024"


class Bare:
    """What a Ray call costs with nothing behind it."""

    async def echo(self, data: bytes) -> bytes:
        """The same bytes."""
        return data


def cpu_s(platform: HostedPlatform) -> dict[int, float]:
    """Processor time that each process of the platform has used so far."""
    found: dict[int, float] = {}
    for process in platform.processes():
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            found[process.pid] = times.user + times.system
    return found


def used_s(before: dict[int, float], after: dict[int, float]) -> float:
    """Processor time between the two, of those that lived all the while."""
    return sum(after[pid] - before[pid] for pid in before.keys() & after.keys())


def direct(for_s: float) -> tuple[float, float]:
    """Signatures per second, and per second of processor time, of the library in a loop."""
    key = Ed25519PrivateKey.generate()
    began_s, began_cpu_s, count = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - began_s < for_s:
        for message in MESSAGES:
            key.sign(message)
        count += BATCH
    return count / (time.perf_counter() - began_s), count / (time.process_time() - began_cpu_s)


def batch_request(platform: HostedPlatform, token: str) -> bytes:
    """A key and a session over HTTP; the bytes of the request that has its batch signed."""
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=platform.ready["api"], headers=headers, timeout=60) as client:
        client.post(f"{SECURITY}/keys", json={"name": "http", "key_type": "ed25519"}).raise_for_status()
        opened = client.post(f"{SECURITY}/sessions", json={"keys": ["http"]}).raise_for_status()
    messages = [message.hex() for message in MESSAGES]
    body = json.dumps({"key": "http", "algorithm": "ed25519", "messages_hex": messages}).encode()
    head = (
        f"POST {opened.headers['location']}/sign/batch HTTP/1.1\r\nHost: bench\r\n"
        f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def batches(platform: HostedPlatform, rounds: int, for_s: float) -> dict[str, list[float]]:
    """Rates of the library and of batches over HTTP, and their ratios."""
    request = batch_request(platform, platform.admin_token())
    place = urlsplit(platform.ready["api"])
    rows: dict[str, list[float]] = {}
    for number in range(-1, rounds):
        pin(platform, ARGUMENTS.cores)
        before, before_cpu = direct(for_s / 4)
        began_s, began_cpu = time.perf_counter(), cpu_s(platform)
        took_s = await load_request(str(place.hostname), int(place.port or 0), request, CONNECTIONS, for_s)
        count, wall_s = len(took_s) * BATCH, time.perf_counter() - began_s
        cpu = used_s(began_cpu, cpu_s(platform))
        after, after_cpu = direct(for_s / 4)
        if number >= 0:  # the first warms up
            for name, value in {
                LIBRARY: (before + after) / 2,
                HTTP: count / wall_s,
                "ratio": count / wall_s / ((before + after) / 2),
                "ratio of processor time": count / cpu / ((before_cpu + after_cpu) / 2),
            }.items():
                rows.setdefault(name, []).append(value)
    return rows


async def took_ms(work: Callable[[], Awaitable[Any]]) -> float:
    """Milliseconds of one call."""
    began_s = time.perf_counter()
    await work()
    return (time.perf_counter() - began_s) * 1000


async def per_second(work: Callable[[], Awaitable[Any]], callers: int, count: int) -> float:
    """Calls per second of so many callers at once."""

    async def one() -> None:
        for _ in range(count):
            await work()

    began_s = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(callers)))
    return callers * count / (time.perf_counter() - began_s)


async def singles(platform: HostedPlatform, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Single operations through a session beside calls of a bare actor, one and 32 at a time."""
    message = MESSAGES[0]
    async with anya_actors.platform.connect(platform.data_dir) as client:
        import ray

        bare: Any = ray.remote(Bare).options(num_cpus=0, max_concurrency=1000).remote()
        await client.hsm.create_key("ray", "ed25519")
        async with client.hsm.session("ray") as session:
            kinds: dict[str, Callable[[], Awaitable[Any]]] = {
                "bare Ray actor": lambda: bare.echo.remote(message),
                "session, Ed25519": lambda: session.sign("ray", message, "ed25519"),
            }
            for work in kinds.values():
                await per_second(work, 4, 25)
            pin(platform, ARGUMENTS.cores)
            alone: dict[str, list[float]] = {name: [] for name in kinds}
            for _ in range(rounds * 100):
                for name, work in kinds.items():
                    alone[name].append(await took_ms(work))
            many: dict[str, list[float]] = {name: [] for name in kinds}
            for _ in range(rounds):
                for name, work in kinds.items():
                    many[name].append(await per_second(work, 32, 10))
        ray.kill(bare)
    return {"one at a time, ms": alone, "32 at a time, 1/s": many}


def main() -> int:
    """Measure, show, write; 1 if either is slower than it may be."""
    with HostedPlatform(lambda _: None) as platform:
        one = asyncio.run(singles(platform, ARGUMENTS.rounds))
        rows = asyncio.run(batches(platform, ARGUMENTS.rounds, ARGUMENTS.seconds))
    result: dict[str, Any] = {name: spread(values) for name, values in rows.items()}
    show("Ed25519 signatures, everything on the same cores", "1/s; ratio to the library", result)
    single = {title: {name: spread(each) for name, each in kinds.items()} for title, kinds in one.items()}
    for title, kinds in single.items():
        show("Single calls", title, kinds)
    bare, session = single["one at a time, ms"].values()
    ratios = {"of_direct": result["ratio"]["median"], "of_bare": session["median"] / bare["median"]}
    print(f"\nHTTP batches: {ratios['of_direct']:.2f} of direct (at least {LEAST_OF_DIRECT})")
    print(f"Single operations: {ratios['of_bare']:.2f} times a bare call (at most {MOST_OF_BARE})")
    facts = {"cores": ARGUMENTS.cores, **ratios}
    write("hsm_http", {**facts, "batches_per_s": result, "singles": single})
    return int(ratios["of_direct"] < LEAST_OF_DIRECT or ratios["of_bare"] > MOST_OF_BARE)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=10)
    arguments.add_argument("--seconds", type=float, default=2.0)
    arguments.add_argument("--cores", type=int, default=1)
    ARGUMENTS = arguments.parse_args()
    sys.exit(main())

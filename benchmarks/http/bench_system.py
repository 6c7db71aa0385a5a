"""`GET /api/v1/system` with a valid token beside a plain FastAPI doing the same work, in one run.

Both run on uvicorn as the door configures it (uvloop, httptools), each in a process of its own,
and are asked in turn, round by round, by the same client, with 1 and with 32 connections. A ratio
is of one round's two neighbours, so what else the machine does hits both; on a machine that is
not idle, requests per second of the server's own processor time say more than those of the wall.
``python -m benchmarks.http.bench_system --rounds 12 --seconds 1``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import psutil
import uvloop
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from anya_actors.adapters.system.clock import SystemClock
from anya_actors.coordinator.views import ActorView, SupervisorView, SystemView
from anya_actors.domain.hsm.revocations import Revocations
from anya_actors.serve.settings import DoorSettings, Listen
from anya_actors.serve.system_source import SystemSnapshot
from anya_actors.services.tokens import TokenClaims, public_jwk, sign_token
from benchmarks.http.load import load
from benchmarks.report import show, spread, write

LIMIT = 0.85
CONNECTIONS = (1, 32)
SETTINGS = DoorSettings(audience="anya", issuer="anya-hsm")
DOOR, IDIOMATIC, TUNED = "the door", "plain FastAPI", "plain FastAPI, tuned"


@dataclass(frozen=True)
class GivenKeys:
    """A key set that is already here."""

    keys: Mapping[str, Any]

    async def jwks(self) -> Mapping[str, Any]:
        """The key set."""
        return self.keys

    async def revocations(self, known: int) -> Revocations | None:
        """Nothing is revoked."""
        return Revocations() if known < 0 else None


@dataclass(frozen=True)
class GivenSystem:
    """A picture that is already here, as the follower of the coordinator keeps it."""

    taken: SystemSnapshot

    async def snapshot(self) -> SystemSnapshot:
        """The picture."""
        return self.taken

    async def close(self) -> None:
        """Nothing."""


def a_platform() -> SystemView:
    """A platform of the size that a laptop runs."""
    names = [f"kind-{number}/main" for number in range(12)]
    actors = tuple(
        ActorView(name, "root", "serving", 0, False, False, 4242, "127.0.0.1", 3) for name in names
    )
    tree = SupervisorView("root", "one_for_one", 3, 5.0, tuple(names))
    settings = {f"setting_{number}": f"value {number}" for number in range(20)}
    return SystemView("anya_actors", "0.1.0", "serving", 9, 1, 1, 0, 0, tuple(names), tree, actors, settings)


def serve_door(keys: Mapping[str, Any], ready: Connection) -> None:
    """Run the door until the parent ends this process."""
    from anya_actors.serve.app import build_app
    from anya_actors.testing.local_actors import LocalActors

    system, hsm = GivenSystem(SystemSnapshot.of(a_platform())), GivenKeys(keys)
    serve_app(
        lambda: build_app(LocalActors(), SystemClock(), SETTINGS, system=system, jwks=hsm, revocations=hsm),
        ready,
    )


def serve_plain(keys: Mapping[str, Any], ready: Connection) -> None:
    """Run the comparison until the parent ends this process."""
    from benchmarks.http.plain_app import build_plain

    snapshot = SystemSnapshot.of(a_platform())
    serve_app(lambda: build_plain(GivenKeys(keys), SETTINGS, snapshot), ready)


def serve_app(build: Any, ready: Connection) -> None:
    """Serve as the door does, tell where, and go on until the parent has gone or says so."""
    from anya_actors.serve.server import DoorServer

    server = DoorServer(build, Listen("127.0.0.1", 0))
    server.start()
    ready.send(server.address)
    ready.recv()


def start(target: Any, keys: Mapping[str, Any]) -> tuple[Any, Connection, tuple[str, int]]:
    """A server process, the line to it, and where it listens."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=target, args=(keys, there), daemon=True)
    process.start()
    return process, here, here.recv()


def make_token() -> tuple[str, Mapping[str, Any]]:
    """A token with the scope, and the key set that verifies it."""
    key = ed25519.Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    private = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    now_s = int(time.time())
    claims = TokenClaims("anya-hsm", "anya", "bench", "system:read", now_s, now_s + 3600, "bench")
    return sign_token(claims, private, public), {"keys": [public_jwk(public)]}


@dataclass(frozen=True)
class Target:
    """What is measured."""

    process: psutil.Process
    host: str
    port: int
    path: str

    def cpu_s(self) -> float:
        """Processor time that the server has used so far."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


@dataclass(frozen=True)
class Turn:
    """One target's turn in one round."""

    took_s: list[float]
    wall_s: float
    cpu_s: float


async def measure(
    targets: Mapping[str, Target], token: str, rounds: int, for_s: float
) -> dict[int, dict[str, list[Turn]]]:
    """Every turn of each target, per number of connections."""
    found: dict[int, dict[str, list[Turn]]] = {}
    for connections in CONNECTIONS:
        taken = found[connections] = {name: [] for name in targets}
        for number in range(-1, rounds):
            # Each goes first as often as the others.
            order = list(targets)[number % len(targets) :] + list(targets)[: number % len(targets)]
            for name in order:
                turn = await _turn(targets[name], token, connections, for_s if number >= 0 else 0.3)
                if number >= 0:  # the round before the first warms up
                    taken[name].append(turn)
    return found


async def _turn(target: Target, token: str, connections: int, for_s: float) -> Turn:
    cpu_s, began = target.cpu_s(), time.perf_counter()
    took_s = await load(target.host, target.port, target.path, token, connections, for_s)
    return Turn(took_s, time.perf_counter() - began, target.cpu_s() - cpu_s)


def summarize(taken: Mapping[str, list[Turn]]) -> dict[str, Any]:
    """Rates, latencies and ratios of one number of connections."""
    rates = {name: [len(turn.took_s) / turn.wall_s for turn in turns] for name, turns in taken.items()}
    cpu = {name: [len(turn.took_s) / turn.cpu_s for turn in turns] for name, turns in taken.items()}
    latency = {}
    for name, turns in taken.items():
        every = sorted(took for turn in turns for took in turn.took_s)
        latency[name] = {
            "p50_ms": every[len(every) // 2] * 1e3,
            "p99_ms": every[int(len(every) * 0.99)] * 1e3,
        }
    return {
        "requests_per_s": {name: spread(values) for name, values in rates.items()},
        "latency": latency,
        "ratio": _ratios(rates),
        "requests_per_cpu_s": {name: spread(values) for name, values in cpu.items()},
        "cpu_ratio": _ratios(cpu),
    }


def _ratios(rates: Mapping[str, list[float]]) -> dict[str, dict[str, float]]:
    return {
        other: spread([ours / theirs for ours, theirs in zip(rates[DOOR], rates[other], strict=True)])
        for other in (IDIOMATIC, TUNED)
    }


def main() -> int:
    """Measure, print, write; 1 if the door is slower than it may be."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=12)
    arguments.add_argument("--seconds", type=float, default=1.0, help="one target's turn in a round")
    given = arguments.parse_args()
    token, keys = make_token()
    door, door_line, (door_host, door_port) = start(serve_door, keys)
    plain, plain_line, (plain_host, plain_port) = start(serve_plain, keys)
    targets = {
        DOOR: Target(psutil.Process(door.pid), door_host, door_port, "/api/v1/system"),
        IDIOMATIC: Target(psutil.Process(plain.pid), plain_host, plain_port, "/idiomatic"),
        TUNED: Target(psutil.Process(plain.pid), plain_host, plain_port, "/tuned"),
    }
    try:
        found = uvloop.run(measure(targets, token, given.rounds, given.seconds))
    finally:
        for process, line in ((door, door_line), (plain, plain_line)):
            line.send(None)
            process.join(5)
    result = {str(n): summarize(taken) for n, taken in found.items()}
    worst = show_results(result)
    write("http_system", {"limit": LIMIT, "worst_median_ratio": worst, "connections": result})
    return 0 if worst >= LIMIT else 1


def show_results(result: Mapping[str, Mapping[str, Any]]) -> float:
    """Print the tables; the worst median ratio to the plain FastAPI."""
    for connections, figures in result.items():
        show(f"GET /api/v1/system, {connections} connections", "requests/s", figures["requests_per_s"])
        for name, latency in figures["latency"].items():
            print(f"{name:<44}p50 {latency['p50_ms']:.3f} ms   p99 {latency['p99_ms']:.3f} ms")
        show("the door's share of", "ratio of requests/s", figures["ratio"])
        show("per second of the server's processor", "requests", figures["requests_per_cpu_s"])
        show("the door's share of", "ratio of requests per processor second", figures["cpu_ratio"])
    worst = float(min(figures["ratio"][IDIOMATIC]["median"] for figures in result.values()))
    print(
        f"\nworst median ratio {worst:.3f}, at least {LIMIT} wanted: {'ok' if worst >= LIMIT else 'MISSED'}"
    )
    return worst


if __name__ == "__main__":
    sys.exit(main())

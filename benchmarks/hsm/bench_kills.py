"""Sessions, the HSM and the store killed under load: nothing lost, no nonce twice, everything audited.

A whole platform of ``anya up``; callers over Ray and over HTTP create and rotate keys, sign, encrypt,
decrypt, make MuSig2 signatures and tokens, while processes are killed by SIGKILL: sessions, hsm/main,
the coordinator, and with ``--store postgresql`` the server processes of PostgreSQL. See
`anya_actors.testing.hsm_storm`. ``python -m benchmarks.hsm.bench_kills --kills 100 --seed 1``; a run
adds to the results of the runs before it, if those had another seed or store.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil

from anya_actors.bootstrap.ray_environment import RAY_ENVIRONMENT
from anya_actors.cli.demo.hosted import HostedPlatform
from benchmarks.report import RESULTS, write

CONFIG = """
[hsm]
argon2_memory_kib = 19456
argon2_passes = 1
max_sessions = 64
[supervision]
max_restarts = 100000
[store]
kind = "{kind}"
"""
HTTP_OWNERS = ("door",)
RAY_OWNERS = ("ray",)


@contextlib.contextmanager
def configured(kind: str, folder: Path) -> Iterator[tuple[Path, int | None]]:
    """The platform's settings, and the pid of PostgreSQL's server if it has one."""
    config = folder / "anya.toml"
    text = CONFIG.format(kind=kind)
    if kind == "rocksdb":
        config.write_text(text)
        yield config, None
        return
    from anya_actors.testing.postgres import PostgresServer

    with PostgresServer() as server:
        (folder / "dsn").touch(mode=0o600)
        (folder / "dsn").write_text(server.url)
        config.write_text(f'{text}dsn_file = "{folder / "dsn"}"\n')
        yield config, server.pid


@contextlib.contextmanager
def joined_ray(platform: HostedPlatform) -> Iterator[None]:
    """Connected to the platform's Ray, as its own processes are."""
    os.environ.update(
        RAY_ENVIRONMENT,
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN_PATH=str(platform.data_dir / "run" / "ray-token"),
    )
    import ray

    (port,) = Path(platform.record().temp_dir, "session_latest").glob("gcs_server_port_*")
    address = f"127.0.0.1:{port.read_text()}"
    ray.init(address=address, namespace="anya", log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()  # before the platform ends, or Ray would end us with it


def anya(platform: HostedPlatform, *arguments: str) -> str:
    """What a command of the platform's user prints; it must end well."""
    command = [sys.executable, "-m", "anya_actors.cli.main", *arguments, "--json"]
    done = subprocess.run(
        [*command, "--data-dir", str(platform.data_dir)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise AssertionError(f"{arguments}: {done.stdout}{done.stderr}")
    return done.stdout


def backend_victim(server: int) -> Any:
    """One of PostgreSQL's processes that serve a connection; its server then ends all and recovers."""

    async def find(chance: random.Random) -> tuple[str, int] | None:
        serving = [
            process.pid
            for process in psutil.Process(server).children()
            if "anya" in " ".join(process.cmdline())
        ]
        return ("a PostgreSQL backend", chance.choice(serving)) if serving else None

    return find


async def storm(platform: HostedPlatform, server: int | None, kills: int, seed: int) -> dict[str, Any]:
    """One platform, one storm, one reckoning."""
    from anya_actors.coordinator.client import RayActors
    from anya_actors.testing.hsm_storm.doors import Door, HttpDoor, RayDoor
    from anya_actors.testing.hsm_storm.reckoning import reckon
    from anya_actors.testing.hsm_storm.storm import Storm, actor_victim, run_storm, session_victim

    actors = RayActors()
    saved = platform.data_dir / "checkpoint.json"
    saved.write_text(anya(platform, "hsm", "audit", "checkpoint"))
    victims = [*[session_victim(actors)] * 9, *[actor_victim(actors, "hsm/main")] * 8]
    victims += [actor_victim(actors, "coordinator")] * 3
    victims += [] if server is None else [backend_victim(server)] * 5
    began = time.monotonic()
    limits = httpx.Limits(max_connections=64)
    async with httpx.AsyncClient(base_url=platform.ready["api"], timeout=60.0, limits=limits) as client:
        doors: dict[str, Door] = {owner: RayDoor(actors, owner) for owner in RAY_OWNERS}
        for owner in HTTP_OWNERS:
            doors[owner] = HttpDoor(client, await RayDoor(actors, owner).token(f"token-of-{owner}"))
        record, killed = await run_storm(Storm(kills, seed, report=print), doors, victims)
    took_s = time.monotonic() - began
    figures = await reckon(actors, record)
    anya(platform, "hsm", "audit", "verify", "--since", str(saved))
    return {
        "seed": seed,
        "store": "rocksdb" if server is None else "postgresql",
        "kills": dict(killed),
        "kills_total": killed.total(),
        "seconds": round(took_s, 1),
        **figures,
        "keys_lost": 0,
        "nonces_reused": 0,
        "answered_but_not_audited": 0,
    }


def add(run: dict[str, Any]) -> None:
    """Write the run beside those of other seeds and stores."""
    file = RESULTS / "hsm_kills.json"
    runs = json.loads(file.read_text("utf-8"))["runs"] if file.exists() else []
    this = (run["seed"], run["store"])
    runs = [other for other in runs if (other["seed"], other["store"]) != this] + [run]
    total = sum(other["kills_total"] for other in runs)
    write("hsm_kills", {"kills_total": total, "runs": runs})
    print(f"{'kills in all runs':<40}{total}")


def main() -> int:
    """Run, print, write. A broken promise ends it with a traceback that names it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", choices=("rocksdb", "postgresql"), default="rocksdb")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="anya-kills-") as folder,
        configured(options.store, Path(folder)) as (config, server),
        HostedPlatform(print, config) as platform,
        joined_ray(platform),
    ):
        run = asyncio.run(storm(platform, server, options.kills, options.seed))
    for name, value in run.items():
        print(f"{name:<40}{value}")
    add(run)
    return 0


if __name__ == "__main__":
    sys.exit(main())

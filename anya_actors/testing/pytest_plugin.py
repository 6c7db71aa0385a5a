"""Fixtures for tests of durable actors, loaded wherever this package is installed.

* ``anya_ray``: one Ray for the whole session, booted by the first test that asks.
* ``run_platform``: start a coordinator from a `Plan`; stopped after the test.
* ``kill_actor``, ``hang_actor``: SIGKILL or SIGSTOP the process that serves an actor.
* ``ray_cluster``, ``kill_node``: several nodes on this machine, and the loss of one.
* ``manual_clock``, ``free_port``, ``data_dir``.

No index has a package for this; it is our own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from anya_actors.testing.clock import ManualClock
from anya_actors.testing.shared_ray import SharedRay, prepare_environment

if TYPE_CHECKING:
    from anya_actors.coordinator.root import Plan
    from anya_actors.ports.actors import Actors


_ray_folder: Path | None = None


def pytest_configure(config: pytest.Config) -> None:
    """Ray reads its environment when it is imported, which collecting the tests may do."""
    global _ray_folder
    _ray_folder = Path(tempfile.mkdtemp(prefix="anya-pytest-"))
    prepare_environment(_ray_folder)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the token's folder."""
    if _ray_folder is not None:
        shutil.rmtree(_ray_folder, ignore_errors=True)


@pytest.fixture
def manual_clock() -> ManualClock:
    """A clock that only the test moves."""
    return ManualClock()


@pytest.fixture
def free_port() -> int:
    """A TCP port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """An empty data directory, readable by its owner alone."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture(scope="session")
def shared_ray() -> Iterator[SharedRay]:
    """What boots and ends the session's Ray."""

    shared = SharedRay()
    yield shared
    shared.stop()


@pytest.fixture
def anya_ray(shared_ray: SharedRay) -> None:
    """The session's one Ray runs."""
    shared_ray.ensure()


@pytest.fixture
def ray_cluster(shared_ray: SharedRay) -> Iterator[Any]:
    """A Ray of several nodes on this machine (``ray.cluster_utils.Cluster``), for this test alone."""
    yield shared_ray.ensure_cluster()
    shared_ray.stop()


@pytest.fixture
def kill_node(ray_cluster: Any) -> Callable[[Any], None]:
    """``kill_node(node)``: the node is gone with every process on it, without a goodbye."""

    def kill(node: Any) -> None:
        raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
        workers = raylet.children(recursive=True)
        ray_cluster.remove_node(node, allow_graceful=False)
        for worker in workers:  # they outlive their raylet for a while; a lost machine's do not
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()

    return kill


@pytest.fixture
async def run_platform(anya_ray: None) -> AsyncIterator[Callable[[Plan], Awaitable[Actors]]]:
    """``await run_platform(plan)``: its `Actors`, once the coordinator is ready."""
    from anya_actors.coordinator.launch import launch_coordinator, stop_coordinator

    started, used = [], []

    async def run(plan: Plan) -> Actors:
        from anya_actors.coordinator.client import RayActors

        started.append(await launch_coordinator(plan))
        used.append(RayActors())
        return used[-1]

    yield run
    for actors in used:
        actors.close()
    for coordinator in started:
        await stop_coordinator(coordinator)


@pytest.fixture
def kill_actor() -> Callable[[Actors, str], Awaitable[int]]:
    """``await kill_actor(actors, name)``: SIGKILL its process; the pid that died."""

    async def kill(actors: Actors, name: str) -> int:
        pid = await serving_pid(actors, name)
        os.kill(pid, signal.SIGKILL)
        return pid

    return kill


@pytest.fixture
def hang_actor() -> Iterator[Callable[[Actors, str], Awaitable[int]]]:
    """``await hang_actor(actors, name)``: SIGSTOP its process; let go after the test."""
    stopped: list[int] = []

    async def hang(actors: Actors, name: str) -> int:
        pid = await serving_pid(actors, name)
        os.kill(pid, signal.SIGSTOP)
        stopped.append(pid)
        return pid

    yield hang
    for pid in stopped:
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            continue


async def serving_pid(actors: Actors, name: str, timeout_s: float = 30.0) -> int:
    """The process id that serves ``name`` now; ``coordinator`` is a name too."""
    async with asyncio.timeout(timeout_s):
        while True:
            system = await actors.call("coordinator", "system")
            if name == "coordinator":
                return int(system.coordinator_pid)
            for actor in system.actors:
                if actor.name == name and actor.pid is not None:
                    return int(actor.pid)
            await actors.call(
                "coordinator", "system_after", system.coordinator_epoch, system.version, timeout_s
            )

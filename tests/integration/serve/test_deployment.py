"""The door under Ray Serve: replicas listen themselves, are replaced when killed, and go quietly."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import psutil
import pytest

from anya_actors.serve import door
from anya_actors.serve.errors import DoorNotDeployedError
from anya_actors.serve.port import reserve_port
from anya_actors.serve.settings import Listen

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    # Ray Serve's own models, at its import.
    pytest.mark.filterwarnings("ignore:Using extra keyword arguments on `Field`"),
]


def application() -> Callable[[], Any]:
    """What builds the application in a replica. Nested, so that it travels by value."""

    def build() -> Any:
        import os

        from anya_actors.adapters.system.clock import SystemClock
        from anya_actors.serve.app import build_app
        from anya_actors.serve.settings import DoorSettings
        from anya_actors.testing.local_actors import LocalActors

        class Coordinator:
            async def system_after(self, epoch: int, version: int, wait_s: float) -> Any:
                from anya_actors.coordinator.views import SupervisorView, SystemView

                tree = SupervisorView("root", "one_for_one", 1, 1.0, ())
                return SystemView("anya", "1", "serving", 1, os.getpid(), 1, 0, 0, (), tree, (), {})

        actors = LocalActors({"coordinator": Coordinator()})
        return build_app(actors, SystemClock(), DoorSettings(audience="anya", issuer="anya"))

    return build


@pytest.fixture
async def serve(anya_ray: None) -> AsyncIterator[None]:
    """Serve may run; it is ended after the test."""
    yield
    from ray import serve

    await asyncio.to_thread(serve.shutdown)


def replica_pids() -> set[int]:
    """The processes of the door's replicas that belong to this test's Ray."""
    found = set()
    for process in psutil.process_iter(["pid", "cmdline", "environ"]):
        with contextlib.suppress(psutil.Error):
            cmdline = " ".join(process.info["cmdline"] or ())
            ours = (process.info["environ"] or {}).get("RAY_AUTH_TOKEN_PATH") == os.environ[
                "RAY_AUTH_TOKEN_PATH"
            ]
            if "ServeReplica" in cmdline and ours:
                found.add(process.info["pid"])
    return found


async def healthy(port: int) -> bool:
    async with httpx.AsyncClient(timeout=60.0) as client:
        with contextlib.suppress(httpx.TransportError):
            return (await client.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200
    return False


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await condition():  # noqa: ASYNC110 - nobody announces another process
            await asyncio.sleep(0.2)


async def test_a_door_listens_survives_the_loss_of_a_replica_and_closes(serve: None) -> None:
    with reserve_port("127.0.0.1", 0) as reserved:
        listen = Listen("127.0.0.1", reserved.port, drain_s=1)
        await asyncio.to_thread(door.deploy, application(), listen, replicas=2)
        assert await healthy(reserved.port)
        before = replica_pids()
        assert len(before) == 2
        listening = {
            connection.laddr.ip
            for pid in before
            for connection in psutil.Process(pid).net_connections("inet")
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == reserved.port
        }
        assert listening == {"127.0.0.1"}

        os.kill(min(before), signal.SIGKILL)

        async def replaced() -> bool:
            return len(replica_pids() - before) == 1 and len(replica_pids()) == 2

        async def serving() -> bool:
            return all([await healthy(reserved.port) for _ in range(10)])

        await until(replaced)
        await until(serving)
        await door.undeploy()
        assert not await healthy(reserved.port)
        assert replica_pids() == set()


async def test_a_door_that_cannot_be_built_is_an_error_that_says_why(serve: None) -> None:
    def build() -> Any:
        raise ValueError("the settings are upside down")

    with reserve_port("127.0.0.1", 0) as reserved:
        listen = Listen("127.0.0.1", reserved.port, drain_s=1)
        with pytest.raises(DoorNotDeployedError, match="upside down"):
            await asyncio.to_thread(door.deploy, build, listen)

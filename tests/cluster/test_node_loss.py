"""Several nodes, one database: actors outlive their node, and two copies never both act."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from anya_actors.ports.actors import Actors
from anya_actors.ports.state_store import Commit, FencedError
from anya_actors.testing.postgres import PostgresServer, find_programs
from anya_actors.testing.pytest_plugin import serving_pid

pytestmark = [
    pytest.mark.ray,
    pytest.mark.postgres,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(find_programs() is None, reason="PostgreSQL's server programs are not installed"),
]


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """The URL of a real server."""
    with PostgresServer() as server:
        yield server.url


async def start(folder: Path, url: str) -> tuple[Any, Actors]:
    from anya_actors.adapters.postgresql.state_store import PostgresStateStores
    from anya_actors.coordinator.client import RayActors
    from anya_actors.coordinator.launch import launch_coordinator
    from anya_actors.testing.ledger_actor import ledger_plan

    coordinator = await launch_coordinator(ledger_plan(folder, stores=partial(PostgresStateStores, url)))
    return coordinator, RayActors()


async def node_of(cluster: Any, actors: Actors, name: str) -> Any:
    """The worker node that serves ``name``, or None if the head does."""
    raylet = psutil.Process(await serving_pid(actors, name)).ppid()
    for node in cluster.worker_nodes:
        if node.all_processes["raylet"][0].process.pid == raylet:
            return node
    return None


async def test_an_actor_goes_on_elsewhere_when_its_node_is_lost(
    ray_cluster: Any, kill_node: Callable[[Any], None], data_dir: Path, database: str
) -> None:
    for _ in range(2):
        ray_cluster.add_node(num_cpus=1)
    coordinator, actors = await start(data_dir, database)
    lost = None
    for number in range(40):
        name = f"ledger/n{number}"
        await actors.call(name, "deposit", "alice", 7, message_id="m1", timeout_s=60.0)
        lost = await node_of(ray_cluster, actors, name)
        if lost is not None:
            break
    assert lost is not None, "Ray put no actor on a worker node"
    first = await serving_pid(actors, name)
    kill_node(lost)
    again = await actors.call(name, "deposit", "alice", 1, message_id="m2", timeout_s=120.0)
    assert (again.balance_sat, again.deposits) == (8, 2)
    assert await serving_pid(actors, name) != first
    assert (await actors.call(name, "settled", "alice")).receipts == 2
    from anya_actors.coordinator.launch import stop_coordinator

    await stop_coordinator(coordinator)


async def test_of_two_living_copies_only_the_newer_commits(
    anya_ray: None, data_dir: Path, database: str
) -> None:
    from anya_actors.adapters.postgresql.state_store import PostgresStateStores
    from anya_actors.coordinator.launch import stop_coordinator

    coordinator, actors = await start(data_dir, database)
    await actors.call("ledger/twin", "deposit", "alice", 1, message_id="m1")
    served_by = await serving_pid(actors, "ledger/twin")
    # As another coordinator across a network partition would: a second copy, while the first lives.
    stores = PostgresStateStores(database)
    twin = await stores.activate("ledger/twin")
    assert psutil.pid_exists(served_by)
    # The first copy cannot commit any more. It ends itself, and a third one answers the call.
    account = await actors.call("ledger/twin", "deposit", "alice", 1, message_id="m2", timeout_s=60.0)
    assert (account.balance_sat, account.deposits) == (2, 2)
    assert await serving_pid(actors, "ledger/twin") != served_by
    with pytest.raises(FencedError):
        await twin.commit(Commit("bob", 0, b"forged", "m3"))
    assert await actors.call("ledger/twin", "accounts") == ["alice"]
    assert (await actors.call("ledger/twin", "settled", "alice")).balance_sat == 2
    await stores.close()
    await stop_coordinator(coordinator)

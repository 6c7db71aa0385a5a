"""Starting and ending the one actor that Ray itself keeps alive."""

from __future__ import annotations

import contextlib
from typing import Any

import ray
import ray.exceptions

from anya_actors.coordinator.ray_errors import unwrapped
from anya_actors.coordinator.ray_processes import MOST_CONCURRENT, on_this_node
from anya_actors.coordinator.root import Coordinator, Plan
from anya_actors.ports.actors import COORDINATOR


async def launch_coordinator(plan: Plan) -> Any:
    """Start the coordinator in the Ray that this process is connected to; its handle when ready.

    Raises what kept it from starting.
    """
    options: dict[str, Any] = {
        "name": COORDINATOR,
        "lifetime": "detached",
        "max_restarts": -1,
        "max_task_retries": 0,
        "num_cpus": 0,
        "max_concurrency": MOST_CONCURRENT,
        # Where the launcher is: in a cluster the head, without which there is no cluster.
        "scheduling_strategy": on_this_node(),
    }
    handle: Any = ray.remote(Coordinator).options(**options).remote(plan)
    try:
        with unwrapped():
            await handle.ready.remote()
    except BaseException:
        ray.kill(handle, no_restart=True)
        raise
    return handle


async def stop_coordinator(handle: Any) -> None:
    """Stop every actor in the reverse order of its start, then the coordinator itself."""
    with contextlib.suppress(ray.exceptions.RayActorError), unwrapped():
        await handle.shutdown.remote()
    ray.kill(handle, no_restart=True)

"""Prepared hosts on a real Ray."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from anya_actors.testing.clock import ManualClock

pytestmark = pytest.mark.ray


async def test_an_actor_takes_its_kinds_prepared_host_and_a_spare_that_died_is_missed(
    anya_ray: None, data_dir: Path
) -> None:
    import ray

    from anya_actors.adapters.system.randomness import SystemRandomness
    from anya_actors.coordinator.client import connect
    from anya_actors.coordinator.kinds import Kinds
    from anya_actors.coordinator.ray_processes import HOST_PREFIX, RayProcesses
    from anya_actors.coordinator.root import nothing
    from anya_actors.coordinator.spares import ANY
    from anya_actors.testing.ledger_actor import ledger_plan

    clock = ManualClock()
    kind = replace(ledger_plan(data_dir).kinds["ledger"], warm=1)
    processes = RayProcesses(Kinds({"ledger": kind}), connect, nothing, clock, SystemRandomness())
    await processes.kill_strays(set())
    async with asyncio.timeout(60.0):
        while processes.spares() != {ANY: 1, "ledger": 1}:
            await clock.advance(1.0)
            await asyncio.sleep(0.01)  # Ray's time is real
        process = await processes.launch("ledger/a", "ledger/a#1")
        assert processes.spares() == {ANY: 1, "ledger": 0}
        assert (await process.activate()).epoch == 1
        for name in ray.util.list_named_actors():
            handle = ray.get_actor(name)
            if name.startswith(HOST_PREFIX) and await handle.label.remote() is None:
                os.kill((await handle.location.remote())[0], signal.SIGKILL)
        while processes.spares()[ANY]:
            await clock.advance(0.0)
            await asyncio.sleep(0.01)
        await process.kill()
    await processes.close()

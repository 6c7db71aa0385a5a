"""Deaths, failures, passivations and crashes of the supervisor at random moments; seeds replay exactly."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest

from anya_actors.domain.machine import AnyaError, UnavailableError
from anya_actors.domain.supervision.spec import Strategy
from anya_actors.domain.supervision.tree import Status
from tests.unit.coordinator.platform import Platform, child, quiet, soon

WARM = ("w/a", "w/b", "w/c")
VIRTUAL = ("v/x", "v/y")
STEPS = ("launch", "prepare", "activate", "stop", "kill", "identity", "check_health")


async def one_mishap(platform: Platform, chance: random.Random) -> None:
    actor = chance.choice(WARM + VIRTUAL)
    match chance.choice(["die", "die", "fail", "remove", "call", "call", "time", "crash"]):
        case "die":
            for process in platform.processes.living(actor):
                if chance.random() < 0.7:
                    process.die()
        case "fail":
            platform.processes.fail(actor, chance.choice(STEPS), UnavailableError(actor, "chaos"))
        case "remove":
            platform.supervisor.remove(actor)
        case "call":
            with contextlib.suppress(AnyaError):
                await platform.locate(actor, 0.001)
        case "time":
            await platform.clock.advance(chance.choice([0.05, 1.0, 5.0]))
        case "crash":
            if chance.random() < 0.3:
                await platform.crash()
                await platform.boot()


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize("seed", range(12))
async def test_whatever_happens_in_the_end_each_actor_has_one_process(strategy: Strategy, seed: int) -> None:
    chance = random.Random(seed)
    warm = [child(name, critical=name == "w/b") for name in WARM]
    platform = Platform(*warm, strategy=strategy, intensity=10_000)
    await platform.boot()
    for _ in range(40):
        await one_mishap(platform, chance)
        for _ in range(chance.choice([0, 1, 2, 3, 5, 8, 100])):
            await asyncio.sleep(0)
    platform.processes.forgive()
    await platform.clock.advance(20.0)
    for actor in WARM + VIRTUAL:
        with contextlib.suppress(AnyaError):
            await soon(platform.locate(actor))
    await platform.clock.advance(20.0)
    assert platform.processes.twins == []
    assert {c.status for c in platform.supervisor.tree.children.values()} == {Status.RUNNING}
    for actor in WARM:
        assert platform.processes.serving(actor) is await platform.locate(actor)
    assert len(platform.processes.living("w/b")) == 2
    assert set(platform.supervisor.active()) == set(platform.supervisor.tree.children)
    extra = [p.label for p in platform.processes.living() if not p.serves]
    assert extra == [p.label for p in platform.processes.living("w/b") if not p.serves]
    await soon(platform.supervisor.stop())
    await quiet()
    assert platform.labels() == []

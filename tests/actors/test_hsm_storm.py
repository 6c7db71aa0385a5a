"""A small storm of kills over the HSM on a real Ray; `benchmarks.hsm.bench_kills` is the great one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from anya_actors.ports.actors import Actors
from tests.actors.test_hsm_on_ray import security_plan

if TYPE_CHECKING:
    from anya_actors.coordinator.root import Plan
    from anya_actors.testing.hsm_storm.doors import Door

pytestmark = pytest.mark.ray

KILLS = 3


async def test_what_callers_were_told_holds_after_sessions_and_the_hsm_were_killed(
    run_platform: Callable[[Plan], Awaitable[Actors]], data_dir: Path
) -> None:
    from anya_actors.testing.hsm_storm.doors import HSM, RayDoor
    from anya_actors.testing.hsm_storm.reckoning import reckon
    from anya_actors.testing.hsm_storm.storm import Storm, actor_victim, run_storm, session_victim

    actors = await run_platform(security_plan(data_dir))
    doors: dict[str, Door] = {"alice": RayDoor(actors, "alice")}
    storm = Storm(KILLS, seed=20261125, workers_per_owner=2, most_between=15, patience_s=2.0)
    victims = (session_victim(actors), actor_victim(actors, HSM))
    record, killed = await run_storm(storm, doors, victims)
    figures = await reckon(actors, record)
    assert killed.total() == KILLS
    assert figures["operations_answered"] > 0

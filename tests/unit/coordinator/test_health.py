"""Actors are asked how they are, and those that do not answer well are replaced."""

from __future__ import annotations

import pytest

from anya_actors.domain.supervision.events import ActorFailed
from anya_actors.ports.state_store import FencedError
from tests.unit.coordinator.platform import Platform, child, quiet, soon


async def ask(platform: Platform) -> None:
    """One round of questions; those that hang run into the time-out."""
    await platform.clock.advance(5.0)
    await soon(platform.clock.wait_sleepers(1))
    await quiet()


@pytest.mark.parametrize("how", ["hangs", "raises"])
async def test_an_actor_that_does_not_answer_twice_is_killed_and_restarted(how: str) -> None:
    platform = Platform(child("w/a"), child("w/b"))
    await platform.boot()
    if how == "hangs":
        platform.processes.hold("w/a", "check_health")
    else:
        platform.processes.fail("w/a", "check_health", *[RuntimeError("ill")] * 2)
    await ask(platform)
    assert "w/a#1" in platform.labels()
    await ask(platform)
    assert "w/a#1" not in platform.labels()
    if how == "hangs":
        platform.processes.let_go("w/a", "check_health")
    assert (await soon(platform.locate("w/a"))).label == "w/a#2"
    failed = [event for event in platform.told if isinstance(event, ActorFailed)]
    assert [event.reason.split(":")[0] for event in failed] == ["unhealthy", "its process died"]
    assert platform.labels() == ["w/a#2", "w/b#1"]


async def test_one_good_answer_forgives_a_bad_one() -> None:
    platform = Platform(child("w/a"))
    await platform.boot()
    for _ in range(3):
        platform.processes.fail("w/a", "check_health", RuntimeError("ill"))
        await ask(platform)
        await ask(platform)
    assert platform.labels() == ["w/a#1"]


async def test_an_actor_that_was_superseded_is_killed_at_its_first_answer() -> None:
    platform = Platform(child("w/a"))
    await platform.boot()
    platform.processes.fail("w/a", "check_health", FencedError("w/a", 1))
    await ask(platform)
    assert (await soon(platform.locate("w/a"))).label == "w/a#2"


async def test_a_burial_that_takes_long_does_not_end_the_questions() -> None:
    platform = Platform(child("w/a"), child("w/b"))
    await platform.boot()
    platform.processes.hold("w/a", "kill")
    platform.processes.fail("w/a", "check_health", *[FencedError("w/a", 1)] * 3)
    await ask(platform)
    await ask(platform)
    platform.processes.fail("w/b", "check_health", FencedError("w/b", 1))
    await ask(platform)
    assert (await soon(platform.locate("w/b"))).label == "w/b#2"
    failed = [event.actor for event in platform.told if isinstance(event, ActorFailed)]
    assert failed.count("w/a") == 1

"""Durable actors on a real Ray, through deaths of every part."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from anya_actors.domain.machine import InvalidInputError
from anya_actors.ports.actors import Actors, UnknownActorError, UnknownMethodError

if TYPE_CHECKING:
    from anya_actors.coordinator.root import Plan

pytestmark = pytest.mark.ray

Run = Callable[["Plan"], Awaitable[Actors]]
Strike = Callable[[Actors, str], Awaitable[int]]


def plan(folder: Path, **options: Any) -> Plan:
    from anya_actors.testing.ledger_actor import ledger_plan

    return ledger_plan(folder, **options)


async def test_a_call_activates_an_actor_that_nobody_started(run_platform: Run, data_dir: Path) -> None:
    actors = await run_platform(plan(data_dir))
    account = await actors.call("ledger/new", "deposit", "alice", 5, message_id="m1")
    assert (account.balance_sat, account.deposits) == (5, 1)
    assert (await actors.call("ledger/new", "settled", "alice")).receipts == 1


async def test_what_was_acknowledged_is_there_after_a_kill(
    run_platform: Run, kill_actor: Strike, data_dir: Path
) -> None:
    actors = await run_platform(plan(data_dir))
    for number in range(3):
        await actors.call("ledger/main", "deposit", "alice", 1, message_id=f"m{number}")
        await kill_actor(actors, "ledger/main")
    again = await actors.call("ledger/main", "deposit", "alice", 1, message_id="m2")
    assert again.deposits == 3  # the first answer to m2, not a fourth deposit
    account = await actors.call("ledger/main", "settled", "alice")
    assert (account.balance_sat, account.receipts) == (3, 3)
    receipts = [p for p in (data_dir / "witness").iterdir() if p.name != "attempts"]
    assert len(receipts) == 3


async def test_a_critical_actor_is_succeeded_by_its_standby(
    run_platform: Run, kill_actor: Strike, data_dir: Path
) -> None:
    actors = await run_platform(plan(data_dir, critical=True))
    await actors.call("ledger/main", "deposit", "alice", 1, message_id="m1")
    system = await actors.call("coordinator", "system")
    while not any(actor.standby for actor in system.actors):
        system = await actors.call(
            "coordinator", "system_after", system.coordinator_epoch, system.version, 5.0
        )
    dead = await kill_actor(actors, "ledger/main")
    assert (await actors.call("ledger/main", "account", "alice")).balance_sat == 1
    system = await actors.call("coordinator", "system")
    (main,) = [actor for actor in system.actors if actor.name == "ledger/main"]
    assert (main.pid != dead, main.epoch, main.restarts) == (True, 2, 1)


async def test_a_restarted_coordinator_adopts_the_living_and_restarts_the_dead(
    run_platform: Run, kill_actor: Strike, data_dir: Path
) -> None:
    actors = await run_platform(plan(data_dir))
    await actors.call("ledger/other", "deposit", "alice", 1, message_id="m1")
    before = {a.name: a for a in (await actors.call("coordinator", "system")).actors}
    await kill_actor(actors, "coordinator")
    await kill_actor(actors, "ledger/main")
    await actors.call("ledger/main", "deposit", "alice", 1, message_id="m1")
    after = {a.name: a for a in (await actors.call("coordinator", "system")).actors}
    assert after["ledger/other"].pid == before["ledger/other"].pid
    assert after["ledger/other"].epoch == 1
    assert after["ledger/main"].pid != before["ledger/main"].pid
    assert after["ledger/main"].epoch == 2


async def test_a_hung_actor_is_killed_and_restarted(
    run_platform: Run, hang_actor: Strike, data_dir: Path
) -> None:
    from anya_actors.coordinator.health import HealthPolicy

    health = HealthPolicy(interval_s=0.3, timeout_s=0.5, failures=2)
    actors = await run_platform(plan(data_dir, health=health))
    await actors.call("ledger/main", "deposit", "alice", 1, message_id="m1")
    hung = await hang_actor(actors, "ledger/main")
    account = await actors.call("ledger/main", "account", "alice", timeout_s=60.0)
    assert account.balance_sat == 1
    assert not psutil.pid_exists(hung)


async def test_an_idle_actor_is_passivated_and_comes_back_when_called(
    run_platform: Run, data_dir: Path
) -> None:
    from anya_actors.coordinator.health import HealthPolicy

    health = HealthPolicy(interval_s=0.2)
    actors = await run_platform(plan(data_dir, health=health, idle_timeout_s=2.0))
    await actors.call("ledger/guest", "deposit", "alice", 1, message_id="m1")
    async with asyncio.timeout(60):
        system = await actors.call("coordinator", "system")
        while any(actor.name == "ledger/guest" for actor in system.actors):
            system = await actors.call(
                "coordinator", "system_after", system.coordinator_epoch, system.version, 5.0
            )
    assert (await actors.call("ledger/guest", "account", "alice", timeout_s=60.0)).balance_sat == 1


async def test_every_committed_event_is_on_the_bus_once(
    run_platform: Run, kill_actor: Strike, data_dir: Path
) -> None:
    actors = await run_platform(plan(data_dir))
    for number in range(5):
        await actors.call("ledger/main", "deposit", "alice", 1, message_id=f"m{number}")
        if number == 2:
            await kill_actor(actors, "ledger/main")
        if number == 3:
            await kill_actor(actors, "coordinator")
    seen: list[int] = []
    cursor = 0
    async with asyncio.timeout(60):
        while len(seen) < 5:
            for event in await actors.call("coordinator", "events_after", cursor, 100, 1.0):
                cursor = event.cursor
                if event.source == "ledger/main":
                    seen.append(event.source_sequence)
    assert seen == [1, 2, 3, 4, 5]


async def test_refusals_reach_the_caller_as_our_own_errors(run_platform: Run, data_dir: Path) -> None:
    actors = await run_platform(plan(data_dir))
    with pytest.raises(InvalidInputError, match="must be positive"):
        await actors.call("ledger/main", "deposit", "alice", 0, message_id="m1")
    for name in ("nothing/main", "ledger/../etc", "ledger"):
        with pytest.raises(UnknownActorError):
            await actors.call(name, "account", "alice")
    for method in ("_serve", "drain", "no_such_method"):
        with pytest.raises(UnknownMethodError):
            await actors.call("ledger/main", method)

"""What the engine promises, with crashes and failures at every point."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import pytest

from anya_actors.domain.machine import (
    UnavailableError,
)
from anya_actors.ports.state_store import (
    FencedError,
    MessageAppliedError,
    StoreFullError,
    VersionConflictError,
)
from anya_actors.services.durable import DurableEngine
from anya_actors.testing.ledger import RULES, Account, Deposited
from tests.unit.services.faulty_store import (
    Death,
    FaultyStore,
    Gate,
    LateCommits,
    losing_the_answer,
    refusing,
)
from tests.unit.services.ledger_world import ACTOR, Chance, World, quiet

# -- crashes -----------------------------------------------------------------------------------------


async def scenario(engine: DurableEngine[Account, Account]) -> None:
    await engine.resume()
    for n, key in enumerate("aba"):
        await engine.handle(key, Deposited(n + 1), message_id=f"m{n}")
    for key in "ab":
        await engine.settled(key)


async def run_until_death(world: World, death: Death) -> bool:
    """Run the scenario in a process that dies; whether it did."""
    bystanders = asyncio.all_tasks()
    engine = await world.engine(death)
    running = asyncio.create_task(scenario(engine))
    dying = asyncio.create_task(death.died.wait())
    await asyncio.wait([running, dying], return_when=asyncio.FIRST_COMPLETED)
    await quiet()
    for task in asyncio.all_tasks() - bystanders:
        task.cancel()
    await quiet()
    return death.died.is_set()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_crash_at_any_call_of_the_store_loses_and_doubles_nothing(after: bool) -> None:
    for at in itertools.count(1):
        world = World()
        died = await run_until_death(world, Death(at, after=after))
        successor = await world.engine()
        await scenario(successor)
        await quiet()
        assert await successor.load("a") == Account("a", 4, 2, 2), at
        assert await successor.load("b") == Account("b", 2, 1, 1), at
        assert sorted(world.receipts.values()) == [1, 2, 3], at
        assert [event.source_sequence for event in await world.published()] == [1, 2, 3], at
        await successor.close()
        if not died:
            assert at > 15
            return


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_three_crashes_in_a_row_at_any_three_calls_lose_and_double_nothing(after: bool) -> None:
    for at in itertools.product((2, 5, 9, 12), (1, 3, 7, 11), (2, 6, 10)):
        world = World()
        for call in at:
            await run_until_death(world, Death(call, after=after))
        successor = await world.engine()
        await scenario(successor)
        await quiet()
        assert (await successor.load("a"), await successor.load("b")) == (
            Account("a", 4, 2, 2),
            Account("b", 2, 1, 1),
        ), at
        assert sorted(world.receipts.values()) == [1, 2, 3], at
        assert [event.source_sequence for event in await world.published()] == [1, 2, 3], at
        await successor.close()


@pytest.mark.parametrize("method", ["load", "applied", "commit"])
async def test_a_store_that_fails_for_a_moment_is_told_to_the_caller_who_may_repeat(
    world: World, method: str
) -> None:
    engine = await world.engine(refusing(method))
    await engine.resume()
    with pytest.raises(UnavailableError):
        await engine.handle("a", Deposited(5), message_id="m")
    assert (await engine.handle("a", Deposited(5), message_id="m")).balance_sat == 5
    await engine.settled("a")
    assert list(world.receipts.values()) == [5]
    await engine.close()


async def test_a_full_disk_changes_nothing_and_passes(world: World) -> None:
    engine = await world.engine(refusing("commit", 1, StoreFullError(ACTOR, "no space")))
    with pytest.raises(StoreFullError):
        await engine.handle("a", Deposited(5), message_id="m")
    assert not await engine.exists("a")
    await engine.handle("a", Deposited(5), message_id="m")
    await engine.settled("a")
    assert list(world.receipts.values()) == [5]


async def test_a_commit_whose_answer_was_lost_is_performed_and_published_all_the_same(world: World) -> None:
    # Nobody repeats the call: the command was performed, but the event waited for the next one.
    engine = await world.engine(losing_the_answer("commit"))
    await engine.resume()
    with pytest.raises(UnavailableError):
        await engine.handle("a", Deposited(5), message_id="m")
    await quiet()
    assert list(world.receipts.values()) == [5]
    assert len(await world.published()) == 1
    assert await engine.handle("a", Deposited(5), message_id="m") == Account("a", 5, 1, 0)
    assert await engine.load("a") == Account("a", 5, 1, 1)
    await engine.close()


async def test_an_outcome_whose_answer_was_lost_counts_once(world: World) -> None:
    engine = await world.engine()
    losing = losing_the_answer("commit")

    async def lose_the_outcome() -> None:
        store.around = losing

    store = FaultyStore(await world.stores.activate(ACTOR))
    engine = DurableEngine(
        store=store, rules=RULES, perform=world.perform, clock=world.clock, randomness=Chance()
    )
    world.before_taking = lose_the_outcome
    await engine.handle("a", Deposited(5), message_id="m")
    await world.clock.wait_sleepers(1)
    await world.clock.advance(1.0)
    await engine.settled("a")
    assert losing.remaining == 0
    assert await engine.load("a") == Account("a", 5, 1, 1)
    assert len(world.attempts) == 2


async def test_commands_keep_their_order_across_a_commit_in_doubt(world: World) -> None:
    # The next call's command was performed first: the one in doubt was only known later.
    engine = await world.engine(LateCommits(lost=1))
    with pytest.raises(UnavailableError):
        await engine.handle("a", Deposited(5), message_id="m1")
    assert (await engine.handle("a", Deposited(6), message_id="m2")).balance_sat == 11
    await engine.settled("a")
    assert list(world.receipts.values()) == [5, 6]


async def test_a_conflict_is_decided_once_more_and_then_told(world: World) -> None:
    conflict = VersionConflictError(ACTOR, "a", 2, 1)
    engine = await world.engine(refusing("commit", 1, conflict))
    assert (await engine.handle("a", Deposited(5), message_id="m1")).balance_sat == 5
    engine = await world.engine(refusing("commit", 2, conflict))
    with pytest.raises(VersionConflictError):
        await engine.handle("a", Deposited(5), message_id="m2")
    assert (await engine.handle("a", Deposited(5), message_id="m2")).balance_sat == 10


async def test_a_message_that_another_call_applied_meanwhile_gets_that_answer(world: World) -> None:
    await (await world.engine()).handle("a", Deposited(5), message_id="m")
    hidden = 1

    async def around(method: str, call: Callable[[], Awaitable[object]]) -> object:
        nonlocal hidden
        if method == "applied" and hidden:
            hidden -= 1
            return None
        return await call()

    engine = await world.engine(around)
    assert await engine.handle("a", Deposited(5), message_id="m") == Account("a", 5, 1, 0)
    hidden = 2
    with pytest.raises(MessageAppliedError):  # applied, and forgotten: not ours to guess
        await engine.handle("a", Deposited(5), message_id="m")


# -- fencing -----------------------------------------------------------------------------------------


async def test_a_superseded_copy_can_neither_change_nor_answer_and_says_so(world: World) -> None:
    stale = await world.engine()
    await stale.handle("a", Deposited(5), message_id="m1")
    await stale.settled("a")
    newer = await world.engine()
    with pytest.raises(FencedError):
        await stale.handle("a", Deposited(6), message_id="m2")
    for refused in (stale.check_health(), stale.load("a"), stale.exists("a")):
        with pytest.raises(FencedError):
            await refused
    assert (await newer.load("a")).balance_sat == 5
    assert (await newer.handle("a", Deposited(6), message_id="m2")).balance_sat == 11


async def test_a_superseded_copy_stops_performing_and_frees_those_who_wait(world: World) -> None:
    world.refusals = [UnavailableError("the witness", "it sleeps")]
    stale = await world.engine()
    await stale.handle("a", Deposited(5), message_id="m")
    await world.clock.wait_sleepers(1)
    waiting = asyncio.create_task(stale.settled("a"))
    await world.engine()
    await world.clock.advance(60.0)
    with pytest.raises(FencedError):
        await waiting
    attempts = len(world.attempts)
    await world.clock.advance(600.0)
    assert len(world.attempts) == attempts
    await stale.close()


async def test_the_fencing_of_another_actor_is_only_a_failed_call(world: World) -> None:
    # A command that called a superseded actor made ours believe itself superseded.
    world.refusals = [FencedError("hsm/main", 3)]
    engine = await world.engine()
    await engine.handle("a", Deposited(5), message_id="m")
    await world.clock.wait_sleepers(1)
    await engine.check_health()
    await world.clock.advance(1.0)
    await engine.settled("a")
    assert len(world.receipts) == 1


# -- close -------------------------------------------------------------------------------------------


async def test_close_lets_a_commit_on_its_way_end_and_leaves_its_debt_to_the_successor(world: World) -> None:
    gate = Gate("commit", after=True)
    engine = await world.engine(gate)
    await engine.resume()
    call = asyncio.create_task(engine.handle("a", Deposited(5), message_id="m"))
    await gate.reached.wait()
    closing = asyncio.create_task(engine.close())
    await quiet()
    assert not closing.done()
    gate.opened.set()
    await closing
    assert (await call).balance_sat == 5
    assert world.receipts == {}
    with pytest.raises(UnavailableError, match="closing"):
        await engine.handle("a", Deposited(6), message_id="m2")
    successor = await world.engine()
    await successor.resume()
    await successor.settled("a")
    assert list(world.receipts.values()) == [5]
    await successor.close()


async def test_close_breaks_off_a_command_and_frees_those_who_wait_for_it(world: World) -> None:
    world.before_taking = asyncio.Event().wait
    engine = await world.engine()
    await engine.resume()
    await engine.handle("a", Deposited(5), message_id="m")
    waiting = asyncio.create_task(engine.settled("a"))
    await quiet()
    before = asyncio.all_tasks()
    await engine.close()
    with pytest.raises(UnavailableError):
        await waiting
    await quiet()
    assert asyncio.all_tasks() <= before  # nothing new was begun
    assert world.clock.sleepers == 0
    world.before_taking = None
    successor = await world.engine()
    await successor.resume()
    await successor.settled("a")
    assert world.attempts == [f"{ACTOR}/1"] * 2
    await successor.close()

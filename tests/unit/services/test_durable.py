"""What the engine promises while nothing crashes."""

from __future__ import annotations

import asyncio
import itertools

import msgspec
import pytest

from anya_actors.adapters.memory.state_store import MemoryStateStores
from anya_actors.domain.encoding import Schema
from anya_actors.domain.machine import (
    Command,
    Event,
    IllegalTransitionError,
    InvalidInputError,
    Step,
    UnavailableError,
)
from anya_actors.services.durable import DurableEngine, IdempotencyConflictError, InvalidMessageIdError, Rules
from anya_actors.testing.clock import ManualClock
from anya_actors.testing.ledger import RULES, Account, Deposited
from tests.unit.services.faulty_store import (
    FaultyStore,
    Gate,
    LateCommits,
    losing_the_answer,
)
from tests.unit.services.ledger_world import ACTOR, Chance, World, quiet

# -- messages ----------------------------------------------------------------------------------------


async def test_a_repeated_message_gets_the_first_answer_whatever_happened_since(world: World) -> None:
    engine = await world.engine()
    first = await engine.handle("a", Deposited(5), message_id="m1")
    await engine.handle("a", Deposited(7), message_id="m2")
    await engine.settled("a")
    assert await engine.handle("a", Deposited(5), message_id="m1") == first
    assert await engine.load("a") == Account("a", 12, 2, 2)
    successor = await world.engine()
    assert await successor.handle("a", Deposited(5), message_id="m1") == first


@pytest.mark.parametrize(("key", "amount"), [("a", 6), ("b", 5)])
async def test_a_message_id_used_for_another_request_is_refused(world: World, key: str, amount: int) -> None:
    engine = await world.engine()
    await engine.handle("a", Deposited(5), message_id="m")
    with pytest.raises(IdempotencyConflictError, match="m was used"):
        await engine.handle(key, Deposited(amount), message_id="m")
    assert await engine.keys() == ["a"]


async def test_the_request_decides_what_is_the_same_where_chance_is_in_the_event(world: World) -> None:
    engine = await world.engine()
    assert await engine.answered("a", "m", "pay in") is None
    first = await engine.handle("a", Deposited(5), message_id="m", request="pay in")
    assert await engine.handle("a", Deposited(6), message_id="m", request="pay in") == first
    assert await engine.answered("a", "m", "pay in") == first
    with pytest.raises(IdempotencyConflictError):
        await engine.answered("a", "m", "pay out")


@pytest.mark.parametrize("message_id", ["", "x" * 256, "effect/1"])
async def test_message_ids_that_could_clash_with_our_own_are_refused(world: World, message_id: str) -> None:
    with pytest.raises(InvalidMessageIdError):
        await (await world.engine()).handle("a", Deposited(5), message_id=message_id)


async def test_what_the_rules_refuse_changes_nothing_and_leaves_the_message_id_free(world: World) -> None:
    engine = await world.engine()
    with pytest.raises(InvalidInputError):
        await engine.handle("a", Deposited(0), message_id="m")
    assert not await engine.exists("a")
    assert (await engine.handle("a", Deposited(1), message_id="m")).balance_sat == 1


async def test_an_answer_of_none_is_remembered_like_any_other() -> None:
    class Closed(Event, frozen=True):
        pass

    def close_once(state: int, _: Event) -> Step[int]:
        if state == 1:
            raise IllegalTransitionError("closed", "Closed")
        return Step(1)

    nothing: Schema[None] = Schema("nothing", None)
    rules = Rules(
        Schema("door", int), RULES.command, RULES.event, lambda _: 0, close_once, nothing, lambda *_: None
    )
    store, clock = await MemoryStateStores().activate("door/main"), ManualClock()
    engine = DurableEngine(
        store=store, rules=rules, perform=World().perform, clock=clock, randomness=Chance()
    )
    answers = [await engine.handle("d", Closed(), message_id="m") for _ in range(2)]  # type: ignore[func-returns-value]
    assert answers == [None, None]


async def test_replies_older_than_a_week_are_forgotten_at_the_next_activation(world: World) -> None:
    engine = await world.engine()
    await engine.handle("a", Deposited(5), message_id="m")
    await engine.close()
    await world.clock.advance(7 * 24 * 3600 + 1)
    successor = await world.engine()
    await successor.resume()
    await quiet()
    assert await successor.answered("a", "m", Deposited(5)) is None
    await successor.close()


async def test_replies_older_than_a_week_are_forgotten_by_one_that_runs_on_for_weeks(world: World) -> None:
    engine = await world.engine()
    await engine.resume()
    await engine.handle("a", Deposited(5), message_id="m")
    await world.clock.advance(7 * 24 * 3600 + 1)
    await engine.handle("a", Deposited(6), message_id="m2")
    await quiet()
    assert await engine.answered("a", "m", Deposited(5)) is None
    assert await engine.answered("a", "m2", Deposited(6)) is not None
    await engine.close()


# -- concurrency -------------------------------------------------------------------------------------


async def test_a_hundred_calls_at_once_on_one_key_lose_nothing(world: World) -> None:
    engine = await world.engine()
    calls = [engine.handle("a", Deposited(1), message_id=f"m{n}") for n in range(100)]
    balances = {account.balance_sat for account in await asyncio.gather(*calls)}
    assert balances == set(range(1, 101))
    await engine.settled("a")
    assert await engine.load("a") == Account("a", 100, 100, 100)
    assert len(world.receipts) == 100


async def test_of_one_message_sent_a_hundred_times_at_once_one_is_applied(world: World) -> None:
    engine = await world.engine()
    answers = await asyncio.gather(*(engine.handle("a", Deposited(3), message_id="m") for _ in range(100)))
    assert set(answers) == {Account("a", 3, 1, 0)}
    await engine.settled("a")
    assert len(world.attempts) == 1


async def test_keys_do_not_wait_for_each_other(world: World) -> None:
    gate = Gate("commit")
    engine = await world.engine(gate)
    slow = asyncio.create_task(engine.handle("a", Deposited(1), message_id="m1"))
    await gate.reached.wait()
    other = asyncio.create_task(engine.handle("b", Deposited(1), message_id="m2"))
    await quiet()
    assert await engine.load("c") == Account("c")
    gate.opened.set()
    assert list(await asyncio.gather(slow, other)) == [Account(key, 1, 1) for key in "ab"]


async def test_a_reader_sees_the_last_commit_and_never_one_under_way(world: World) -> None:
    engine = await world.engine()
    await engine.handle("a", Deposited(1), message_id="m0")
    await engine.settled("a")
    gate = Gate("commit")
    engine = await world.engine(gate)
    call = asyncio.create_task(engine.handle("a", Deposited(2), message_id="m1"))
    await gate.reached.wait()
    assert (await engine.load("a")).balance_sat == 1
    gate.opened.set()
    await call
    assert (await engine.load("a")).balance_sat == 3


async def test_a_caller_that_goes_away_takes_nothing_with_it(world: World) -> None:
    # A cancelled call gave up the key's lock with its commit still on the way: the next call met a
    # conflict, and the command was owed without anybody knowing until the actor started again.
    late = LateCommits()
    engine = await world.engine(late)
    call = asyncio.create_task(engine.handle("a", Deposited(5), message_id="m1"))
    await late.sent.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    second = asyncio.create_task(engine.handle("a", Deposited(6), message_id="m2"))
    await quiet()
    late.land.set()
    assert (await second).balance_sat == 11
    await engine.settled("a")
    assert list(world.receipts.values()) == [5, 6]


# -- owed commands -----------------------------------------------------------------------------------


async def test_commands_of_one_key_are_performed_in_order_and_one_at_a_time(world: World) -> None:
    active = 0

    async def one_at_a_time() -> None:
        nonlocal active
        active += 1
        assert active == 1
        await asyncio.sleep(0)
        active -= 1

    world.before_taking = one_at_a_time
    engine = await world.engine()
    for n in range(1, 21):
        await engine.handle("a", Deposited(n), message_id=f"m{n}")
    await engine.settled("a")
    assert list(world.receipts.values()) == list(range(1, 21))


async def test_one_key_that_cannot_be_served_holds_up_no_other(world: World) -> None:
    world.refusals = [UnavailableError("the witness", "it sleeps")]
    engine = await world.engine()
    await engine.handle("a", Deposited(1), message_id="m1")
    await world.clock.wait_sleepers(1)
    await engine.handle("b", Deposited(2), message_id="m2")
    await engine.settled("b")
    assert (engine.owed_count, list(world.receipts.values())) == (1, [2])
    await engine.close()


async def test_a_command_that_fails_is_tried_again_with_growing_delays_and_counts_once(world: World) -> None:
    world.refusals = [UnavailableError("the witness", "it sleeps"), ValueError("a bug"), OSError("network")]
    engine = await world.engine()
    await engine.handle("a", Deposited(5), message_id="m")
    for number, delay_s in enumerate((0.05, 0.1, 0.2), start=1):
        await world.clock.wait_sleepers(1)
        assert len(world.attempts) == number
        await world.clock.advance(delay_s - 0.001)
        assert len(world.attempts) == number
        await world.clock.advance(0.001)
    await engine.settled("a")
    assert await engine.load("a") == Account("a", 5, 1, 1)
    assert world.attempts == [f"{ACTOR}/1"] * 4
    assert world.receipts == {f"{ACTOR}/1": 5}


async def test_a_command_without_an_outcome_is_settled_alone(world: World) -> None:
    async def nothing_came_of_it(key: str, command: Command, effect_id: str) -> None:
        world.attempts.append(effect_id)

    store = await world.stores.activate(ACTOR)
    engine = DurableEngine(
        store=FaultyStore(store, losing_the_answer("settle")), rules=RULES, perform=nothing_came_of_it,
        clock=world.clock, randomness=Chance(),
    )  # fmt: skip
    await engine.handle("a", Deposited(5), message_id="m")
    await world.clock.wait_sleepers(1)
    await world.clock.advance(1.0)
    await engine.settled("a")
    assert await store.owed() == []
    assert await engine.load("a") == Account("a", 5, 1, 0)


async def test_what_a_dead_predecessor_owed_is_performed_by_resume(world: World) -> None:
    world.refusals = [UnavailableError("the witness", "it sleeps")]
    dead = await world.engine()
    await dead.handle("a", Deposited(5), message_id="m")
    await world.clock.wait_sleepers(1)
    engine = await world.engine()
    await engine.resume()
    await engine.settled("a")
    assert await engine.load("a") == Account("a", 5, 1, 1)
    await world.clock.advance(60.0)  # the predecessor wakes, and is told that its time is over
    assert len(world.receipts) == 1
    assert (await engine.load("a")).receipts == 1
    await engine.close()


async def test_settled_returns_at_once_for_a_key_that_owes_nothing(world: World) -> None:
    await (await world.engine()).settled("never used")


# -- many states -------------------------------------------------------------------------------------


async def test_a_state_that_left_the_cache_is_read_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anya_actors.services.durable.CACHED_STATES", 2)
    engine = await world.engine()
    for round_, key in itertools.product(range(3), "abcd"):
        await engine.handle(key, Deposited(1), message_id=f"{key}{round_}")
    assert [(await engine.load(key)).balance_sat for key in "abcd"] == [3, 3, 3, 3]
    assert await engine.keys() == ["a", "b", "c", "d"]
    assert await engine.keys("b") == ["b"]


def test_an_account_reads_back_as_written() -> None:
    account = Account("a", 1, 2, 3)
    assert RULES.state.decode(RULES.state.encode(account)) == account
    assert msgspec.structs.astuple(account) == ("a", 1, 2, 3)

"""What every actor's shell does, without the runtime around it."""

from __future__ import annotations

import asyncio
import os
import pickle
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from anya_actors.actors.shell import ActorFaultError, DurableActor, NotServingError, served
from anya_actors.domain.machine import AnyaError, InvalidInputError, OverloadedError
from anya_actors.ports.actors import Actors
from anya_actors.ports.state_store import FencedError

SECRET = "correct horse battery staple"


class Till:
    """A service that does what a test says."""

    def __init__(self) -> None:
        self.does: Callable[[], Awaitable[object]] | None = None
        self.resumes: Callable[[], Awaitable[object]] | None = None
        self.story: list[str] = []
        self.owed_count = 0

    async def work(self) -> str:
        if self.does is not None:
            await self.does()
        return "done"

    async def resume(self) -> None:
        self.story.append("resume")
        if self.resumes is not None:
            await self.resumes()

    async def check_health(self) -> None:
        if self.does is not None:
            await self.does()

    async def close(self) -> None:
        self.story.append("close")


class TillActor(DurableActor[Till]):
    """Its shell."""

    @served
    async def work(self, answer: str = "done") -> str:
        """Work."""
        await self.service.work()
        return answer


class Builder:
    """Gives out the service it was given, and counts."""

    def __init__(self, till: Till) -> None:
        self.till = till
        self.story = till.story
        self.failures: list[Exception] = []

    async def prepare(self) -> None:
        self.story.append("prepare")

    async def build(self, name: str, actors: Actors) -> tuple[Any, int]:
        self.story.append("build")
        if self.failures:
            raise self.failures.pop()
        return self.till, 7


def connect() -> Any:
    return None


@pytest.fixture
def till() -> Till:
    return Till()


@pytest.fixture
def builder(till: Till) -> Builder:
    return Builder(till)


@pytest.fixture
async def actor(builder: Builder) -> TillActor:
    made = TillActor("till/main", builder, connect, mailbox_limit=2)
    await made.activate()
    return made


async def test_what_was_prepared_before_it_had_a_name_is_not_prepared_again(builder: Builder) -> None:
    await TillActor("till/main", builder, connect, prepared=True).activate()
    assert builder.story == ["build", "resume"]


async def test_whoever_waits_for_an_activation_goes_on_when_it_is_over(builder: Builder) -> None:
    made = TillActor("till/main", builder, connect)
    waiting = asyncio.create_task(made.wait_activated())
    await asyncio.sleep(0)
    assert not waiting.done()
    await made.activate()
    await waiting
    assert await made.work() == "done"


async def test_whoever_waits_for_an_activation_is_told_why_it_failed_until_one_succeeds(
    builder: Builder,
) -> None:
    builder.failures = [InvalidInputError("store", "it is taken")]
    made = TillActor("till/main", builder, connect)
    with pytest.raises(InvalidInputError):
        await made.activate()
    with pytest.raises(InvalidInputError, match="it is taken"):
        await made.wait_activated()
    await made.activate()
    await made.wait_activated()


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The exit codes of this process, had it been allowed to go; no time need pass for it."""
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setattr(
        asyncio.BaseEventLoop, "call_later", lambda loop, _, call, *args: loop.call_soon(call, *args)
    )
    return codes


def raising(error: BaseException) -> Callable[[], Awaitable[object]]:
    async def fail() -> object:
        raise error

    return fail


# -- activation -------------------------------------------------------------------------------------


async def test_an_actor_that_is_not_activated_serves_nothing(builder: Builder) -> None:
    actor = TillActor("till/main", builder, connect)
    assert actor.epoch is None
    for refused in (actor.work(), actor.check_health()):
        with pytest.raises(NotServingError, match="till/main"):
            await refused


async def test_activation_prepares_builds_and_resumes_once(builder: Builder) -> None:
    actor = TillActor("till/main", builder, connect)
    await actor.prepare()
    assert builder.story == ["prepare"]
    assert await asyncio.gather(*(actor.activate() for _ in range(3))) == [7, 7, 7]
    await actor.prepare()
    assert builder.story == ["prepare", "build", "resume"]
    assert (actor.epoch, await actor.work()) == (7, "done")


async def test_nothing_is_served_before_what_was_owed_is_taken_up(builder: Builder, till: Till) -> None:
    go = asyncio.Event()
    till.resumes = go.wait
    actor = TillActor("till/main", builder, connect)
    activating = asyncio.create_task(actor.activate())
    await asyncio.sleep(0)
    with pytest.raises(NotServingError):
        await actor.work()
    go.set()
    await activating
    assert await actor.work() == "done"


async def test_an_activation_that_fails_lets_go_of_the_store_and_may_be_repeated(
    builder: Builder, till: Till
) -> None:
    till.resumes = raising(InvalidInputError("the journal", "it is torn"))
    actor = TillActor("till/main", builder, connect)
    with pytest.raises(InvalidInputError):
        await actor.activate()
    assert (till.story[-1], actor.epoch) == ("close", None)
    till.resumes = None
    assert await actor.activate() == 7


async def test_a_fault_while_activating_tells_nothing_of_its_cause(builder: Builder) -> None:
    # It went to the event bus and to the caller as it was.
    builder.failures = [ValueError(SECRET)]
    actor = TillActor("till/main", builder, connect)
    with pytest.raises(ActorFaultError) as told:
        await actor.activate()
    assert told.value.args[:2] == ("till/main", "activate")
    assert SECRET not in str(told.value)


# -- mailbox ----------------------------------------------------------------------------------------


async def test_more_calls_than_the_mailbox_holds_are_refused_until_one_ends(
    actor: TillActor, till: Till
) -> None:
    go = asyncio.Event()
    till.does = go.wait
    calls = [asyncio.create_task(actor.work()) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError) as told:
        await actor.work()
    assert told.value.args[:2] == ("till/main", 2)
    go.set()
    await asyncio.gather(*calls)
    assert await actor.work() == "done"


@pytest.mark.parametrize("error", [InvalidInputError("a", "b"), ValueError(), asyncio.CancelledError()])
async def test_a_call_that_fails_makes_room_like_one_that_does_not(
    actor: TillActor, till: Till, error: BaseException
) -> None:
    till.does = raising(error)
    for _ in range(5):
        with pytest.raises((AnyaError, asyncio.CancelledError)):
            await actor.work()
    till.does = None
    assert (await actor.check_health())[1] == 0
    assert await actor.work() == "done"


async def test_arguments_and_answers_pass_through_and_names_stay(actor: TillActor) -> None:
    assert await actor.work("a") == await actor.work(answer="a") == "a"
    assert (TillActor.work.__name__, TillActor.work.__doc__) == ("work", "Work.")


# -- errors -----------------------------------------------------------------------------------------


async def test_an_unknown_error_leaves_as_a_fault_that_tells_nothing(
    actor: TillActor, till: Till, capsys: pytest.CaptureFixture[str]
) -> None:
    till.does = raising(ValueError(SECRET))
    with pytest.raises(ActorFaultError) as told:
        await actor.work()
    fault = told.value
    assert fault.args[:2] == ("till/main", "work")
    assert fault.__cause__ is None
    assert fault.__suppress_context__
    assert SECRET not in str(fault)
    log = capsys.readouterr().out
    assert fault.args[2] in log
    assert "test_shell.py" in log
    assert "ValueError" in log


async def test_the_log_of_a_fault_holds_neither_its_message_nor_any_variable(
    actor: TillActor, till: Till, capsys: pytest.CaptureFixture[str]
) -> None:
    # structlog prints the local variables of every frame with a traceback: passphrases among them.
    async def unseal(passphrase: str) -> None:
        try:
            raise ValueError(passphrase)
        except ValueError as error:
            raise RuntimeError(f"not {passphrase}") from error

    till.does = lambda: unseal("".join(reversed(SECRET)))
    with pytest.raises(ActorFaultError):
        await actor.work()
    log = capsys.readouterr().out
    assert "".join(reversed(SECRET)) not in log
    assert log.index("RuntimeError") < log.index("caused by") < log.index("ValueError")


async def test_our_own_error_passes_without_what_it_came_from(actor: TillActor, till: Till) -> None:
    async def wrap() -> None:
        try:
            raise ValueError(SECRET)
        except ValueError as cause:
            raise InvalidInputError("amount", "too much") from cause

    till.does = wrap
    with pytest.raises(InvalidInputError) as told:
        await actor.work()
    assert told.value.args == ("amount", "too much")
    assert told.value.__cause__ is None
    assert told.value.__context__ is None


@pytest.mark.parametrize("error", [NotServingError("a/b"), ActorFaultError("a/b", "m", "id")])
def test_the_shells_errors_travel(error: AnyaError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.args, str(again)) == (type(error), error.args, str(error))


async def test_a_superseded_actor_answers_serves_no_more_and_ends(
    actor: TillActor, till: Till, exits: list[int]
) -> None:
    till.does = raising(FencedError("till/main", 7))
    with pytest.raises(FencedError):
        await actor.work()
    with pytest.raises(NotServingError):  # while it waits for its end it served on
        await actor.work()
    await asyncio.sleep(0)
    assert exits == [1]


async def test_a_superseded_actor_ends_when_its_health_shows_it(
    actor: TillActor, till: Till, exits: list[int]
) -> None:
    till.does = raising(FencedError("till/main", 7))
    with pytest.raises(FencedError):
        await actor.check_health()
    await asyncio.sleep(0)
    assert exits == [1]


# -- health and the end -----------------------------------------------------------------------------


async def test_health_tells_how_long_nobody_called_and_how_many_calls_there_are(
    actor: TillActor, till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("anya_actors.actors.shell.time.monotonic", lambda: now)
    go = asyncio.Event()
    till.does = go.wait
    call = asyncio.create_task(actor.work())
    await asyncio.sleep(0)
    now = 1400.0
    till.does = None
    assert await actor.check_health() == (400.0, 1)
    go.set()
    await call
    # A call that took long was idle time: the actor was passivated as soon as it had answered.
    assert await actor.check_health() == (0.0, 0)
    now = 1405.0
    assert await actor.check_health() == (5.0, 0)


async def test_an_actor_that_owes_effects_is_not_idle(actor: TillActor, till: Till) -> None:
    # It was passivated, and the payment it owed waited until somebody happened to call it.
    till.owed_count = 3
    assert (await actor.check_health())[1] == 3


async def test_a_fault_in_the_health_check_tells_nothing_of_its_cause(actor: TillActor, till: Till) -> None:
    till.does = raising(ValueError(SECRET))
    with pytest.raises(ActorFaultError) as told:
        await actor.check_health()
    assert SECRET not in str(told.value)


async def test_drain_refuses_new_calls_finishes_those_in_flight_and_closes(
    actor: TillActor, till: Till
) -> None:
    go = asyncio.Event()
    till.does = go.wait
    call = asyncio.create_task(actor.work())
    await asyncio.sleep(0)
    draining = asyncio.create_task(actor.drain())
    await asyncio.sleep(0)
    with pytest.raises(NotServingError):
        await actor.work()
    assert "close" not in till.story
    go.set()
    await draining
    assert (await call, till.story[-1]) == ("done", "close")


async def test_draining_what_never_served_is_no_error(builder: Builder) -> None:
    await TillActor("till/main", builder, connect).drain()
    assert builder.story == []

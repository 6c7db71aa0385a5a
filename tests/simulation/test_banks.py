"""Banks on machines that break: every promise holds, and every planted bug is found."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import structlog

from anya_actors.domain.machine import Command, Event
from anya_actors.ports.state_store import Applied, Commit, Owed, StateStore
from anya_actors.testing.simulation.bank import Account, BankService, SendMoney
from anya_actors.testing.simulation.campaign import run_seeds
from anya_actors.testing.simulation.remote import RemoteStore
from anya_actors.testing.simulation.scenario import simulate
from anya_actors.testing.simulation.store import JournalStore
from anya_actors.testing.simulation.system import Defects

SEEDS = int(os.environ.get("ANYA_SIMULATION_SEEDS", "2000"))
# A planted bug shows within this many seeds; those of the campaign, so that both see the same runs.
SEEDS_TO_FIND_A_BUG = 150


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_promise_holds_over_thousands_of_seeds() -> None:
    broken: dict[int, tuple[str, ...]] = {}
    total = run_seeds(0, SEEDS, os.cpu_count() or 1, broken.__setitem__)
    assert not broken, "replay with: python -m anya_actors.testing.simulation --seed N --trace"
    assert total.seeds == SEEDS
    # The runs did something: most calls were answered, and every run but a few had crashes.
    assert total.acknowledged > 8 * SEEDS
    assert total.crashes > 2 * SEEDS


@pytest.mark.parametrize("seed", [1, 2, 17])
def test_a_seed_replays_exactly_here_and_in_another_process(seed: int) -> None:
    first, again = simulate(seed, keep_trace=True), simulate(seed, keep_trace=True)
    assert first == again
    command = [sys.executable, "-m", "anya_actors.testing.simulation", "--seed", str(seed)]
    # Another seed for the hashes of strings: no order may hang on the order of a set.
    elsewhere = subprocess.run(
        command, env={**os.environ, "PYTHONHASHSEED": str(seed)}, capture_output=True, text=True, check=True
    )
    assert first.fingerprint in elsewhere.stdout


def test_two_seeds_are_two_runs() -> None:
    assert simulate(1).fingerprint != simulate(2).fingerprint


def first_problem(defects: Defects) -> str:
    """What the first seed that finds the planted bug says; empty if none does."""
    for seed in range(SEEDS_TO_FIND_A_BUG):
        outcome = simulate(seed, defects)
        if outcome.problems:
            return outcome.problems[0]
    return ""


def test_a_disk_that_acknowledges_before_it_has_synced_is_found() -> None:
    assert first_problem(Defects(lying_disk=True))


def test_a_store_that_does_not_fence_is_found() -> None:
    assert first_problem(Defects(fences=False))


def test_a_supervisor_that_does_not_see_a_hung_actor_is_found() -> None:
    assert "does not end" in first_problem(Defects(watches_health=False))


class Wrapped:
    """A store that does as ``inner`` does, but for what a subclass breaks."""

    def __init__(self, inner: StateStore) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


class ForgetsDebts(Wrapped):
    """A successor that does not learn what its predecessor owed."""

    async def owed(self) -> list[Owed]:
        return []


class ForgetsMessages(Wrapped):
    """A store that takes a repeated message for a fresh one."""

    _number = 0

    async def applied(self, message_id: str) -> Applied | None:
        return None

    async def commit(self, commit: Commit) -> tuple[int, ...]:
        ForgetsMessages._number += 1
        fresh = Commit(
            **{name: getattr(commit, name) for name in Commit.__slots__ if name != "message_id"},
            message_id=f"{commit.message_id} {self._number}",
        )
        return await self._inner.commit(fresh)


class TearsCommits(Wrapped):
    """A store that writes the state and the outbox one after the other."""

    async def commit(self, commit: Commit) -> tuple[int, ...]:
        parts = {name: getattr(commit, name) for name in Commit.__slots__}
        if not commit.commands:
            return await self._inner.commit(commit)
        await self._inner.commit(Commit(**{**parts, "commands": ()}))
        outbox = {"expected_version": commit.expected_version + 1, "events": (), "settles": ()}
        return await self._inner.commit(Commit(**{**parts, **outbox, "message_id": f"{commit.message_id}+"}))


@pytest.mark.parametrize("broken", [ForgetsDebts, ForgetsMessages, TearsCommits])
def test_a_store_that_breaks_a_promise_is_found(broken: type[Wrapped]) -> None:
    def wrap(store: StateStore) -> StateStore:
        assert isinstance(store, JournalStore | RemoteStore)
        wrapped: StateStore = broken(store)  # type: ignore[assignment]  # __getattr__ has the rest
        return wrapped

    assert first_problem(Defects(store=wrap))


class ActsBeforePersisting(BankService):
    """Sends the money first and writes the debit down afterwards."""

    async def transfer(
        self, account: str, to_bank: str, to_account: str, amount_sat: int, *, message_id: str
    ) -> Account:
        if (await self.engine.load(account)).balance_sat >= amount_sat:
            await self._perform(account, SendMoney(message_id, to_bank, to_account, amount_sat), "early")
        return await super().transfer(account, to_bank, to_account, amount_sat, message_id=message_id)

    async def _perform(self, key: str, command: Command, effect_id: str) -> Event | None:
        stable = f"money {command.transfer}" if isinstance(command, SendMoney) else effect_id
        return await super()._perform(key, command, stable)


def test_a_service_that_acts_before_it_persists_is_found() -> None:
    assert first_problem(Defects(service=ActsBeforePersisting))

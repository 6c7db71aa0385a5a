"""Hosts that wait: one for any actor, and prepared ones of the kinds that want them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from anya_actors.coordinator.kinds import Kind
from anya_actors.coordinator.processes import StartFailedError
from anya_actors.coordinator.spares import AFTER_LAUNCH_S, AFTER_WARM_LAUNCH_S, ANY, FIRST_AFTER_S, Spares
from anya_actors.domain.supervision.backoff import Backoff
from anya_actors.testing.clock import ManualClock
from tests.unit.coordinator.platform import Chance, kind, quiet

WARM = replace(kind("v"), warm=2)
COLD = kind("w")
BACKOFF = Backoff(first_s=1.0, longest_s=8.0, jitter=0.0)


class Host:
    """A host in memory."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = asyncio.Event()

    async def wait_death(self) -> None:
        await self.dead.wait()

    def kill(self) -> None:
        self.dead.set()


class Workshop:
    """Makes hosts, at once or when it is let; ``made`` names what was begun."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.made: list[str] = []
        self.hosts: list[Host] = []
        self.broken_off = 0
        self.failures = 0
        self.open = asyncio.Event()
        self.open.set()
        self.spares: Spares[Host] = Spares(self.make, [WARM, COLD], self.clock, Chance(), BACKOFF)
        self.spares.fill()

    async def make(self, kind: Kind | None) -> Host:
        name = ANY if kind is None else kind.name
        self.made.append(name)
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.broken_off += 1
            raise
        if self.failures:
            self.failures -= 1
            raise StartFailedError(name, "there is no memory")
        self.hosts.append(Host(name))
        return self.hosts[-1]

    async def filled(self) -> Workshop:
        await self.clock.advance(FIRST_AFTER_S)
        return self

    def take(self, kind: Kind) -> str | None:
        host = self.spares.take(kind, lambda _: True)
        return None if host is None else host.name

    @property
    def living(self) -> list[str]:
        return sorted(host.name for host in self.hosts if not host.dead.is_set())


async def test_nothing_is_made_in_the_middle_of_a_boot_then_the_one_for_any_actor_comes_first() -> None:
    shop = Workshop()
    await shop.clock.advance(FIRST_AFTER_S - 0.1)
    assert shop.made == []
    await shop.clock.advance(0.1)
    assert shop.made == [ANY, "v", "v"]
    assert shop.spares.ready() == {ANY: 1, "v": 2}


async def test_one_is_made_at_a_time() -> None:
    shop = Workshop()
    shop.open.clear()
    await shop.filled()
    assert shop.made == [ANY]


async def test_an_actor_takes_a_prepared_host_of_its_kind_then_the_one_for_any_then_none() -> None:
    shop = await Workshop().filled()
    assert [shop.take(WARM) for _ in range(4)] == ["v", "v", ANY, None]


async def test_a_prepared_host_is_not_given_to_another_kind() -> None:
    shop = await Workshop().filled()
    assert [shop.take(COLD), shop.take(COLD)] == [ANY, None]
    assert shop.spares.ready() == {ANY: 0, "v": 2}


async def test_a_host_that_does_not_fit_stays() -> None:
    # One on another node is of no use to an actor whose files are here.
    shop = await Workshop().filled()
    assert shop.spares.take(COLD, lambda _: False) is None
    assert shop.spares.ready() == {ANY: 1, "v": 2}


async def test_what_a_warm_kind_took_is_made_again_soon_and_what_a_recovery_took_later() -> None:
    shop = await Workshop().filled()
    shop.take(WARM)
    await shop.clock.advance(AFTER_WARM_LAUNCH_S)
    assert shop.spares.ready() == {ANY: 1, "v": 2}
    shop.take(COLD)
    await shop.clock.advance(AFTER_LAUNCH_S - 0.1)
    assert shop.spares.ready() == {ANY: 0, "v": 2}
    await shop.clock.advance(0.1)
    assert shop.spares.ready() == {ANY: 1, "v": 2}


async def test_a_recovery_breaks_off_what_is_being_made_an_opening_does_not() -> None:
    shop = await Workshop().filled()
    shop.open.clear()
    shop.take(WARM)
    await shop.clock.advance(AFTER_WARM_LAUNCH_S)
    shop.take(WARM)
    await quiet()
    assert (shop.made[3:], shop.broken_off) == (["v"], 0)
    shop.take(COLD)
    await quiet()
    assert shop.broken_off == 1
    shop.open.set()
    await shop.clock.advance(AFTER_LAUNCH_S)
    assert shop.spares.ready() == {ANY: 1, "v": 2}


async def test_one_that_cannot_be_made_is_tried_again_with_growing_delays() -> None:
    shop = Workshop()
    shop.failures = 3
    await shop.filled()
    tries = [len(shop.made)]
    for delay_s in (1.0, 2.0, 4.0):
        await shop.clock.advance(delay_s - 0.1)
        tries.append(len(shop.made))
        await shop.clock.advance(0.1)
    assert tries == [1, 1, 2, 3]
    assert shop.spares.ready() == {ANY: 1, "v": 2}


async def test_one_that_dies_is_replaced_and_never_given_away() -> None:
    shop = await Workshop().filled()
    for host in shop.hosts:
        host.dead.set()
    await quiet()
    assert (shop.take(WARM), shop.spares.ready()) == (None, {ANY: 0, "v": 0})
    await shop.clock.advance(AFTER_LAUNCH_S)
    assert shop.spares.ready() == {ANY: 1, "v": 2}


async def test_one_that_dies_as_soon_as_it_is_up_is_not_made_all_the_time() -> None:
    shop = await Workshop().filled()
    for _ in range(5):
        shop.hosts[0].dead.set()
        await shop.clock.advance(AFTER_LAUNCH_S)
        shop.hosts = shop.hosts[-1:]
    assert len(shop.made) == 3 + 5


async def test_one_that_was_taken_is_not_replaced_once_more_when_it_dies() -> None:
    shop = await Workshop().filled()
    host = shop.spares.take(WARM, lambda _: True)
    assert host is not None
    await shop.clock.advance(AFTER_WARM_LAUNCH_S)
    host.dead.set()
    await shop.clock.advance(60.0)
    assert len(shop.made) == 4


async def test_closing_ends_all_and_what_is_being_made() -> None:
    shop = await Workshop().filled()
    shop.open.clear()
    shop.take(WARM)
    await shop.clock.advance(AFTER_WARM_LAUNCH_S)
    await shop.spares.close()
    assert (shop.living, shop.broken_off) == (["v"], 1)  # the one that was taken
    assert shop.take(WARM) is None
    await shop.clock.advance(60.0)
    assert shop.living == ["v"]

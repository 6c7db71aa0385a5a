"""Whoever calls an actor of a warm kind is told of its process before it serves."""

from __future__ import annotations

import asyncio

import pytest

from anya_actors.domain.machine import UnavailableError
from anya_actors.domain.supervision.tree import Status
from tests.unit.coordinator.platform import Platform, quiet, soon


async def test_a_warm_kinds_process_is_given_while_it_activates_to_all_who_ask() -> None:
    platform = Platform()
    supervisor = await platform.boot()
    first = asyncio.create_task(platform.locate("p/x"))
    hold = platform.processes.hold("p/x", "activate")
    assert (await soon(first)).label == "p/x#1"
    await soon(hold.reached.wait())
    assert await soon(platform.locate("p/x")) is first.result()
    assert supervisor.tree.child("p/x").status is Status.STARTING
    platform.processes.let_go("p/x", "activate")
    await quiet()
    assert await soon(platform.locate("p/x")) is platform.processes.serving("p/x") is first.result()


async def test_no_process_is_given_that_the_journal_does_not_know() -> None:
    platform = Platform()
    await platform.boot()
    hold = platform.processes.hold("p/x", "launch")
    asking = asyncio.create_task(platform.locate("p/x"))
    await soon(hold.reached.wait())
    assert not asking.done()
    assert await platform.store.keys("child/") == ["child/p/x"]
    platform.processes.let_go("p/x", "launch")
    assert (await soon(asking)).label == "p/x#1"


async def test_any_other_kinds_process_is_given_only_when_it_serves() -> None:
    platform = Platform()
    await platform.boot()
    hold = platform.processes.hold("v/x", "activate")
    asking = asyncio.create_task(platform.locate("v/x"))
    await soon(hold.reached.wait())
    await quiet()
    assert not asking.done()
    platform.processes.let_go("v/x", "activate")
    assert (await soon(asking)).serves


async def test_a_process_that_could_not_activate_is_given_to_nobody_any_more() -> None:
    platform = Platform()
    await platform.boot()
    platform.processes.fail("p/x", "activate", UnavailableError("the HSM", "it is sealed"))
    assert (await soon(platform.locate("p/x"))).label == "p/x#1"
    await quiet()
    assert platform.labels() == []
    assert (await soon(platform.locate("p/x"))).label == "p/x#2"


@pytest.mark.parametrize("how", ["stop", "remove"])
async def test_a_process_that_is_stopped_while_it_activates_is_given_to_nobody_any_more(how: str) -> None:
    platform = Platform()
    supervisor = await platform.boot()
    hold = platform.processes.hold("p/x", "activate")
    await soon(platform.locate("p/x"))
    await soon(hold.reached.wait())
    if how == "stop":
        await soon(supervisor.stop())
        with pytest.raises(UnavailableError):
            await platform.locate("p/x")
    else:
        supervisor.remove("p/x")
        await quiet()
        assert (await soon(platform.locate("p/x"))).label == "p/x#2"

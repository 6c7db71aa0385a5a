"""The ways to one actor: a line once it is worth it, in order, and Ray's wherever there is none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import ray.exceptions

from anya_actors.actors.line import LineBrokenError, Listener
from anya_actors.coordinator.route import CALLS_BEFORE_A_LINE, Route


class Method:
    """What stands where Ray has a handle's method."""

    def __init__(self, work: Callable[..., Awaitable[Any]]) -> None:
        self._work = work

    def remote(self, *args: Any) -> Any:
        return self._work(*args)


class Host:
    """A host that both ways lead to, and that tells which one was taken."""

    def __init__(self) -> None:
        self.listener = Listener(self._by_line)
        self.invoke = Method(self._by_ray)
        self.line = Method(self._line)
        self.heard: list[bytes] = []
        self.asked_for_line = 0
        self.asked = asyncio.Event()
        self.has_line = True
        self.gate = asyncio.Event()
        self.gate.set()

    async def _by_ray(self, call: bytes) -> bytes:
        self.heard.append(call)
        return b"ray"

    async def _by_line(self, call: bytes) -> bytes:
        self.heard.append(call)
        return b"line"

    async def _line(self) -> str:
        self.asked_for_line += 1
        self.asked.set()
        await self.gate.wait()
        if not self.has_line:
            raise ray.exceptions.RayActorError
        return await self.listener.open()


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    host = Host()
    yield host
    host.listener.close()
    await asyncio.sleep(0)


async def settled(route: Route) -> None:
    """Whatever it was looking for is found, or not."""
    if route._seeking is not None:
        await route._seeking


async def test_a_line_is_taken_once_an_actor_was_called_more_than_in_passing(host: Host) -> None:
    route = Route(host)
    for _ in range(CALLS_BEFORE_A_LINE):
        assert await route.call(b"") == b"ray"
    await settled(route)
    assert await route.call(b"") == b"line"
    assert host.asked_for_line == 1
    route.close()


async def test_a_line_that_was_sought_is_there_for_the_first_call(host: Host) -> None:
    route = Route(host)
    await route.seek()
    assert await route.call(b"") == b"line"
    route.close()


async def test_calls_keep_their_order_while_the_way_changes(host: Host) -> None:
    route = Route(host)
    host.gate.clear()
    for number in range(CALLS_BEFORE_A_LINE):
        await route.call(b"early %d" % number)
    await host.asked.wait()
    later = [asyncio.create_task(route.call(b"later %d" % number)) for number in range(20)]
    await asyncio.sleep(0)
    host.gate.set()
    assert set(await asyncio.gather(*later)) == {b"line"}
    assert host.heard[CALLS_BEFORE_A_LINE:] == [b"later %d" % number for number in range(20)]
    route.close()


async def test_where_there_is_no_line_ray_serves_and_nobody_asks_again(host: Host) -> None:
    route = Route(host)
    host.has_line = False
    for _ in range(10):
        assert await route.call(b"") == b"ray"
        await settled(route)
    assert host.asked_for_line == 1


async def test_a_line_that_breaks_tells_so_and_gives_way_to_ray(host: Host) -> None:
    route = Route(host)
    await route.seek()
    assert await route.call(b"") == b"line"
    host.listener.close()
    with pytest.raises(LineBrokenError):
        await route.call(b"")
    assert await route.call(b"") == b"ray"


async def test_a_route_that_is_retired_while_it_looks_for_a_line_opens_none(host: Host) -> None:
    route = Route(host)
    host.gate.clear()
    for _ in range(CALLS_BEFORE_A_LINE):
        await route.call(b"")
    await host.asked.wait()
    route.retire()
    host.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await settled(route)
    assert await route.call(b"") == b"ray"

"""The process before and after it is known which actor it will be."""

from __future__ import annotations

from typing import Any

import pytest

from anya_actors.actors.host import ActorHost
from anya_actors.actors.shell import DurableActor, NotServingError
from anya_actors.domain.machine import UnavailableError
from anya_actors.ports.actors import Actors
from anya_actors.testing.local_actors import LocalActors


class Service:
    """Does nothing."""

    async def resume(self) -> None:
        pass

    async def check_health(self) -> None:
        pass

    async def close(self) -> None:
        pass


class Builder:
    """Counts what it builds; a broken one builds nothing."""

    def __init__(self, broken: bool = False) -> None:
        self.built = 0
        self._broken = broken

    async def prepare(self) -> None:
        pass

    async def build(self, name: str, actors: Actors) -> tuple[Any, int]:
        self.built += 1
        if self._broken:
            raise UnavailableError(name, "broken")
        return Service(), 7


async def _host(builder: Builder, *, begin: bool) -> ActorHost:
    host = ActorHost(lambda: None)
    await host.become("label", "kind/key", DurableActor, builder, LocalActors, 10, begin)
    return host


@pytest.mark.parametrize("begin", [False, True])
async def test_an_actor_is_activated_once_whoever_begins(begin: bool) -> None:
    builder = Builder()
    host = await _host(builder, begin=begin)
    assert await host.activate() == 7
    assert await host.activate() == 7
    assert (builder.built, await host.epoch()) == (1, 7)


async def test_an_activation_that_was_begun_and_failed_is_not_tried_in_secret() -> None:
    builder = Builder(broken=True)
    host = await _host(builder, begin=True)
    with pytest.raises(UnavailableError, match="broken"):
        await host.activate()
    assert builder.built == 1


async def test_a_host_becomes_one_actor_alone() -> None:
    host = await _host(Builder(), begin=False)
    with pytest.raises(NotServingError):
        await host.become("other", "kind/other", DurableActor, Builder(), LocalActors, 10)

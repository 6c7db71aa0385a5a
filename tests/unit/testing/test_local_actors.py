"""`LocalActors` behaves as the platform does, without it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from anya_actors.domain.machine import InvalidInputError, OverloadedError
from anya_actors.ports.actors import CallTimeoutError, UnknownActorError, UnknownMethodError
from anya_actors.testing.local_actors import LocalActors


class Shelf:
    """A service that keeps what it is given."""

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self.resumed = 0
        self.closed = False
        self.gate = asyncio.Event()

    async def resume(self) -> None:
        self.resumed += 1

    async def close(self) -> None:
        self.closed = True

    async def keep(self, thing: Any, *, message_id: str) -> tuple[Any, str]:
        self.kept.append(thing)
        return thing, message_id

    async def all(self) -> list[Any]:
        return self.kept

    async def refuse(self) -> None:
        raise InvalidInputError("thing", "it does not fit")

    async def wait(self) -> None:
        await self.gate.wait()

    def size(self) -> int:
        return len(self.kept)


async def test_a_call_reaches_the_service_with_its_message_id() -> None:
    actors = LocalActors({"shelf/a": Shelf()})
    assert await actors.call("shelf/a", "keep", "book", message_id="m1") == ("book", "m1")


async def test_nothing_is_shared_across_a_call() -> None:
    shelf = Shelf()
    actors = LocalActors({"shelf/a": shelf})
    given = ["book"]
    await actors.call("shelf/a", "keep", given, message_id="m1")
    given.append("torn page")
    (await actors.call("shelf/a", "all")).append("ghost")
    assert shelf.kept == [["book"]]


async def test_an_error_arrives_as_itself() -> None:
    with pytest.raises(InvalidInputError, match="does not fit"):
        await LocalActors({"shelf/a": Shelf()}).call("shelf/a", "refuse")


@pytest.mark.parametrize("method", ["burn", "_hidden", "resume", "close", "check_health", "size", "kept"])
async def test_only_public_coroutine_methods_are_served(method: str) -> None:
    with pytest.raises(UnknownMethodError):
        await LocalActors({"shelf/a": Shelf()}).call("shelf/a", method)


@pytest.mark.parametrize("actor", ["shelf/b", "shelf", "shelf/", "box/a", ""])
async def test_an_actor_that_is_not_there_is_unknown(actor: str) -> None:
    with pytest.raises(UnknownActorError):
        await LocalActors({"shelf/a": Shelf()}, kinds={"shelfs": lambda _: Shelf()}).call(actor, "all")


async def test_the_first_call_activates_an_actor_of_a_kind_once() -> None:
    made: list[Shelf] = []

    async def build(key: str) -> Shelf:
        await asyncio.sleep(0)
        made.append(Shelf())
        return made[-1]

    actors = LocalActors(kinds={"shelf": build})
    await asyncio.gather(*(actors.call("shelf/a", "all") for _ in range(5)))
    assert [shelf.resumed for shelf in made] == [1]
    await actors.close()
    assert made[0].closed


async def test_a_full_mailbox_refuses() -> None:
    shelf = Shelf()
    actors = LocalActors({"shelf/a": shelf}, mailbox_limit=2)
    waiting = [asyncio.ensure_future(actors.call("shelf/a", "wait")) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError):
        await actors.call("shelf/a", "all")
    shelf.gate.set()
    await asyncio.gather(*waiting)
    assert await actors.call("shelf/a", "all") == []


async def test_a_call_that_takes_too_long_ends() -> None:
    with pytest.raises(CallTimeoutError):
        await LocalActors({"shelf/a": Shelf()}).call("shelf/a", "wait", timeout_s=0.001)

"""The client of actors, over handles that need no Ray to run."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import ray.exceptions

from anya_actors.actors.host import packed, unpacked
from anya_actors.actors.line import LineBrokenError
from anya_actors.coordinator.client import MOST_ROUTES, RayActors
from anya_actors.coordinator.route import Route
from anya_actors.ports.actors import COORDINATOR, CallTimeoutError


class Remote:
    """What stands where Ray has a handle's method."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    async def remote(self, *args: Any, **_: Any) -> Any:
        return self._answer(*args)


class Host:
    """An actor that answers with its own name."""

    def __init__(self, name: str) -> None:
        self.invoke = Remote(lambda call: packed(name))
        self.line = Remote(lambda: "")


class Registry:
    """A coordinator that knows every actor, and counts who was looked for."""

    def __init__(self) -> None:
        self.located: list[str] = []
        self.locate = Remote(self._locate)

    def _locate(self, actor: str, timeout_s: float) -> Host:
        self.located.append(actor)
        return Host(actor)


async def test_the_handles_of_thousands_of_sessions_are_not_kept_and_those_in_use_are() -> None:
    actors, registry = RayActors(), Registry()
    actors._routes[COORDINATOR] = Route(registry)
    for number in range(10 * MOST_ROUTES):
        assert await actors.call(f"session/{number}", "ask") == f"session/{number}"
        assert await actors.call("hsm/main", "ask") == "hsm/main"
    assert len(actors._routes) == MOST_ROUTES
    assert registry.located.count("hsm/main") == 1


class Gone:
    """The handle of a coordinator that was stopped for good; its platform has a new one since."""

    def __init__(self) -> None:
        self.system = self.locate = self

    async def remote(self, *_: Any) -> Any:
        raise ray.exceptions.RayActorError


@pytest.mark.parametrize("actor", [COORDINATOR, "hsm/main"])
async def test_a_coordinator_that_is_gone_for_good_is_not_asked_for_ever(actor: str) -> None:
    actors = RayActors()
    actors._routes[COORDINATOR] = Route(Gone())
    with pytest.raises(CallTimeoutError):
        await actors.call(actor, "system", timeout_s=0.02)
    assert COORDINATOR not in actors._routes


async def test_an_actor_that_does_not_answer_in_time_is_looked_for_anew() -> None:
    actors, registry = RayActors(), Registry()
    actors._routes[COORDINATOR] = Route(registry)
    await actors.call("hsm/main", "ask")
    actors._routes["hsm/main"].handle.invoke.remote = lambda *_: asyncio.Event().wait()
    with pytest.raises(CallTimeoutError):
        await actors.call("hsm/main", "ask", timeout_s=0.02)
    assert await actors.call("hsm/main", "ask") == "hsm/main"
    assert registry.located == ["hsm/main"] * 2


class Dying:
    """An actor that breaks its line at the second call, and lives on elsewhere."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.invoke = Remote(self._invoke)
        self.line = Remote(lambda: "")

    def _invoke(self, call: bytes) -> bytes:
        self.heard.append(unpacked(call))
        if len(self.heard) == 2:
            raise LineBrokenError
        return packed("done")


async def test_a_call_whose_line_broke_is_made_again_under_its_id() -> None:
    actors, registry, actor = RayActors(), Registry(), Dying()
    registry.locate = Remote(lambda *_: actor)
    actors._routes[COORDINATOR] = Route(registry)
    for message_id in ("first", "second"):
        assert await actors.call("ledger/a", "deposit", 5, message_id=message_id) == "done"
    calls = [("deposit", (5,), {"message_id": message_id}) for message_id in ("first", "second", "second")]
    assert actor.heard == calls

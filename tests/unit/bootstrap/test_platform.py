"""What the launcher learns of a platform that runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from anya_actors.bootstrap.platform import PlatformGaveUpError, RayPlatform
from anya_actors.config import load_settings
from anya_actors.ports.actors import CallTimeoutError


class LateCoordinator:
    """A coordinator that was killed, and is back after a call of its launcher has timed out."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def call(self, actor: str, method: str, *_: Any, timeout_s: float = 30.0) -> Any:
        self.calls.append(method)
        if len(self.calls) < 3:
            raise CallTimeoutError(actor, method, timeout_s)
        return SimpleNamespace(phase="gave_up", tree=SimpleNamespace(name="root"))


async def test_a_platform_is_not_stopped_because_its_coordinator_comes_back_late() -> None:
    # On a machine with a load of 20 a killed coordinator took longer than the launcher's call.
    coordinator: Any = LateCoordinator()
    platform = RayPlatform(load_settings(environ={}), None, coordinator)
    assert isinstance(await platform.wait_failed(), PlatformGaveUpError)
    assert coordinator.calls == ["system"] * 3

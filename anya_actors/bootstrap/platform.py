"""A whole platform in the Ray that this process is connected to: started, watched, stopped."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from functools import partial
from typing import Any

from anya_actors.bootstrap.addresses import Addresses
from anya_actors.bootstrap.builders import NODE
from anya_actors.bootstrap.door import build_api, listen_of
from anya_actors.bootstrap.plan import plan_of
from anya_actors.config import Settings
from anya_actors.coordinator.client import RayActors
from anya_actors.coordinator.launch import launch_coordinator, stop_coordinator
from anya_actors.coordinator.root import Plan
from anya_actors.domain.machine import AnyaError, UnavailableError
from anya_actors.ports.actors import COORDINATOR, HSM, CallTimeoutError
from anya_actors.serve.door import deploy, undeploy

Report = Callable[[str, str], None]
"""Told of each stage: its stable name, and a sentence for a person."""

_LOOK_S = 10.0


class PlatformGaveUpError(AnyaError):
    """The root supervisor accepted no more restarts and stopped everything."""

    code = "gave-up"
    message = "the platform has stopped itself: {} had more restarts than it accepts"
    remedy = "The log tells what kept failing; supervision.max_restarts is the limit."

    def __init__(self, supervisor: str) -> None:
        super().__init__(supervisor)


class RayPlatform:
    """A platform that serves."""

    def __init__(self, settings: Settings, coordinator: Any, actors: RayActors) -> None:
        self._settings = settings
        self._coordinator = coordinator
        self.actors = actors
        self.addresses = Addresses(
            api=_url(settings, settings.api.port), transit=_url(settings, settings.api.transit_port)
        )

    async def issue_token(self, subject: str, scopes: tuple[str, ...], ttl_s: int) -> str:
        """An access token of the platform's HSM."""
        message_id = secrets.token_hex(16)
        token = await self.actors.call(HSM, "issue_token", subject, scopes, ttl_s, message_id=message_id)
        return str(token)

    async def unseal(self) -> None:
        """Have the HSM read its passphrase, if it was sealed."""
        await self.actors.call(HSM, "unseal", "admin", message_id=secrets.token_hex(16))

    async def wait_failed(self) -> AnyaError:
        """Return when the root supervisor has given up."""
        while True:
            try:
                system = await self.actors.call(COORDINATOR, "system")
                if system.phase == "gave_up":
                    return PlatformGaveUpError(system.tree.name)
                await self.actors.call(
                    COORDINATOR,
                    "system_after",
                    system.coordinator_epoch,
                    system.version,
                    _LOOK_S,
                    timeout_s=_LOOK_S * 3,
                )
            except CallTimeoutError:
                continue  # a coordinator that was killed may take long to come back on a busy machine
            except UnavailableError:
                await asyncio.sleep(1.0)

    async def stop(self) -> None:
        """Close the door, then stop every actor in the reverse order of its start."""
        await undeploy()
        await stop_coordinator(self._coordinator)


async def start_platform(settings: Settings, report: Report, plan: Plan | None = None) -> RayPlatform:
    """Start everything and return when it serves; raise what kept it from serving.

    ``plan`` replaces the platform's own tree (`plan_of`), for tests that add to it.
    """
    # The door first: Serve's controller, then its replica, are the longest chain of processes.
    door = asyncio.create_task(_open_door(settings, report))
    report("coordinator", "Starting the root supervisor")
    coordinator = None
    try:
        coordinator = await launch_coordinator(plan or plan_of(settings))
        platform = RayPlatform(settings, coordinator, RayActors())
        await _wait_running(platform.actors, settings, report)
        if settings.bitcoin.embedded:
            node = await platform.actors.call(NODE, "addresses")
            platform.addresses = platform.addresses.with_node(node)
        await door
    except BaseException:
        door.cancel()
        await asyncio.gather(door, return_exceptions=True)
        if coordinator is not None:
            await stop_coordinator(coordinator)
        raise
    return platform


async def _open_door(settings: Settings, report: Report) -> None:
    report("door", f"Opening the HTTP door on {_url(settings, settings.api.port)}")
    replicas = settings.api.replicas
    await asyncio.to_thread(deploy, partial(build_api, settings), listen_of(settings), replicas=replicas)


async def _wait_running(actors: RayActors, settings: Settings, report: Report) -> None:
    """Report each actor that serves; raise the error of one that cannot."""
    told: set[str] = set()
    async with asyncio.timeout(settings.supervision.start_timeout_s * 2):
        system = await actors.call(COORDINATOR, "system")
        while True:
            for actor in system.actors:
                if actor.status == "running" and actor.name not in told:
                    told.add(actor.name)
                    report(actor.name, f"{actor.name} serves (epoch {actor.epoch})")
            failures: dict[str, AnyaError] = await actors.call(COORDINATOR, "failures")
            for failure in failures.values():
                raise failure
            if all(actor.status == "running" for actor in system.actors):
                return
            system = await actors.call(
                COORDINATOR, "system_after", system.coordinator_epoch, system.version, _LOOK_S
            )


def _url(settings: Settings, port: int) -> str:
    scheme = "http" if settings.api.tls_certificate_file is None else "https"
    host = f"[{settings.api.host}]" if ":" in settings.api.host else settings.api.host
    return f"{scheme}://{host}:{port}"

"""`Processes` on Ray: every process is a detached, named Ray actor that Ray never restarts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from typing import Any

import ray
import ray.exceptions
import structlog

from anya_actors.actors.host import ActorHost
from anya_actors.actors.host import node_ip as own_node_ip
from anya_actors.coordinator.kinds import Kinds
from anya_actors.coordinator.processes import Health, Identity
from anya_actors.coordinator.ray_errors import unwrapped
from anya_actors.ports.actors import Actors, UnknownActorError

_log = structlog.get_logger(__name__)

MOST_CONCURRENT = 10_000  # the mailbox in the shell is the bound; Ray's must never be reached


class RayProcess:
    """One Ray actor. Made by `RayProcesses`, once its process is up."""

    def __init__(self, label: str, handle: Any, pid: int, node_ip: str) -> None:
        self._label = label
        self._handle = handle
        self._pid = pid
        self._node_ip = node_ip
        # Held open, so that the number can never come to mean another process.
        self._pidfd = _pidfd(pid) if node_ip == own_node_ip() else None

    @property
    def label(self) -> str:
        return self._label

    @property
    def handle(self) -> Any:
        return self._handle

    async def prepare(self) -> None:
        with unwrapped():
            await self._handle.prepare.remote()

    async def activate(self) -> Identity:
        with unwrapped():
            epoch = await self._handle.activate.remote()
        return Identity(self._pid, self._node_ip, epoch)

    async def identity(self) -> Identity | None:
        with unwrapped():
            epoch = await self._handle.epoch.remote()
        return None if epoch is None else Identity(self._pid, self._node_ip, epoch)

    async def wait_death(self) -> None:
        while True:
            try:
                await self._handle.watch.remote()
            except ray.exceptions.ActorUnavailableError:
                # The connection broke; Ray does not know yet whether the actor did.
                await asyncio.sleep(0.05)
            except ray.exceptions.RayActorError:
                return

    async def check_health(self) -> Health:
        with unwrapped():
            idle_s, in_flight = await self._handle.check_health.remote()
        return Health(idle_s, in_flight)

    async def stop(self) -> None:
        with unwrapped():
            await self._handle.drain.remote()
        with contextlib.suppress(ray.exceptions.RayActorError):
            await self._handle.leave.remote()

    async def kill(self) -> None:
        ray.kill(self._handle, no_restart=True)
        if self._pidfd is None:
            return
        pidfd, self._pidfd = self._pidfd, None
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)  # a stopped process ignores Ray's kill
        await _readable(pidfd)
        os.close(pidfd)


class RayProcesses:
    """Starts hosts as Ray actors of the coordinator's namespace."""

    def __init__(self, kinds: Kinds, connect: Callable[[], Actors], warm_up: Callable[[], None]) -> None:
        self._kinds = kinds
        self._warm_up = warm_up
        self._connect = connect

    async def launch(self, actor: str, label: str) -> RayProcess:
        kind = self._kinds.kind_of(actor)
        if kind is None:
            raise UnknownActorError(actor)
        handle: Any = (
            ray.remote(ActorHost)
            .options(
                name=label,
                lifetime="detached",
                max_restarts=0,
                max_task_retries=0,
                num_cpus=0,
                max_concurrency=MOST_CONCURRENT,
            )
            .remote(self._warm_up)
        )
        process = await self._reached(label, handle)
        with unwrapped():
            await handle.become.remote(actor, kind.shell, kind.builder, self._connect, kind.mailbox_limit)
        return process

    async def find(self, actor: str, label: str) -> RayProcess | None:
        try:
            handle = await asyncio.to_thread(ray.get_actor, label)
        except ValueError:
            return None
        try:
            async with asyncio.timeout(5.0):
                return await self._reached(label, handle)
        except (ray.exceptions.RayActorError, TimeoutError) as error:
            _log.warning("not found alive", actor=actor, label=label, error=str(error))
            ray.kill(handle, no_restart=True)
            return None

    async def kill_strays(self, known: set[str]) -> list[str]:
        names = await asyncio.to_thread(ray.util.list_named_actors)
        strays = [name for name in names if "/" in name and "#" in name and name not in known]
        for label in strays:
            process = await self.find(label.partition("#")[0], label)
            if process is not None:
                await process.kill()
        return strays

    async def _reached(self, label: str, handle: Any) -> RayProcess:
        pid, node_ip = await handle.location.remote()
        return RayProcess(label, handle, pid, node_ip)


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


async def _readable(pidfd: int) -> None:
    """Wait until the process behind ``pidfd`` has ended."""
    loop = asyncio.get_running_loop()
    ended = loop.create_future()

    def end() -> None:
        loop.remove_reader(pidfd)
        if not ended.done():
            ended.set_result(None)

    loop.add_reader(pidfd, end)
    await ended

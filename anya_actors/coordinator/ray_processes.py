"""`Processes` on Ray: every process is a detached, named Ray actor that Ray never restarts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
import ray.exceptions
import structlog
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from anya_actors.actors.host import ActorHost
from anya_actors.actors.host import node_ip as own_node_ip
from anya_actors.coordinator.kinds import Kind, Kinds
from anya_actors.coordinator.processes import Health, Identity
from anya_actors.coordinator.ray_errors import unwrapped
from anya_actors.coordinator.spares import Spares
from anya_actors.domain.supervision.backoff import Backoff
from anya_actors.ports.actors import Actors, UnknownActorError
from anya_actors.ports.clock import Clock
from anya_actors.ports.randomness import Randomness

_log = structlog.get_logger(__name__)

HOST_PREFIX = "host#"
LONGEST_EXIT_S = 0.5
LONGEST_ANSWER_S = 5.0
MOST_CONCURRENT = 10_000  # the mailbox in the shell is the bound; Ray's must never be reached


@dataclass(frozen=True, slots=True, eq=False)
class Host:
    """A Ray actor whose process is up."""

    handle: Any
    pid: int
    node_ip: str

    @classmethod
    async def reached(cls, handle: Any) -> Host:
        """Wait for the process."""
        pid, node_ip = await handle.location.remote()
        return cls(handle, pid, node_ip)

    async def become(self, label: str, *part: Any) -> RayProcess:
        """Give it its part."""
        try:
            with unwrapped():
                await self.handle.become.remote(label, *part)
        except BaseException:
            self.kill()
            raise
        return RayProcess(label, self)

    async def wait_death(self) -> None:
        """Return when the process is dead."""
        await _death(self.handle)

    def kill(self) -> None:
        """Have Ray end it; return at once."""
        ray.kill(self.handle, no_restart=True)


class RayProcess:
    """One actor's process."""

    def __init__(self, label: str, host: Host) -> None:
        self._label = label
        self._handle = host.handle
        self._pid = host.pid
        self._node_ip = host.node_ip
        # Held open, so that the number can never come to mean another process.
        self._pidfd = _pidfd(host.pid) if host.node_ip == own_node_ip() else None
        self._killing: asyncio.Task[None] | None = None

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
        await _death(self._handle)

    async def check_health(self) -> Health:
        with unwrapped():
            idle_s, in_flight = await self._handle.check_health.remote()
        return Health(idle_s, in_flight)

    async def stop(self) -> None:
        with unwrapped():
            await self._handle.drain.remote()

    async def kill(self) -> None:
        if self._killing is None:
            self._killing = asyncio.create_task(self._end())
        await asyncio.shield(self._killing)

    async def _end(self) -> None:
        ray.kill(self._handle, no_restart=True)
        if self._pidfd is None:
            return
        try:
            async with asyncio.timeout(LONGEST_EXIT_S):
                await _readable(self._pidfd)
        except TimeoutError:  # one that is stopped or hangs does not hear Ray
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            await _readable(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = None


class RayProcesses:
    """Starts hosts as Ray actors of the coordinator's namespace, and keeps `Spares`.

    A spare has everything imported that any actor needs: who takes it is spared half a second. One
    that is prepared for its kind has the rest, too.
    """

    def __init__(
        self,
        kinds: Kinds,
        connect: Callable[[], Actors],
        warm_up: Callable[[], None],
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        self._kinds = kinds
        self._warm_up = warm_up
        self._connect = connect
        self._left: dict[str, RayProcess] = {}
        self._spares: Spares[Host] = Spares(self._make_spare, kinds, clock, randomness, Backoff())

    def spares(self) -> dict[str, int]:
        """How many hosts wait, by the kind that they are prepared for."""
        return self._spares.ready()

    async def launch(self, actor: str, label: str) -> RayProcess:
        kind = self._kinds.kind_of(actor)
        if kind is None:
            raise UnknownActorError(actor)
        # A critical actor's process may be a standby, which is not to be activated.
        begin = kind.warm > 0 and not kind.critical
        part = (label, actor, kind.shell, kind.builder, self._connect, kind.mailbox_limit, begin)
        spare = self._spares.take(kind, lambda host: not kind.pinned or host.node_ip == own_node_ip())
        if spare is not None:
            try:
                return await spare.become(*part)
            except ray.exceptions.RayActorError:
                _log.info("the spare host had died")
        return await (await self._new_host(kind)).become(*part)

    async def find(self, actor: str, label: str) -> RayProcess | None:
        return self._left.pop(label, None)

    async def kill_strays(self, known: set[str]) -> list[str]:
        names = await asyncio.to_thread(ray.util.list_named_actors)
        found = await asyncio.gather(*(self._left_behind(n) for n in names if n.startswith(HOST_PREFIX)))
        left = [process for process in found if process is not None]
        strays = [process for process in left if process.label not in known]
        for process in strays:
            await process.kill()
        self._left = {process.label: process for process in left if process.label in known}
        self._spares.fill()
        return [process.label for process in strays]

    async def close(self) -> None:
        """Keep no spare any more."""
        await self._spares.close()

    async def _left_behind(self, name: str) -> RayProcess | None:
        """What a dead coordinator left under this Ray name; a spare's label is its Ray name."""
        try:
            handle = await asyncio.to_thread(ray.get_actor, name)
        except ValueError:
            return None
        try:
            async with asyncio.timeout(LONGEST_ANSWER_S):
                host = await Host.reached(handle)
                return RayProcess(await handle.label.remote() or name, host)
        except (ray.exceptions.RayActorError, TimeoutError) as error:
            _log.warning("not found alive", host=name, error=str(error))
            ray.kill(handle, no_restart=True)
            return None

    async def _make_spare(self, kind: Kind | None) -> Host:
        host = await self._new_host(kind)
        if kind is not None:
            try:
                with unwrapped():
                    await host.handle.prepare_for.remote(kind.builder)
            except BaseException:
                host.kill()
                raise
        return host

    async def _new_host(self, kind: Kind | None) -> Host:
        options: dict[str, Any] = {
            "name": HOST_PREFIX + secrets.token_hex(8),
            "lifetime": "detached",
            "max_restarts": 0,
            "max_task_retries": 0,
            "num_cpus": 0,
            "max_concurrency": MOST_CONCURRENT,
            "scheduling_strategy": on_this_node() if kind is not None and kind.pinned else "DEFAULT",
        }
        handle: Any = ray.remote(ActorHost).options(**options).remote(self._warm_up)
        try:
            return await Host.reached(handle)
        except BaseException:
            ray.kill(handle, no_restart=True)
            raise


def on_this_node() -> NodeAffinitySchedulingStrategy:
    """Here or nowhere."""
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


async def _death(handle: Any) -> None:
    while True:
        try:
            await handle.watch.remote()
        except ray.exceptions.ActorUnavailableError:
            # The connection broke; Ray does not know yet whether the actor did.
            await asyncio.sleep(0.05)
        except ray.exceptions.RayActorError:
            return


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


async def _readable(pidfd: int) -> None:
    """Wait until the process behind ``pidfd`` has ended."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(pidfd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(pidfd)

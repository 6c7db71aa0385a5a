"""The process that an actor lives in, before and after it is known which actor that will be.

A host starts empty and *becomes* one actor, once. So a spare host can wait, with everything
imported, for whichever actor dies or is called first.
"""

from __future__ import annotations

import asyncio
import os
import pickle
from collections.abc import Callable
from typing import Any

import ray

from anya_actors.actors.line import Listener
from anya_actors.actors.logs import configure_logs
from anya_actors.actors.shell import Builder, DurableActor, NotServingError
from anya_actors.ports.actors import Actors, UnknownMethodError


class ActorHost:
    """The one class that is made a Ray actor, beside the coordinator's."""

    def __init__(self, warm_up: Callable[[], None]) -> None:
        configure_logs()
        warm_up()
        self._shell: DurableActor[Any] | None = None
        self._label: str | None = None
        self._prepared = False
        self._begun: asyncio.Task[int] | None = None
        self._listener = Listener(self.invoke)

    async def location(self) -> tuple[int, str]:
        """Its process id and its node's address; answered as soon as the process is up."""
        return os.getpid(), node_ip()

    async def label(self) -> str | None:
        """The label under which it became an actor, or None while it is a spare."""
        return self._label

    async def prepare_for(self, builder: Builder) -> None:
        """While it is a spare: do what ``builder`` would do before its actor's store is taken."""
        await builder.prepare()
        self._prepared = True

    async def become(
        self,
        label: str,
        name: str,
        shell: type[DurableActor[Any]],
        builder: Builder,
        connect: Callable[[], Actors],
        mailbox_limit: int,
        begin: bool = False,
    ) -> None:
        """Be the actor ``name`` from now on. Only once.

        With ``begin`` it is being activated before anybody asks for that: `activate` only waits for it.
        """
        if self._shell is not None:
            raise NotServingError(name)
        self._label = label
        self._shell = shell(name, builder, connect, mailbox_limit, self._prepared)
        if begin:
            self._begun = asyncio.create_task(self._shell.activate())

    async def prepare(self) -> None:
        """See `DurableActor.prepare`."""
        await self._actor().prepare()

    async def activate(self) -> int:
        """See `DurableActor.activate`; the epoch."""
        begun, self._begun = self._begun, None
        return await (begun or self._actor().activate())

    async def epoch(self) -> int | None:
        """The epoch, or None while it is not activated."""
        return None if self._shell is None else self._shell.epoch

    async def check_health(self) -> tuple[float, int]:
        """See `DurableActor.check_health`."""
        return await self._actor().check_health()

    async def drain(self) -> None:
        """See `DurableActor.drain`."""
        if self._shell is not None:
            await self._shell.drain()

    async def watch(self) -> None:
        """Never return: the caller learns of the death by the call's failing."""
        await asyncio.Event().wait()

    async def line(self) -> str:
        """Where processes of this machine find the short way to `invoke`; empty if nowhere."""
        return await self._listener.open()

    async def invoke(self, call: bytes) -> bytes:
        """Call a method that the actor serves; raises `UnknownMethodError` for any other.

        ``call`` is the packed method, arguments and keywords; the answer is packed likewise.
        """
        method, args, keywords = unpacked(call)
        actor = self._actor()
        found: Any = getattr(actor, method, None)
        if not getattr(found, "served", False):
            raise UnknownMethodError(actor.name, method)
        await actor.wait_activated()
        return packed(await found(*args, **keywords))

    def _actor(self) -> DurableActor[Any]:
        if self._shell is None:
            raise NotServingError("an empty host")
        return self._shell


def packed(value: Any) -> bytes:
    """The value as bytes, which Ray passes on as they are: its own pickler costs a fifth of a call."""
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def unpacked(data: bytes) -> Any:
    """What `packed` was given."""
    return pickle.loads(data)  # noqa: S301 - from a process of this platform, as all that Ray passes


def node_ip() -> str:
    """The address under which Ray knows this node."""
    return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]  # Ray has no types here

"""What every JSON-RPC method is given, and how a method is declared."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from anya_actors.ports.clock import Clock
from anya_actors.serve.bitcoin_rpc.arguments import Arguments
from anya_actors.serve.bitcoin_rpc.signature import Signature
from anya_actors.services.bitcoin_node.service import BitcoinNodeService

VERSION: Final = 300000
"""The release of Bitcoin Core whose answers these are."""


@dataclass(slots=True)
class Running:
    """A call under way."""

    method: str
    started_s: float


@dataclass(slots=True)
class Memory:
    """What the methods remember from call to call."""

    is_caught_up: bool = False
    running: list[Running] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RpcContext:
    """The node behind the methods. ``on_stop`` is called by ``stop``.

    ``wallet`` is the name in the request's path, None where the path names none. ``zmq_address`` is
    where the node publishes its changes, if it does.
    """

    node: BitcoinNodeService
    clock: Clock
    on_stop: Callable[[], None]
    zmq_address: str | None = None
    wallet: str | None = None
    methods: Mapping[str, Method] = field(default_factory=lambda: MappingProxyType({}))
    memory: Memory = field(default_factory=Memory)


Handler = Callable[[RpcContext, Arguments], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Method:
    """One JSON-RPC method."""

    signature: Signature
    handler: Handler
    category: str = "hidden"

    @property
    def name(self) -> str:
        return self.handler.__name__

    @property
    def help_text(self) -> str:
        """What ``help`` says of it, the usage in the first line."""
        said = inspect.getdoc(self.handler)
        usage = self.signature.usage(self.name)
        return f"{usage}\n\n{said}\n" if said else usage


def method(handler: Handler, *names: str, required: int = 0) -> tuple[str, Method]:
    """Declare a method by its handler, whose name it has; parameters in their order.

    A parameter is ``name``, ``name|alias``, ``name:kind`` with a JSON type, or an object whose
    members callers may also name beside it: ``options:object{fee_rate,replaceable}``.
    """
    return handler.__name__, Method(Signature(names, required), handler)

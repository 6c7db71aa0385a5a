"""What every JSON-RPC method is given, and how a method is declared."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from anya_actors.ports.clock import Clock
from anya_actors.serve.bitcoin_rpc.arguments import Arguments, Signature
from anya_actors.services.bitcoin_node.service import BitcoinNodeService

VERSION: Final = 300000
"""The release of Bitcoin Core whose answers these are."""


@dataclass(slots=True)
class RpcContext:
    """The node behind the methods. ``on_stop`` is called by ``stop``."""

    node: BitcoinNodeService
    clock: Clock
    on_stop: Callable[[], None]
    is_caught_up: bool = False


Handler = Callable[[RpcContext, Arguments], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Method:
    """One JSON-RPC method."""

    signature: Signature
    handler: Handler


def method(handler: Handler, *names: str, required: int = 0) -> tuple[str, Method]:
    """Declare a method by its handler, whose name it has; parameters in their order."""
    return handler.__name__, Method(Signature(names, required), handler)

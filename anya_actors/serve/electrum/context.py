"""What every method of the Electrum protocol is given, and how a method is declared."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from anya_actors import __version__
from anya_actors.serve.electrum.subscriptions import Listening, Subscriptions
from anya_actors.serve.electrum.wire import ElectrumCode, ElectrumError
from anya_actors.services.bitcoin_node.lookups import Lookups
from anya_actors.services.bitcoin_node.service import BitcoinNodeService

Version: TypeAlias = tuple[int, ...]

OLDEST: Final[Version] = (1, 4)
NEWEST: Final[Version] = (1, 6)
SOFTWARE: Final = f"anya_actors {__version__}"

CallCore: TypeAlias = Callable[[str, Sequence[Any]], Awaitable[Any]]
"""Calls a JSON-RPC method of the node inside this process; raises `RpcError` with Core's words."""


def version_text(version: Version) -> str:
    return ".".join(str(part) for part in version)


@dataclass(frozen=True, slots=True)
class ElectrumContext:
    """The node behind the methods."""

    node: BitcoinNodeService
    lookups: Lookups
    call: CallCore
    subscriptions: Subscriptions


@dataclass(slots=True)
class Session:
    """One client. Before it has named a version it is served as by the oldest."""

    context: ElectrumContext
    host: str
    port: int
    protocol: Version = OLDEST
    has_introduced_itself: bool = False
    is_over: bool = False
    listening: Listening = field(default_factory=Listening)


Handler = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Method:
    """One method: the first version that has it, and a handler whose parameters are the protocol's."""

    handler: Handler
    since: Version
    signature: inspect.Signature

    def exists_in(self, version: Version) -> bool:
        return self.since <= version

    async def call(self, session: Session, name: str, params: list[Any] | dict[str, Any]) -> Any:
        """Call it; raises `ElectrumError` for arguments that do not fit."""
        try:
            if isinstance(params, list):
                bound = self.signature.bind(session, *params)
            else:
                bound = self.signature.bind(session, **params)
        except TypeError as error:
            text = f"invalid arguments for {name}: {error}"
            raise ElectrumError(ElectrumCode.INVALID_PARAMS, text) from None
        return await self.handler(*bound.args, **bound.kwargs)


def method(name: str, handler: Handler, *, since: Version = OLDEST) -> tuple[str, Method]:
    """Declare a method; its handler takes the session first, by position only."""
    return name, Method(handler, since, inspect.signature(handler))

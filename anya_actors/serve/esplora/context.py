"""What every route of Esplora is given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from anya_actors.domain.bitcoin.block_tree import BlockTree
from anya_actors.domain.bitcoin.hashes import Wtxid
from anya_actors.domain.remembered import Remembered
from anya_actors.services.bitcoin_node.lookups import Lookups
from anya_actors.services.bitcoin_node.service import BitcoinNodeService

CallCore: TypeAlias = Callable[[str, Sequence[Any]], Awaitable[Any]]
"""Calls a JSON-RPC method of the node inside this process; raises `RpcError` with Core's words."""


_DESCRIBED_BYTES: Final = 32 << 20


@dataclass(frozen=True, slots=True)
class EsploraContext:
    """The node behind the routes."""

    node: BitcoinNodeService
    lookups: Lookups
    call: CallCore
    described: Remembered[Wtxid, bytes] = field(default_factory=lambda: Remembered(_DESCRIBED_BYTES))
    """Transactions in JSON, up to their status: all before it is fixed by the wtxid."""

    @property
    def tree(self) -> BlockTree:
        return self.node.chain.tree

"""What every route of Esplora is given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from anya_actors.domain.bitcoin.block_tree import BlockTree
from anya_actors.services.bitcoin_node.lookups import Lookups
from anya_actors.services.bitcoin_node.service import BitcoinNodeService

CallCore: TypeAlias = Callable[[str, Sequence[Any]], Awaitable[Any]]
"""Calls a JSON-RPC method of the node inside this process; raises `RpcError` with Core's words."""


@dataclass(frozen=True, slots=True)
class EsploraContext:
    """The node behind the routes."""

    node: BitcoinNodeService
    lookups: Lookups
    call: CallCore

    @property
    def tree(self) -> BlockTree:
        return self.node.chain.tree

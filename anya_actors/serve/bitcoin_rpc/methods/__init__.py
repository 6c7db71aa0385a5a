"""All JSON-RPC methods by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from anya_actors.serve.bitcoin_rpc.context import Method
from anya_actors.serve.bitcoin_rpc.methods import blockchain, control, mining, transactions, wallet

METHODS: Final[Mapping[str, Method]] = MappingProxyType(
    blockchain.METHODS | transactions.METHODS | mining.METHODS | control.METHODS | wallet.METHODS
)

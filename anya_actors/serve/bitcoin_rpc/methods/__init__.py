"""All JSON-RPC methods by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from anya_actors.serve.bitcoin_rpc.context import Method
from anya_actors.serve.bitcoin_rpc.methods import (
    blockchain,
    blocks,
    control,
    mining,
    network,
    transactions,
    unspent,
    util,
    wallet,
)

_CATEGORIES: Final = {
    "blockchain": blocks.METHODS | blockchain.METHODS | unspent.METHODS | network.BLOCKCHAIN,
    "control": control.METHODS,
    "hidden": control.HIDDEN | blockchain.HIDDEN | mining.HIDDEN,
    "mining": mining.METHODS,
    "network": network.METHODS,
    "rawtransactions": transactions.METHODS,
    "util": util.METHODS,
    "wallet": wallet.METHODS,
}

METHODS: Final[Mapping[str, Method]] = MappingProxyType(
    {
        name: replace(found, category=category)
        for category, group in _CATEGORIES.items()
        for name, found in group.items()
    }
)

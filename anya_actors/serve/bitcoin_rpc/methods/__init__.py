"""All JSON-RPC methods by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from anya_actors.serve.bitcoin_rpc.context import Method
from anya_actors.serve.bitcoin_rpc.methods import (
    block_statistics,
    block_templates,
    blockchain,
    blocks,
    control,
    fees,
    filters,
    mempool,
    mining,
    network,
    proofs,
    psbt,
    raw_transactions,
    tip_waits,
    transactions,
    unspent,
    util,
    wallet,
    wallet_addresses,
    wallet_backup,
    wallet_bumping,
    wallet_encryption,
    wallet_history,
    wallet_psbt,
    wallet_sending,
)

_CATEGORIES: Final = {
    "blockchain": blocks.METHODS
    | blockchain.METHODS
    | block_statistics.METHODS
    | filters.METHODS
    | mempool.BLOCKCHAIN
    | network.BLOCKCHAIN
    | proofs.METHODS
    | tip_waits.METHODS
    | unspent.METHODS,
    "control": control.METHODS,
    "hidden": control.HIDDEN | blockchain.HIDDEN | mining.HIDDEN | mempool.HIDDEN | fees.HIDDEN,
    "mining": mining.METHODS | block_templates.METHODS | mempool.MINING,
    "network": network.METHODS,
    "rawtransactions": transactions.METHODS
    | raw_transactions.METHODS
    | psbt.METHODS
    | wallet_psbt.RAW_TRANSACTIONS
    | mempool.RAW_TRANSACTIONS,
    "util": util.METHODS | filters.UTIL | fees.UTIL,
    "wallet": wallet.METHODS
    | wallet_addresses.METHODS
    | wallet_backup.METHODS
    | wallet_bumping.METHODS
    | wallet_encryption.METHODS
    | wallet_history.METHODS
    | wallet_psbt.METHODS
    | wallet_sending.METHODS,
    "zmq": control.ZMQ,
}

METHODS: Final[Mapping[str, Method]] = MappingProxyType(
    {
        name: replace(found, category=category)
        for category, group in _CATEGORIES.items()
        for name, found in group.items()
    }
)

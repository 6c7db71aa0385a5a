"""Any Bitcoin Core, and what speaks like one, over JSON-RPC by the ``bitcoinrpc`` client."""

from anya_actors.adapters.bitcoin_rpc.node import CoreBitcoinRpc

__all__ = ["CoreBitcoinRpc"]

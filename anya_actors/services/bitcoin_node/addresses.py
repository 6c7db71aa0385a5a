"""How a node is reached."""

from __future__ import annotations

import msgspec


class NodeAddresses(msgspec.Struct, frozen=True):
    """The URL of a node's JSON-RPC, and the file that holds user and password."""

    bitcoin_rpc: str
    bitcoin_cookie: str

"""How a node is reached."""

from __future__ import annotations

import msgspec


class NodeAddresses(msgspec.Struct, frozen=True, kw_only=True):
    """Where a node's doors are: URLs of its protocols, None for a closed one.

    ``bitcoin_cookie`` is the file that holds user and password of ``bitcoin_rpc``; the others ask
    for none.
    """

    bitcoin_rpc: str
    bitcoin_cookie: str
    esplora: str | None = None
    electrum: str | None = None
    zmq_rawblock: str | None = None
    zmq_rawtx: str | None = None
    zmq_hashblock: str | None = None
    zmq_hashtx: str | None = None
    zmq_sequence: str | None = None

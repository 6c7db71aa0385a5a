"""Where a platform listens."""

from __future__ import annotations

import msgspec

from anya_actors.services.bitcoin_node.addresses import NodeAddresses


class Addresses(msgspec.Struct, frozen=True, kw_only=True):
    """Where a ready platform listens. The node's are None when it is not the embedded one."""

    api: str
    transit: str | None = None
    bitcoin_rpc: str | None = None
    bitcoin_cookie: str | None = None
    esplora: str | None = None
    electrum: str | None = None
    zmq_rawblock: str | None = None
    zmq_rawtx: str | None = None
    zmq_hashblock: str | None = None
    zmq_hashtx: str | None = None
    zmq_sequence: str | None = None

    def with_node(self, node: NodeAddresses) -> Addresses:
        """These, and those of the embedded node."""
        return msgspec.structs.replace(self, **msgspec.structs.asdict(node))

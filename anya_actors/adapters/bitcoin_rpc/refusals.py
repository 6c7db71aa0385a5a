"""Every error code of Bitcoin Core (``rpc/protocol.h``) and the error of ours that it becomes.

A call that knows better what a code means for it (no such block, a rejected transaction) says so
itself; what is left goes by this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from anya_actors.domain.machine import AnyaError, NotSupportedError
from anya_actors.ports.bitcoin_rpc import (
    NodeFaultError,
    NodeNotSyncedError,
    NodePeersError,
    NodeWalletError,
    NodeWarmingUpError,
    NodeWithoutMempoolError,
    RefusedArgumentsError,
    RefusedRequestError,
    RpcRefusedError,
)

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603

MISC_ERROR: Final = -1
TYPE_ERROR: Final = -3
INVALID_ADDRESS_OR_KEY: Final = -5
OUT_OF_MEMORY: Final = -7
INVALID_PARAMETER: Final = -8
DATABASE_ERROR: Final = -20
DESERIALIZATION_ERROR: Final = -22
VERIFY_ERROR: Final = -25
VERIFY_REJECTED: Final = -26
VERIFY_ALREADY_IN_UTXO_SET: Final = -27
IN_WARMUP: Final = -28
METHOD_DEPRECATED: Final = -32

NOT_CONNECTED: Final = -9
IN_INITIAL_DOWNLOAD: Final = -10
NO_MEMPOOL: Final = -33
PEERS: Final = frozenset({-23, -24, -29, -30, -31, -34})
WALLET: Final = frozenset({-4, -6, -11, -12, -13, -14, -15, -16, -17, -18, -19, -35, -36})

REFUSAL_OF_CODE: Final[Mapping[int, type[RpcRefusedError]]] = MappingProxyType(
    dict.fromkeys(
        (TYPE_ERROR, INVALID_ADDRESS_OR_KEY, INVALID_PARAMETER, DESERIALIZATION_ERROR, INVALID_PARAMS),
        RefusedArgumentsError,
    )
    | dict.fromkeys((PARSE_ERROR, INVALID_REQUEST), RefusedRequestError)
    | dict.fromkeys((OUT_OF_MEMORY, DATABASE_ERROR, INTERNAL_ERROR), NodeFaultError)
    | dict.fromkeys(PEERS, NodePeersError)
    | dict.fromkeys(WALLET, NodeWalletError)
    | {NO_MEMPOOL: NodeWithoutMempoolError}
)


def refusal_of(url: str, method: str, code: int, reason: str) -> AnyaError:
    """The error of ours for a node's error object; a code that Core does not have is told as it is."""
    if code == IN_WARMUP:
        return NodeWarmingUpError(url, reason)
    if code in (NOT_CONNECTED, IN_INITIAL_DOWNLOAD):
        return NodeNotSyncedError(url, reason)
    if code == METHOD_NOT_FOUND:
        return NotSupportedError(method, "the Bitcoin node does not have this call")
    if code == METHOD_DEPRECATED:
        return NotSupportedError(method, "the Bitcoin node has given this call up")
    return REFUSAL_OF_CODE.get(code, RpcRefusedError)(method, reason[:500], code)

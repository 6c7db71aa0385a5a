"""Errors as Bitcoin Core's JSON-RPC numbers them (``rpc/protocol.h``)."""

from __future__ import annotations

import enum

from anya_actors.domain.machine import AnyaError


class RpcCode(enum.IntEnum):
    """Core's error numbers, as far as this node uses them."""

    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    INTERNAL_ERROR = -32603
    PARSE_ERROR = -32700
    MISC_ERROR = -1
    TYPE_ERROR = -3
    WALLET_ERROR = -4
    INVALID_ADDRESS_OR_KEY = -5
    WALLET_INSUFFICIENT_FUNDS = -6
    OUT_OF_MEMORY = -7
    INVALID_PARAMETER = -8
    CLIENT_NOT_CONNECTED = -9
    CLIENT_IN_INITIAL_DOWNLOAD = -10
    WALLET_INVALID_LABEL_NAME = -11
    WALLET_UNLOCK_NEEDED = -13
    WALLET_PASSPHRASE_INCORRECT = -14
    WALLET_WRONG_ENCRYPTION_STATE = -15
    WALLET_ENCRYPTION_FAILED = -16
    WALLET_NOT_FOUND = -18
    WALLET_NOT_SPECIFIED = -19
    DATABASE_ERROR = -20
    DESERIALIZATION_ERROR = -22
    CLIENT_NODE_ALREADY_ADDED = -23
    CLIENT_NODE_NOT_ADDED = -24
    VERIFY_ERROR = -25
    VERIFY_REJECTED = -26
    VERIFY_ALREADY_IN_UTXO_SET = -27
    IN_WARMUP = -28
    CLIENT_NODE_NOT_CONNECTED = -29
    CLIENT_INVALID_IP_OR_SUBNET = -30
    CLIENT_P2P_DISABLED = -31
    METHOD_DEPRECATED = -32
    WALLET_ALREADY_LOADED = -35
    WALLET_ALREADY_EXISTS = -36


class RpcError(AnyaError):
    """The answer to a call that failed; ``text`` reaches the caller as it is."""

    code = "bitcoin-rpc"
    message = "JSON-RPC error {}: {}"
    remedy = "Correct the call as the text says."

    def __init__(self, rpc_code: int, text: str) -> None:
        super().__init__(rpc_code, text)
        self.rpc_code = int(rpc_code)
        self.text = text

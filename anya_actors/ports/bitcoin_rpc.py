"""A Bitcoin node, ours or anyone's, as far as the platform needs one.

Calls may time out after they took effect. All of them but `BitcoinRpc.generate_to_address` can be
made again without harm, and adapters do so on their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from anya_actors.domain.bitcoin.block import Block, BlockHeader
from anya_actors.domain.bitcoin.hashes import BlockHash, Txid
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxOutput
from anya_actors.domain.machine import AnyaError, UnavailableError


class NodeUnreachableError(UnavailableError):
    """No answer came from the node."""

    code = "node-unreachable"
    message = "the Bitcoin node at {} does not answer: {}"
    remedy = "Start the node or correct its URL; what is owed is done as soon as it answers."


class NodeAuthenticationError(UnavailableError):
    """The node does not accept our user name and password or cookie."""

    code = "node-authentication"
    message = "the Bitcoin node at {} refuses our credentials: {}"
    remedy = "Correct the user name and password, or the cookie file, in the settings."


class NodeWarmingUpError(UnavailableError):
    """The node is starting; it will answer soon."""

    code = "node-warming-up"
    message = "the Bitcoin node at {} is still starting: {}"
    remedy = "Wait until it has loaded its blocks, then send the call again."


class NodeBusyError(UnavailableError):
    """The node's queue of calls is full."""

    code = "node-busy"
    message = "the Bitcoin node at {} is busy: {}"
    remedy = "Send the call again, or raise the node's rpcworkqueue."


class MalformedReplyError(UnavailableError):
    """What answered is no Bitcoin node, or not one that we understand."""

    code = "node-malformed-reply"
    message = "what answers at {} does not speak as a Bitcoin node does: {}"
    remedy = "Check that the URL names the node's JSON-RPC port."


class RpcRefusedError(AnyaError):
    """The node refuses a call for a reason that no other error of this port names."""

    code = "node-refused"
    message = "the Bitcoin node refuses {}: {} (code {})"
    remedy = "Read the node's reason."

    def __init__(self, method: str, reason: str, rpc_code: int) -> None:
        super().__init__(method, reason, rpc_code)


class RefusedArgumentsError(RpcRefusedError):
    """The node cannot make sense of what the call names."""

    code = "node-refused-arguments"
    message = "the Bitcoin node does not take the arguments of {}: {} (code {})"
    remedy = "Correct what the node's reason names."


class RefusedRequestError(RpcRefusedError):
    """The node does not take the request for JSON-RPC: the two do not speak the same version."""

    code = "node-refused-request"
    message = "the Bitcoin node does not understand the request {}: {} (code {})"
    remedy = "Check that a Bitcoin Core of version 24 or newer answers at the node's URL."


class NodeFaultError(RpcRefusedError):
    """Something failed inside the node: its disk, its memory, its database."""

    code = "node-fault"
    message = "the Bitcoin node failed at {}: {} (code {})"
    remedy = "Look into the node's debug.log; the call may be sent again once it is well."


class NodePeersError(RpcRefusedError):
    """A call about the node's peers that does not fit the peers it has."""

    code = "node-peers"
    message = "the Bitcoin node refuses {} for its peers: {} (code {})"
    remedy = "Read the node's list of peers (getpeerinfo, getaddednodeinfo) and its settings."


class NodeWithoutMempoolError(RpcRefusedError):
    """The node keeps no mempool."""

    code = "node-without-mempool"
    message = "the Bitcoin node has no mempool for {}: {} (code {})"
    remedy = "Use a node that relays transactions (blocksonly=0)."


class NodeWalletError(RpcRefusedError):
    """The node's own wallet refuses. Wallets of this platform have their keys in the HSM instead."""

    code = "node-wallet"
    message = "the wallet of the Bitcoin node refuses {}: {} (code {})"
    remedy = "Load, unlock or fund the node's wallet, as its reason says."


class NodeNotSyncedError(UnavailableError):
    """The node has no peers or is still downloading the chain; it cannot answer this call yet."""

    code = "node-not-synced"
    message = "the Bitcoin node at {} is not in step with the network: {}"
    remedy = "Wait until it has peers and its initial download is over, then send the call again."


class BlockNotFoundError(AnyaError):
    """The node knows no such block, or none at this height of its active chain."""

    code = "block-not-found"
    message = "the node has no block {}"
    remedy = "Check the hash or the height; the node may be behind, or have pruned it."

    def __init__(self, block: str) -> None:
        super().__init__(block)


class TransactionNotFoundError(AnyaError):
    """The transaction is neither in the node's mempool nor where the node can look it up."""

    code = "transaction-not-found"
    message = "the node does not know transaction {}"
    remedy = "Check the txid; a Bitcoin Core finds confirmed transactions only with txindex=1."

    def __init__(self, txid: str) -> None:
        super().__init__(txid)


class BroadcastRejectedError(AnyaError):
    """The node did not take the transaction. ``reason`` is Core's reject reason."""

    code = "broadcast-rejected"
    message = "the node rejected transaction {}: {}"
    remedy = "Nothing was sent; build another transaction that keeps the rule."

    def __init__(self, txid: str, reason: str) -> None:
        super().__init__(txid, reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ChainInfo:
    """The node's view of its chain. ``chain`` is Core's name: main, test, signet, regtest …"""

    chain: str
    height: int
    headers: int
    best_hash: BlockHash
    median_time_unix_s: int
    initial_block_download: bool


@dataclass(frozen=True, slots=True)
class FoundHeader:
    """A header and where it stands; ``confirmations`` is -1 off the active chain."""

    header: BlockHeader
    height: int
    confirmations: int


@dataclass(frozen=True, slots=True)
class FoundTransaction:
    """A transaction; ``block_hash`` is None while it waits in the mempool."""

    transaction: Transaction
    block_hash: BlockHash | None
    confirmations: int


@dataclass(frozen=True, slots=True)
class Utxo:
    """An output that nothing has spent; 0 confirmations in the mempool."""

    amount_sat: int
    script_pubkey: bytes
    coinbase: bool
    confirmations: int


@dataclass(frozen=True, slots=True)
class MempoolInfo:
    """The node's mempool as a whole; ``min_feerate_sat_per_kvb`` is what it takes to get in."""

    count: int
    vsize: int
    total_fee_sat: int
    min_feerate_sat_per_kvb: int


@dataclass(frozen=True, slots=True)
class WaitingTransaction:
    """One transaction of the mempool. Its ancestors and descendants include itself."""

    txid: Txid
    vsize: int
    fee_sat: int
    entered_unix_s: int
    height: int
    ancestor_count: int
    ancestor_vsize: int
    ancestor_fee_sat: int
    descendant_count: int
    descendant_vsize: int
    descendant_fee_sat: int


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What the node would take a transaction for."""

    fee_sat: int
    vsize: int


@dataclass(frozen=True, slots=True)
class UnspentOutput:
    """An unspent output in a block at ``height``."""

    outpoint: Outpoint
    amount_sat: int
    height: int
    coinbase: bool


class BitcoinRpc(Protocol):
    """One node. Besides the errors named, every method raises an `UnavailableError` of this file
    when the node cannot answer now, and `RpcRefusedError` for refusals that have no own name.
    """

    async def chain_info(self) -> ChainInfo:
        """The active chain and its tip."""

    async def block_hash(self, height: int) -> BlockHash:
        """The active chain's block at this height; raises `BlockNotFoundError`."""

    async def block_hashes(self, heights: range) -> list[BlockHash]:
        """The active chain's blocks at these heights, lowest first; fewer where the chain ends."""

    async def header(self, block_hash: BlockHash) -> FoundHeader:
        """A header, on the active chain or not; raises `BlockNotFoundError`."""

    async def block(self, block_hash: BlockHash) -> Block:
        """A whole block, on the active chain or not; raises `BlockNotFoundError`."""

    async def spent_by(self, block: Block) -> list[tuple[TxOutput, ...]]:
        """The outputs that each transaction of the block spent, in the order of its inputs.

        Of the coinbase none. Raises `BlockNotFoundError`, `NotSupportedError` where the node no
        longer knows them.
        """

    async def transaction(self, txid: Txid) -> FoundTransaction:
        """A transaction of the mempool or an indexed one; raises `TransactionNotFoundError`."""

    async def transactions(self, txids: Sequence[Txid]) -> list[FoundTransaction]:
        """Those of the transactions that `transaction` would find, in the same order."""

    async def broadcast(self, transaction: Transaction) -> None:
        """Hand a transaction to the node; one that it already has is taken as well.

        Raises `BroadcastRejectedError`.
        """

    async def test_acceptance(self, transaction: Transaction) -> Acceptance:
        """What a broadcast would do, without doing it; raises `BroadcastRejectedError`."""

    async def mempool_info(self) -> MempoolInfo:
        """The mempool as a whole."""

    async def waiting(self, txid: Txid) -> WaitingTransaction:
        """A transaction of the mempool; raises `TransactionNotFoundError`."""

    async def unspent_of(self, script_pubkey: bytes) -> list[UnspentOutput]:
        """The unspent outputs of a script in blocks, oldest first; may take minutes on a large chain."""

    async def mempool_txids(self) -> frozenset[Txid]:
        """Every transaction that waits for a block."""

    async def utxo(self, outpoint: Outpoint, *, include_mempool: bool = True) -> Utxo | None:
        """An unspent output, or None if it is spent or was never there."""

    async def estimate_feerate(self, target_blocks: int) -> int | None:
        """Satoshis per virtual byte, rounded up, to confirm within ``target_blocks``.

        None when the node has seen too little to say.
        """

    async def generate_to_address(self, blocks: int, address: str) -> list[BlockHash]:
        """Mine blocks at once (regtest). Never repeated by adapters: each call mines anew.

        Raises `NotSupportedError` where the node cannot.
        """

    async def close(self) -> None:
        """Release connections."""

"""What the node is asked on a caller's behalf: mempool, fees, coins, broadcasts and SPV proofs."""

from __future__ import annotations

from typing import Final

from anya_actors.domain.bitcoin.address import parse_address
from anya_actors.domain.bitcoin.errors import MalformedTransactionError
from anya_actors.domain.bitcoin.hashes import BlockHash, Txid
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.payment_order import AbsurdFeeError, FeeCapMissingError
from anya_actors.domain.bitcoin.spv import InclusionProof, make_inclusion_proof, parse_inclusion_proof
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, parse_transaction_hex
from anya_actors.domain.bitcoin.views import (
    BroadcastView,
    FeeratesView,
    FeerateView,
    MempoolView,
    ProofView,
    UnspentView,
    WaitingView,
)
from anya_actors.domain.machine import InvalidInputError
from anya_actors.ports.bitcoin_rpc import BitcoinRpc, BlockNotFoundError, TransactionNotFoundError
from anya_actors.services.bitcoin.follower import Follower
from anya_actors.services.bitcoin.settings import BitcoinSettings

FEERATE_TARGETS: Final = (1, 2, 3, 6, 12, 24, 144, 504, 1008)
MAX_PROOF_BYTES: Final = 500_000


class NodeQueries:
    """Nothing here is stored: each answer is the node's, checked where it can be."""

    def __init__(self, rpc: BitcoinRpc, follower: Follower, settings: BitcoinSettings) -> None:
        self._rpc = rpc
        self._follower = follower
        self._settings = settings

    async def mempool(self) -> MempoolView:
        """The node's mempool as a whole."""
        info = await self._rpc.mempool_info()
        return MempoolView(info.count, info.vsize, info.total_fee_sat, info.min_feerate_sat_per_kvb)

    async def waiting(self, txid: str) -> WaitingView:
        """A transaction of the mempool; raises `TransactionNotFoundError`, `HashError`."""
        found = await self._rpc.waiting(Txid.from_hex(txid))
        return WaitingView(
            txid=str(found.txid),
            vsize=found.vsize,
            fee_sat=found.fee_sat,
            entered_unix_s=found.entered_unix_s,
            height=found.height,
            ancestor_count=found.ancestor_count,
            ancestor_vsize=found.ancestor_vsize,
            ancestor_fee_sat=found.ancestor_fee_sat,
            descendant_count=found.descendant_count,
            descendant_vsize=found.descendant_vsize,
            descendant_fee_sat=found.descendant_fee_sat,
        )

    async def feerates(self) -> FeeratesView:
        """The node's estimates; None where it has seen too little."""
        estimates = [
            FeerateView(blocks, await self._rpc.estimate_feerate(blocks)) for blocks in FEERATE_TARGETS
        ]
        return FeeratesView(tuple(estimates))

    async def unspent(self, address: str) -> list[UnspentView]:
        """The coins of an address in blocks, oldest first; a large chain takes minutes."""
        script_pubkey = parse_address(address, self._settings.network)
        return [
            UnspentView(str(one.outpoint.txid), one.outpoint.index, one.amount_sat, one.height, one.coinbase)
            for one in await self._rpc.unspent_of(script_pubkey)
        ]

    async def output(self, txid: str, index: int) -> UnspentView | None:
        """An output if nothing has spent it, in a block or the mempool (then its height is None)."""
        outpoint = Outpoint(Txid.from_hex(txid), index)
        found = await self._rpc.utxo(outpoint)
        if found is None:
            return None
        tip = await self._rpc.chain_info()
        height = tip.height - found.confirmations + 1 if found.confirmations else None
        return UnspentView(txid, index, found.amount_sat, height, found.coinbase)

    async def broadcast(self, transaction_hex: str, max_fee_sat: int | None) -> BroadcastView:
        """Hand a signed transaction to the node; one that it already has is taken as well.

        ``max_fee_sat`` is needed on mainnet (`FeeCapMissingError`): a transaction that pays more is
        not sent (`AbsurdFeeError`). Raises `MalformedTransactionError`, `BroadcastRejectedError`.
        """
        transaction = parse_transaction_hex(transaction_hex)
        if not transaction.inputs or not transaction.outputs:
            raise MalformedTransactionError("the transaction", "it has no inputs or no outputs")
        network = self._settings.network
        if max_fee_sat is None and network is Network.MAINNET:
            raise FeeCapMissingError(network.value)
        if max_fee_sat is not None:
            await self._check_fee(transaction, max_fee_sat)
        await self._rpc.broadcast(transaction)
        self._follower.wake()
        return BroadcastView(str(transaction.txid), str(transaction.wtxid), transaction.vsize)

    async def proof(self, txid: str) -> ProofView:
        """Proof that a block of the active chain holds the transaction.

        Raises `TransactionNotFoundError`, or `BlockNotFoundError` while no block holds it.
        """
        found = await self._rpc.transaction(Txid.from_hex(txid))
        if found.block_hash is None:
            raise BlockNotFoundError(f"with transaction {txid}")
        block = await self._rpc.block(found.block_hash)
        place = [one.txid for one in block.transactions].index(found.transaction.txid)
        proof = make_inclusion_proof(block, place)
        return await self._shown(proof)

    async def verify_proof(self, proof_hex: str) -> ProofView:
        """What a proof proves, if its block is in the node's active chain.

        Raises `MerkleProofError` for one that proves nothing, `BlockNotFoundError` for a block that is
        not in the active chain.
        """
        if len(proof_hex) > 2 * MAX_PROOF_BYTES:
            raise InvalidInputError("proof", f"it has more than {MAX_PROOF_BYTES} bytes")
        try:
            data = bytes.fromhex(proof_hex)
        except ValueError:
            raise InvalidInputError("proof", "it is not hexadecimal") from None
        proof = parse_inclusion_proof(data)
        proof.verify_inclusion()
        return await self._shown(proof)

    async def _check_fee(self, transaction: Transaction, max_fee_sat: int) -> None:
        try:
            await self._rpc.transaction(transaction.txid)
        except TransactionNotFoundError:
            pass
        else:
            return  # the node has it, whatever it pays
        acceptance = await self._rpc.test_acceptance(transaction)
        if acceptance.fee_sat > max_fee_sat:
            raise AbsurdFeeError(acceptance.fee_sat, max_fee_sat)

    async def _shown(self, proof: InclusionProof) -> ProofView:
        block_hash: BlockHash = proof.header.hash
        home = await self._rpc.header(block_hash)
        if home.confirmations < 1:
            raise BlockNotFoundError(f"{block_hash} in its active chain")
        return ProofView(
            txid=str(proof.transaction.txid),
            block_hash=str(block_hash),
            height=home.height,
            confirmations=home.confirmations,
            index=proof.branch.index,
            header=proof.header.serialize().hex(),
            branch=tuple(sibling[::-1].hex() for sibling in proof.branch.hashes),
            proof=proof.serialize().hex(),
        )

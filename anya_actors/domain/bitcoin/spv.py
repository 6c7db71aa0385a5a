"""Simple payment verification: that a transaction is in a block, and that block under enough work.

What RSK, BOB, Liquid and Taproot Assets ask of Bitcoin: `InclusionProof` is made from a block, and
verified against a `HeaderChain` with nothing else at hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from anya_actors.domain.bitcoin.block import HEADER_SIZE, Block, BlockHeader, parse_header
from anya_actors.domain.bitcoin.hashes import BlockHash
from anya_actors.domain.bitcoin.header_chain import HeaderChain
from anya_actors.domain.bitcoin.merkle_proof import MerkleBranch, MerkleProofError, make_branch
from anya_actors.domain.bitcoin.transaction import Transaction, read_transaction
from anya_actors.domain.bitcoin.wire import Reader, TruncatedError, compact_size, u32

_INNER_NODE_BYTES: Final = 64
_MAX_DEPTH: Final = 32


@dataclass(frozen=True)
class Inclusion:
    """What a proof has shown."""

    block_hash: BlockHash
    height: int
    index: int
    confirmations: int


@dataclass(frozen=True)
class InclusionProof:
    """A transaction, its branch, and the coinbase's branch, which tells the depth of the tree.

    Without the coinbase a transaction of 64 bytes could pass for an inner node and prove transactions
    that are in no block, or an inner node for a transaction (CVE-2017-12842).
    """

    header: BlockHeader
    transaction: Transaction
    branch: MerkleBranch
    coinbase: Transaction
    coinbase_branch: MerkleBranch

    def verify_inclusion(self) -> None:
        """Return if the header commits to the transaction; raise `MerkleProofError`."""
        if not self.coinbase.is_coinbase or self.coinbase_branch.index:
            raise MerkleProofError("the coinbase", "it is none, or not the first transaction")
        if self.coinbase_branch.depth != self.branch.depth:
            raise MerkleProofError("the proof", "its two branches differ in depth")
        for transaction in (self.coinbase, self.transaction):
            if len(transaction.serialize_stripped()) == _INNER_NODE_BYTES:
                raise MerkleProofError("the proof", "a transaction of 64 bytes may be an inner node")
        self.coinbase_branch.verify(self.coinbase.txid, self.header.merkle_root)
        self.branch.verify(self.transaction.txid, self.header.merkle_root)

    def verify(self, chain: HeaderChain, *, confirmations: int = 1) -> Inclusion:
        """What is proved, if the block is in the chain under that many blocks, itself counted.

        Raises `MerkleProofError`, or `UnknownHeaderError` for a block that is not in the chain.
        """
        self.verify_inclusion()
        height = chain.height_of(self.header.hash)
        found = Inclusion(self.header.hash, height, self.branch.index, chain.height - height + 1)
        if found.confirmations < confirmations:
            reason = f"its block has {found.confirmations} confirmations, not {confirmations}"
            raise MerkleProofError("the proof", reason)
        return found

    def serialize(self) -> bytes:
        """Our own encoding: the header, then coinbase and transaction, each before its branch."""
        pieces = [self.header.serialize()]
        for transaction, branch in (
            (self.coinbase, self.coinbase_branch),
            (self.transaction, self.branch),
        ):
            pieces += (transaction.serialize(), u32(branch.index), compact_size(branch.depth), *branch.hashes)
        return b"".join(pieces)


def make_inclusion_proof(block: Block, index: int) -> InclusionProof:
    """The proof for the transaction at a place of a block; raises `MerkleProofError`."""
    txids = [transaction.txid for transaction in block.transactions]
    branch = make_branch(txids, index)
    return InclusionProof(
        block.header, block.transactions[index], branch, block.transactions[0], make_branch(txids, 0)
    )


def parse_inclusion_proof(data: bytes) -> InclusionProof:
    """Read exactly one proof; raises `MerkleProofError`. It proves nothing until it is verified."""
    if len(data) < HEADER_SIZE:
        raise MerkleProofError("the proof", "it ends too early")
    reader = Reader(data, HEADER_SIZE)
    try:
        coinbase, coinbase_branch = read_transaction(reader), _read_branch(reader)
        transaction, branch = read_transaction(reader), _read_branch(reader)
        if reader.left:
            raise TruncatedError(f"{reader.left} bytes follow it")
    except TruncatedError as error:
        raise MerkleProofError("the proof", str(error)) from error
    return InclusionProof(parse_header(data[:HEADER_SIZE]), transaction, branch, coinbase, coinbase_branch)


def _read_branch(reader: Reader) -> MerkleBranch:
    index, depth = reader.u32(), reader.compact_size()
    if depth > _MAX_DEPTH:
        raise TruncatedError(f"no tree has depth {depth}")
    return MerkleBranch(index, tuple(reader.take(32) for _ in range(depth)))

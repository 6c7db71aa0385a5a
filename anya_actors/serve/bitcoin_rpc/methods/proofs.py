"""Proofs that a block contains transactions."""

from __future__ import annotations

from typing import Any, Final

from anya_actors.domain.bitcoin.block_tree import BlockNode
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.merkle_proof import (
    MerkleBlock,
    MerkleProofError,
    make_partial_tree,
    parse_merkle_block,
)
from anya_actors.serve.bitcoin_rpc.arguments import Arguments, parse_hash, parse_hex
from anya_actors.serve.bitcoin_rpc.context import Method, RpcContext, method
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError
from anya_actors.serve.bitcoin_rpc.methods.blocks import node_of


async def gettxoutproof(context: RpcContext, arguments: Arguments) -> Any:
    """A proof, in hexadecimal, that these transactions are in one block."""
    txids = _txids(arguments.items("txids"))
    node = node_of(context, arguments) if arguments.has("blockhash") else _block_of(context, txids)
    block = await context.node.chain.read_block(node)
    inside = [transaction.txid for transaction in block.transactions]
    if not set(txids) <= set(inside):
        text = "Not all transactions found in specified or retrieved block"
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, text)
    return MerkleBlock(node.header, make_partial_tree(inside, set(txids))).serialize().hex()


def _txids(given: list[Any]) -> list[Txid]:
    if not given:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Parameter 'txids' cannot be empty")
    txids: list[Txid] = []
    for text in given:
        txid = parse_hash(text, "txid", Txid)
        if txid in txids:
            raise RpcError(RpcCode.INVALID_PARAMETER, f"Invalid parameter, duplicated txid: {text}")
        txids.append(txid)
    return txids


def _block_of(context: RpcContext, txids: list[Txid]) -> BlockNode:
    chain = context.node.chain
    for txid in txids:
        place = chain.index.transaction(txid)
        if place is not None:
            return chain.tree.nodes[place[0]]
    raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Transaction not yet in block")


async def verifytxoutproof(context: RpcContext, arguments: Arguments) -> Any:
    """The transactions that a proof shows to be in a block of the active chain; none if it is wrong."""
    data = parse_hex(arguments.raw("proof"), "proof")
    try:
        proof = parse_merkle_block(data)
    except MerkleProofError as error:
        raise RpcError(RpcCode.MISC_ERROR, str(error)) from error
    try:
        shown = proof.verify()
    except MerkleProofError:
        return []
    tree = context.node.chain.tree
    node = tree.nodes.get(proof.header.hash)
    if node is None or not tree.is_active(node):
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Block not found in chain")
    if proof.tree.transactions != node.transactions:
        return []
    return [str(txid) for _, txid in shown]


METHODS: Final[dict[str, Method]] = dict(
    [
        method(gettxoutproof, "txids:array", "blockhash:string", required=1),
        method(verifytxoutproof, "proof:string", required=1),
    ]
)

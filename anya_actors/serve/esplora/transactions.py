"""Single transactions over Esplora."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from anya_actors.domain.bitcoin.block import Block
from anya_actors.domain.bitcoin.block_tree import BlockNode
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.merkle_proof import MerkleBlock, make_branch, make_partial_tree
from anya_actors.domain.bitcoin.transaction import Outpoint
from anya_actors.serve.bitcoin_node.http import Reply
from anya_actors.serve.esplora import replies, shapes
from anya_actors.serve.esplora.arguments import hash_of, number_of
from anya_actors.serve.esplora.context import EsploraContext
from anya_actors.serve.esplora.replies import FIXED, EsploraError, encode, not_found
from anya_actors.services.bitcoin_node.lookups import SeenTransaction


def describe(context: EsploraContext, seen: SeenTransaction) -> msgspec.Raw:
    """A transaction in Esplora's JSON."""
    status = encode(shapes.describe_status(context.tree, seen.node))
    return msgspec.Raw(b'%b,"status":%b}' % (_before_status(context, seen), status))


def _before_status(context: EsploraContext, seen: SeenTransaction) -> bytes:
    known = context.described.get(seen.transaction.wtxid)
    if known is not None:
        return known
    fee_sat = seen.fee_sat
    if fee_sat is None:
        # Only in a block that was never on the active branch: nobody has looked up its inputs.
        text = f"what transaction {seen.transaction.txid} of a stale block spends is not known"
        raise EsploraError(HTTPStatus.SERVICE_UNAVAILABLE, text)
    content = encode(shapes.describe_transaction(seen, fee_sat)).removesuffix(b"}")
    context.described.put(seen.transaction.wtxid, content, len(content))
    return content


async def one(context: EsploraContext, parts: Sequence[str]) -> Reply | None:
    """``/tx/TXID…``."""
    if not 2 <= len(parts) <= 4:
        return None
    txid = hash_of(Txid, parts[1])
    match parts[2:]:
        case []:
            return replies.json(describe(context, await _seen(context, txid)))
        case ["status"]:
            seen = await context.lookups.transaction(txid)
            return replies.json(shapes.describe_status(context.tree, None if seen is None else seen.node))
        case ["hex"]:
            return replies.text((await _seen(context, txid)).transaction.serialize().hex(), FIXED)
        case ["raw"]:
            return replies.raw((await _seen(context, txid)).transaction.serialize(), FIXED)
        case ["merkle-proof" | "merkleblock-proof" as kind]:
            return await _proof(context, txid, kind)
        case ["outspend", index]:
            outpoint = Outpoint(txid, number_of(index, 1 << 32))
            spender = context.lookups.spender(outpoint)
            return replies.json(shapes.describe_spender(context.tree, spender))
        case ["outspends"]:
            return await _spenders(context, txid)
    return None


async def _seen(context: EsploraContext, txid: Txid) -> SeenTransaction:
    seen = await context.lookups.transaction(txid)
    if seen is None:
        raise not_found("Transaction not found")
    return seen


async def _spenders(context: EsploraContext, txid: Txid) -> Reply:
    outputs = (await _seen(context, txid)).transaction.outputs
    spenders = [context.lookups.spender(Outpoint(txid, index)) for index in range(len(outputs))]
    return replies.json([shapes.describe_spender(context.tree, spender) for spender in spenders])


async def _proof(context: EsploraContext, txid: Txid, kind: str) -> Reply:
    found = context.node.chain.index.transaction(txid)
    if found is None:
        raise not_found("Transaction not found or is unconfirmed")
    node, place = context.tree.nodes[found[0]], found[1]
    block = await context.node.chain.read_block(node)
    if kind == "merkleblock-proof":
        tree = make_partial_tree([transaction.txid for transaction in block.transactions], {txid})
        return replies.text(MerkleBlock(block.header, tree).serialize().hex())
    return replies.json(_branch(node, block, place))


def _branch(node: BlockNode, block: Block, place: int) -> dict[str, Any]:
    branch = make_branch([transaction.txid for transaction in block.transactions], place)
    merkle = [item[::-1].hex() for item in branch.hashes]
    return {"block_height": node.height, "merkle": merkle, "pos": place}

"""Blocks over Esplora."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from anya_actors.domain.bitcoin.block_tree import BlockNode
from anya_actors.domain.bitcoin.hashes import BlockHash
from anya_actors.serve.bitcoin_node.http import Reply
from anya_actors.serve.esplora import replies
from anya_actors.serve.esplora.arguments import hash_of, number_of, number_or_none
from anya_actors.serve.esplora.context import EsploraContext
from anya_actors.serve.esplora.replies import FIXED, bad_request, not_found
from anya_actors.serve.esplora.shapes import describe_block, describe_block_status
from anya_actors.serve.esplora.transactions import describe

PAGE: Final = 25
_LISTED: Final = 10


async def several(context: EsploraContext, parts: Sequence[str]) -> Reply | None:
    """``/blocks[/START]`` and ``/blocks/tip/…``."""
    tip = context.tree.tip
    match parts[1:]:
        case ["tip", "hash"]:
            return replies.text(tip.hash)
        case ["tip", "height"]:
            return replies.text(tip.height)
        case []:
            return await _listed(context, tip)
        case [start]:
            height = number_or_none(start)
            return await _listed(context, tip if height is None else _at(context, height))
    return None


async def _listed(context: EsploraContext, newest: BlockNode) -> Reply:
    nodes = [node for node, _ in zip(newest.branch(), range(_LISTED), strict=False)]
    return replies.json([describe_block(node, await context.node.chain.read_block(node)) for node in nodes])


def _at(context: EsploraContext, height: int) -> BlockNode:
    active = context.tree.active
    if height >= len(active):
        raise not_found("Block not found")
    return active[height]


async def by_height(context: EsploraContext, parts: Sequence[str]) -> Reply | None:
    """``/block-height/HEIGHT``."""
    match parts[1:]:
        case [height]:
            return replies.text(_at(context, number_of(height)).hash)
    return None


async def one(context: EsploraContext, parts: Sequence[str]) -> Reply | None:
    """``/block/HASH…``."""
    if not 2 <= len(parts) <= 4:
        return None
    block_hash = hash_of(BlockHash, parts[1])
    node = context.tree.nodes.get(block_hash)
    if parts[2:] == ["status"]:
        return replies.json(describe_block_status(context.tree, node))
    if node is None:
        raise not_found("Block not found")
    match parts[2:]:
        case ["header"]:
            return replies.text(node.header.serialize().hex(), FIXED)
        case ["txs"]:
            return await _transactions(context, node, "0")
        case ["txs", start]:
            return await _transactions(context, node, start)
    return await _contents(context, node, parts[2:])


async def _contents(context: EsploraContext, node: BlockNode, asked: Sequence[str]) -> Reply | None:
    block = await context.node.chain.read_block(node)
    match asked:
        case []:
            return replies.json(describe_block(node, block), FIXED)
        case ["raw"]:
            return replies.raw(block.serialize(), FIXED)
        case ["txids"]:
            return replies.json([str(transaction.txid) for transaction in block.transactions], FIXED)
        case ["txid", index]:
            place = number_of(index)
            if place >= len(block.transactions):
                raise not_found("tx index out of range")
            return replies.text(block.transactions[place].txid, FIXED)
    return None


async def _transactions(context: EsploraContext, node: BlockNode, start: str) -> Reply:
    place = number_or_none(start, 1 << 32) or 0
    if place % PAGE:
        raise bad_request(f"start index must be a multiple of {PAGE}")
    if place >= node.transactions:
        raise bad_request("start index out of range")
    seen = await context.lookups.in_block(node, place, PAGE)
    return replies.json([describe(context, found) for found in seen])

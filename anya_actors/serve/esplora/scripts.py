"""Addresses and scripthashes over Esplora."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from anya_actors.domain.bitcoin.hashes import HashError, Txid
from anya_actors.serve.bitcoin_node.http import Reply
from anya_actors.serve.esplora import replies, shapes
from anya_actors.serve.esplora.arguments import script_name
from anya_actors.serve.esplora.context import EsploraContext
from anya_actors.serve.esplora.transactions import describe
from anya_actors.services.bitcoin_node.lookups import SeenTransaction

PAGE: Final = 25
_WAITING: Final = 50


async def one(context: EsploraContext, parts: Sequence[str]) -> Reply | None:
    """``/address/ADDRESS…`` and ``/scripthash/HASH…``."""
    if len(parts) < 2:
        return None
    kind, given = parts[0], parts[1]
    name = script_name(kind, given)
    match parts[2:]:
        case []:
            chain = await context.lookups.confirmed_totals(name)
            stats = {
                kind: given,
                "chain_stats": shapes.describe_totals(chain),
                "mempool_stats": shapes.describe_totals(context.lookups.waiting_totals(name)),
            }
            return replies.json(stats)
        case ["txs"]:
            return replies.json(await _all(context, name))
        case ["txs", "mempool"]:
            return replies.json([describe(context, seen) for seen in _waiting(context, name)])
        case ["txs", "chain"]:
            return replies.json([describe(context, seen) for seen in await _history(context, name, None)])
        case ["txs", "chain", last]:
            return replies.json([describe(context, seen) for seen in await _history(context, name, last)])
        case ["utxo"]:
            unspent = context.lookups.unspent(name)
            return replies.json([shapes.describe_unspent(context.tree, *found) for found in unspent])
    return None


async def _all(context: EsploraContext, name: bytes) -> list[msgspec.Raw]:
    confirmed = await _history(context, name, None)
    # After the await: what was confirmed meanwhile waits no longer, and would be told twice before it.
    known = {seen.transaction.txid for seen in confirmed}
    waiting = [seen for seen in _waiting(context, name) if seen.transaction.txid not in known]
    return [describe(context, seen) for seen in waiting + confirmed]


def _waiting(context: EsploraContext, name: bytes) -> list[SeenTransaction]:
    newest = context.lookups.waiting(name)[::-1][:_WAITING]
    return [context.lookups.waiting_transaction(entry) for entry in newest]


async def _history(context: EsploraContext, name: bytes, last: str | None) -> list[SeenTransaction]:
    """A page of the confirmed history, newest first; after the transaction ``last`` if that is a txid."""
    try:
        after = None if last is None else Txid.from_hex(last)
    except HashError:
        after = None
    return await context.lookups.history(name, after, PAGE)

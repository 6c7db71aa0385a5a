"""The mempool and fees over Esplora."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import islice
from typing import Any, Final

from anya_actors.domain.bitcoin.fee_histogram import fee_histogram
from anya_actors.domain.bitcoin.mempool import MempoolEntry
from anya_actors.serve.bitcoin_node.http import Reply
from anya_actors.serve.esplora import replies
from anya_actors.serve.esplora.context import EsploraContext
from anya_actors.serve.esplora.shapes import describe_recent

_RECENT: Final = 10
_TARGETS: Final = (*range(1, 26), 144, 504, 1008)


async def mempool(context: EsploraContext, parts: Sequence[str]) -> Reply | None:
    """``/mempool…``."""
    pool = context.node.pool
    match parts[1:]:
        case []:
            return replies.json(_backlog(context))
        case ["txids"]:
            return replies.json([str(txid) for txid in pool.entries])
        case ["recent"]:
            newest = islice(reversed(pool.entries.values()), _RECENT)
            return replies.json([_recent(context, entry) for entry in newest])
    return None


def _backlog(context: EsploraContext) -> dict[str, Any]:
    pool = context.node.pool
    return {
        "count": len(pool),
        "vsize": pool.total_vsize,
        "total_fee": pool.total_fee_sat,
        "fee_histogram": fee_histogram((entry.fee_sat, entry.vsize) for entry in pool.entries.values()),
    }


def _recent(context: EsploraContext, entry: MempoolEntry) -> dict[str, Any]:
    seen = context.lookups.waiting_transaction(entry)
    return describe_recent(entry, sum(output.amount_sat for output in seen.spent if output is not None))


async def fee_estimates(context: EsploraContext, parts: Sequence[str]) -> Reply | None:
    """``/fee-estimates``: sat/vB by target, without the targets that have no estimate."""
    if len(parts) != 1:
        return None
    found = {}
    for target in _TARGETS:
        estimate = await context.call("estimatesmartfee", [target])
        if "feerate" in estimate:
            # Core's unit is BTC per 1,000 vB.
            found[str(target)] = float(Decimal(bytes(estimate["feerate"]).decode()) * 100_000)
    return replies.json(found)

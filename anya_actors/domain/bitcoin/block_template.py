"""Choosing transactions for the next block: whole chunks, the best paying first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from anya_actors.domain.bitcoin.block import MAX_BLOCK_WEIGHT
from anya_actors.domain.bitcoin.clusters import BestFirst
from anya_actors.domain.bitcoin.mempool import Mempool, MempoolEntry
from anya_actors.domain.bitcoin.mempool_policy import BLOCK_MIN_FEERATE_SAT_PER_KVB
from anya_actors.domain.bitcoin.sigops import MAX_BLOCK_SIGOPS_COST
from anya_actors.domain.bitcoin.transaction import WITNESS_SCALE, Transaction

RESERVED_WEIGHT: Final = 8_000
RESERVED_SIGOPS_COST: Final = 400
"""Kept for the header and the coinbase, as Core keeps them."""

_MAX_FAILURES: Final = 1_000
_FULL_ENOUGH_WEIGHT: Final = 4_000


def choose_transactions(
    pool: Mempool, is_final: Callable[[Transaction], bool] = lambda _: True
) -> list[MempoolEntry]:
    """Entries for a block, parents before children, as Core's ``BlockAssembler`` chooses them."""
    chosen: list[MempoolEntry] = []
    weight, sigops, failures = RESERVED_WEIGHT, RESERVED_SIGOPS_COST, 0
    order = BestFirst(pool.clusters)
    while (chunk := order.next()) is not None:
        if chunk.total.fee_sat * 1000 * WITNESS_SCALE < chunk.total.weight * BLOCK_MIN_FEERATE_SAT_PER_KVB:
            break
        entries = [pool.entries[txid] for txid in chunk.members]
        more_sigops = sum(entry.sigops_cost for entry in entries)
        fits = (
            weight + chunk.total.weight < MAX_BLOCK_WEIGHT
            and sigops + more_sigops < MAX_BLOCK_SIGOPS_COST
            and all(is_final(entry.transaction) for entry in entries)
        )
        if not fits:
            order.skip()
            failures += 1
            if failures > _MAX_FAILURES and weight + _FULL_ENOUGH_WEIGHT > MAX_BLOCK_WEIGHT:
                break
            continue
        failures = 0
        chosen += entries
        weight += sum(entry.transaction.weight for entry in entries)
        sigops += more_sigops
    return chosen

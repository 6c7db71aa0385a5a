"""Choosing transactions for the next block: whole packages, the best paying first."""

from __future__ import annotations

from typing import Final

from anya_actors.domain.bitcoin.block import MAX_BLOCK_WEIGHT
from anya_actors.domain.bitcoin.mempool import Mempool, MempoolEntry
from anya_actors.domain.bitcoin.sigops import MAX_BLOCK_SIGOPS_COST

RESERVED_WEIGHT: Final = 8_000
RESERVED_SIGOPS_COST: Final = 400
"""Kept for the header and the coinbase, as Core keeps them."""


def choose_transactions(pool: Mempool) -> list[MempoolEntry]:
    """Entries for a block, parents before children.

    Each transaction is weighed together with the ancestors it needs; packages enter by their
    fee rate as long as they fit. Scores are computed once, so a package whose ancestors were
    already taken may rank lower than it could: the block stays valid, only a little poorer.
    """
    packages = sorted((_package(pool, entry) for entry in pool.entries.values()), key=_rank)
    chosen: dict[bytes, MempoolEntry] = {}
    weight, sigops = RESERVED_WEIGHT, RESERVED_SIGOPS_COST
    for package in packages:
        fresh = [entry for entry in package if entry.txid not in chosen]
        more_weight = sum(entry.transaction.weight for entry in fresh)
        more_sigops = sum(entry.sigops_cost for entry in fresh)
        if weight + more_weight > MAX_BLOCK_WEIGHT or sigops + more_sigops > MAX_BLOCK_SIGOPS_COST:
            continue
        weight, sigops = weight + more_weight, sigops + more_sigops
        chosen.update((entry.txid, entry) for entry in fresh)
    return list(chosen.values())


def _package(pool: Mempool, entry: MempoolEntry) -> list[MempoolEntry]:
    ancestors = [pool.entries[txid] for txid in pool.ancestors(entry.transaction)]
    # Fewer ancestors of its own: earlier in every order that puts parents first.
    ancestors.sort(key=lambda found: (len(pool.ancestors(found.transaction)), found.txid))
    return [*ancestors, entry]


def _rank(package: list[MempoolEntry]) -> tuple[float, bytes]:
    fee_sat = sum(entry.fee_sat for entry in package)
    vsize = sum(entry.vsize for entry in package)
    return (-fee_sat / vsize, package[-1].txid)

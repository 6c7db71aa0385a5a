"""Replacing waiting transactions: BIP125 as Bitcoin Core 31 has it.

Signalling is no longer asked for, nor that inputs be confirmed. What remains: the replacement
pays at least what all evicted ones paid (rule 3) and for its own relay on top (rule 4), touches
at most 100 clusters (rule 5), and makes the mempool's fee diagram better.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from anya_actors.domain.bitcoin.candidate import Candidate, Change
from anya_actors.domain.bitcoin.errors import RejectedPackageError, RejectedTransactionError
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.linearization import improves
from anya_actors.domain.bitcoin.mempool import Mempool
from anya_actors.domain.bitcoin.mempool_policy import MempoolPolicy, fee_at_rate, format_money

MAX_REPLACED_CLUSTERS: Final = 100
TOO_LARGE_CLUSTER: Final = "too-large-cluster"
NOT_BETTER: Final = "insufficient feerate: does not improve feerate diagram"


def verify_replacement(pool: Mempool, candidate: Candidate, policy: MempoolPolicy) -> set[Txid]:
    """The waiting transactions that go if it comes; raises `RejectedTransactionError`."""
    note = " (including sibling eviction)" if candidate.evicts_sibling else ""
    detail = _too_many(pool, candidate.conflicts, candidate.txid)
    if detail:
        raise RejectedTransactionError(f"too many potential replacements{note}", detail)
    evicted = pool.with_descendants(candidate.conflicts)
    detail = _pays_too_little(
        candidate.txid, candidate.modified_fee_sat, candidate.vsize, _fees_sat(pool, evicted), policy
    )
    if detail:
        raise RejectedTransactionError(f"insufficient fee{note}", detail, is_reconsiderable=True)
    change = Change(pool, [candidate], evicted)
    if change.exceeds(policy):
        raise RejectedTransactionError(TOO_LARGE_CLUSTER)
    if not improves(change.chunks_after(), change.chunks_before()):
        raise RejectedTransactionError("replacement-failed", NOT_BETTER, is_reconsiderable=True)
    return evicted


def verify_package_replacement(
    pool: Mempool, candidates: Sequence[Candidate], policy: MempoolPolicy
) -> set[Txid]:
    """The same for a parent and its child together; raises `RejectedPackageError`."""
    if len(candidates) != 2:
        raise RejectedPackageError("package RBF failed: package must be 1-parent-1-child")
    if any(candidate.parents for candidate in candidates):
        raise RejectedPackageError("package RBF failed: new transaction cannot have mempool ancestors")
    parent, child = candidates
    conflicts = parent.conflicts | child.conflicts
    detail = _too_many(pool, conflicts, child.txid)
    if detail:
        raise RejectedPackageError("package RBF failed: too many potential replacements", detail)
    evicted = pool.with_descendants(conflicts)
    fee_sat, vsize = parent.modified_fee_sat + child.modified_fee_sat, parent.vsize + child.vsize
    detail = _pays_too_little(child.txid, fee_sat, vsize, _fees_sat(pool, evicted), policy)
    if detail:
        raise RejectedPackageError("package RBF failed: insufficient anti-DoS fees", detail)
    if fee_sat * parent.vsize <= parent.modified_fee_sat * vsize:
        # The two must be mined together, or the child pays for relay alone.
        detail = (
            f"package feerate {_feerate_text(fee_sat, vsize)} <= "
            f"parent feerate is {_feerate_text(parent.modified_fee_sat, parent.vsize)}"
        )
        text = "package RBF failed: package feerate is less than or equal to parent feerate"
        raise RejectedPackageError(text, detail)
    change = Change(pool, candidates, evicted)
    if change.exceeds(policy):
        raise RejectedPackageError(TOO_LARGE_CLUSTER)
    if not improves(change.chunks_after(), change.chunks_before()):
        raise RejectedPackageError(f"package RBF failed: {NOT_BETTER}")
    return evicted


def verify_not_spending_conflicts(pool: Mempool, candidate: Candidate) -> None:
    """Raise for a transaction that spends from one that it would replace."""
    for txid in sorted(pool.ancestors(candidate.transaction) & candidate.conflicts):
        detail = f"{candidate.txid} spends conflicting transaction {txid}"
        raise RejectedTransactionError("bad-txns-spends-conflicting-tx", detail)


def _too_many(pool: Mempool, conflicts: Collection[Txid], txid: Txid) -> str:
    clusters = {id(pool.clusters.cluster(conflict)) for conflict in conflicts}
    if len(clusters) <= MAX_REPLACED_CLUSTERS:
        return ""
    numbers = f"({len(clusters)} > {MAX_REPLACED_CLUSTERS})"
    return f"rejecting replacement {txid}; too many conflicting clusters {numbers}"


def _fees_sat(pool: Mempool, txids: Collection[Txid]) -> int:
    return sum(pool.modified_fee_sat(pool.entries[txid]) for txid in txids)


def _pays_too_little(txid: Txid, fee_sat: int, vsize: int, replaced_sat: int, policy: MempoolPolicy) -> str:
    if fee_sat < replaced_sat:
        amounts = f"{format_money(fee_sat)} < {format_money(replaced_sat)}"
        return f"rejecting replacement {txid}, less fees than conflicting txs; {amounts}"
    relay_sat = fee_at_rate(vsize, policy.incremental_feerate_sat_per_kvb)
    if fee_sat - replaced_sat < relay_sat:
        amounts = f"{format_money(fee_sat - replaced_sat)} < {format_money(relay_sat)}"
        return f"rejecting replacement {txid}, not enough additional fees to relay; {amounts}"
    return ""


def _feerate_text(fee_sat: int, vsize: int) -> str:
    rate = fee_sat * 1000 // vsize
    return f"{rate // 100_000_000}.{rate % 100_000_000:08d} BTC/kvB"

"""Transactions of version 3: topologically restricted until confirmation (BIP431)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from anya_actors.domain.bitcoin.candidate import Candidate, name_of
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.mempool import Mempool
from anya_actors.domain.bitcoin.transaction import Transaction

TRUC_VERSION: Final = 3
MAX_TRUC_VSIZE: Final = 10_000
MAX_TRUC_CHILD_VSIZE: Final = 1_000
_MAX_RELATIVES: Final = 2
"""A parent and its child, itself counted: no more ancestors, no more descendants."""


@dataclass(frozen=True, slots=True)
class TrucViolation:
    """A broken rule, in Core's words. ``sibling`` may be evicted instead, by the rules of replacement."""

    detail: str
    sibling: Txid | None = None


def truc_violation(pool: Mempool, candidate: Candidate) -> TrucViolation | None:
    """Why a transaction may not stand beside its waiting parents, if it may not."""
    transaction = candidate.transaction
    parents = [pool.entries[txid].transaction for txid in sorted(candidate.parents)]
    detail = _mixed_versions(transaction, parents)
    if detail is None and transaction.version == TRUC_VERSION:
        detail = _too_large(candidate, MAX_TRUC_VSIZE, "tx")
        if detail is None and parents:
            detail = _too_deep(pool, transaction, parents, 0)
            detail = detail or _too_large(candidate, MAX_TRUC_CHILD_VSIZE, "child tx")
            if detail is None:
                return _second_child(pool, candidate, parents[0])
    return TrucViolation(detail) if detail else None


def _mixed_versions(transaction: Transaction, parents: Sequence[Transaction]) -> str | None:
    is_truc = transaction.version == TRUC_VERSION
    for parent in parents:
        if is_truc != (parent.version == TRUC_VERSION):
            ours, theirs = ("", "non-") if is_truc else ("non-", "")
            return (
                f"{ours}version=3 tx {name_of(transaction)} cannot spend from "
                f"{theirs}version=3 tx {name_of(parent)}"
            )
    return None


def _too_large(candidate: Candidate, limit: int, what: str) -> str | None:
    if candidate.vsize <= limit:
        return None
    sizes = f"{candidate.vsize} > {limit} virtual bytes"
    return f"version=3 {what} {name_of(candidate.transaction)} is too big: {sizes}"


def _too_deep(
    pool: Mempool, transaction: Transaction, waiting: Sequence[Transaction], in_package: int
) -> str | None:
    relatives = len(waiting) + in_package + 1
    if waiting:
        relatives = max(relatives, len(pool.ancestors(waiting[0])) + 1 + in_package + 1)
    return f"tx {name_of(transaction)} would have too many ancestors" if relatives > _MAX_RELATIVES else None


def _second_child(pool: Mempool, candidate: Candidate, parent: Transaction) -> TrucViolation | None:
    others = pool.descendants(parent.txid)
    if not others or others & candidate.conflicts:
        return None
    # More than one, or one with more ancestors, can only stem from a reorganisation.
    sibling = next(iter(others)) if len(others) == 1 else None
    if sibling is not None and len(pool.ancestors(pool.entries[sibling].transaction)) + 1 != _MAX_RELATIVES:
        sibling = None
    return TrucViolation(f"tx {name_of(parent)} would exceed descendant count limit", sibling)


def truc_violation_in_package(
    pool: Mempool, candidate: Candidate, package: Sequence[Candidate]
) -> str | None:
    """Why a transaction may not stand in its package, parents first, if it may not."""
    transaction = candidate.transaction
    spent = {tx_input.prevout.txid for tx_input in transaction.inputs}
    before = package[: package.index(candidate)]
    inside = [other.transaction for other in before if other.txid in spent]
    waiting = [pool.entries[txid].transaction for txid in sorted(candidate.parents)]
    if transaction.version != TRUC_VERSION:
        return _mixed_versions(transaction, (*waiting, *inside))
    detail = _too_deep(pool, transaction, waiting, len(inside))
    if detail is None and (waiting or inside):
        (parent,) = (*waiting, *inside)
        detail = _too_large(candidate, MAX_TRUC_CHILD_VSIZE, "child tx")
        detail = detail or _mixed_versions(transaction, [parent])
        detail = detail or _third_relative(transaction, parent, package)
        if detail is None and waiting and pool.descendants(parent.txid):
            detail = f"tx {name_of(parent)} would exceed descendant count limit"
    return detail


def _third_relative(
    transaction: Transaction, parent: Transaction, package: Sequence[Candidate]
) -> str | None:
    for other in package:
        if other.transaction is transaction:
            continue
        for tx_input in other.transaction.inputs:
            if tx_input.prevout.txid == parent.txid:
                return f"tx {name_of(parent)} would exceed descendant count limit"
            if tx_input.prevout.txid == transaction.txid:
                return f"tx {name_of(other.transaction)} would have too many ancestors"
    return None

"""Transactions that wait for a block, with who spends whom. Rules are in ``mempool_policy``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxOutput

MEMPOOL_EXPIRY_MS: Final = 336 * 3600 * 1000


class MempoolEntry(msgspec.Struct, frozen=True):
    """One waiting transaction. ``height`` is that of the tip when it came."""

    transaction: Transaction
    fee_sat: int
    entered_unix_ms: int
    height: int
    sigops_cost: int = 0

    @property
    def txid(self) -> Txid:
        return self.transaction.txid

    @property
    def vsize(self) -> int:
        return self.transaction.vsize


class Mempool:
    """A set of transactions without conflicts, whose every input is a coin or an output in it."""

    def __init__(self) -> None:
        self.entries: dict[Txid, MempoolEntry] = {}
        self.spends: dict[Outpoint, Txid] = {}
        self._children: dict[Txid, set[Txid]] = {}
        self.total_vsize = 0
        self.total_fee_sat = 0
        self.sequence = 1

    def __contains__(self, txid: Txid) -> bool:
        return txid in self.entries

    def __len__(self) -> int:
        return len(self.entries)

    def output(self, outpoint: Outpoint) -> TxOutput | None:
        """The output of a waiting transaction, spent or not."""
        entry = self.entries.get(outpoint.txid)
        if entry is None or outpoint.index >= len(entry.transaction.outputs):
            return None
        return entry.transaction.outputs[outpoint.index]

    def conflicts(self, transaction: Transaction) -> list[Txid]:
        """Waiting transactions that spend what this one spends."""
        found = {self.spends.get(tx_input.prevout) for tx_input in transaction.inputs}
        return sorted(txid for txid in found if txid is not None and txid != transaction.txid)

    def parents(self, transaction: Transaction) -> set[Txid]:
        """The waiting transactions whose outputs this one spends."""
        return {
            tx_input.prevout.txid for tx_input in transaction.inputs if tx_input.prevout.txid in self.entries
        }

    def children(self, txid: Txid) -> set[Txid]:
        return set(self._children.get(txid, ()))

    def ancestors(self, transaction: Transaction) -> set[Txid]:
        """All waiting transactions it depends on, itself left out."""
        found: set[Txid] = set()
        ahead = list(self.parents(transaction))
        while ahead:
            txid = ahead.pop()
            if txid not in found:
                found.add(txid)
                ahead += self.parents(self.entries[txid].transaction)
        return found

    def descendants(self, txid: Txid) -> set[Txid]:
        """All waiting transactions that depend on it, itself left out."""
        found: set[Txid] = set()
        ahead = list(self._children.get(txid, ()))
        while ahead:
            child = ahead.pop()
            if child not in found:
                found.add(child)
                ahead += self._children.get(child, ())
        return found

    def add(self, entry: MempoolEntry) -> None:
        """Take a transaction that has been found acceptable."""
        txid = entry.txid
        self.entries[txid] = entry
        for tx_input in entry.transaction.inputs:
            self.spends[tx_input.prevout] = txid
            if tx_input.prevout.txid in self.entries:
                self._children.setdefault(tx_input.prevout.txid, set()).add(txid)
        self.total_vsize += entry.vsize
        self.total_fee_sat += entry.fee_sat
        self.sequence += 1

    def _remove(self, txid: Txid) -> None:
        entry = self.entries.pop(txid)
        for tx_input in entry.transaction.inputs:
            del self.spends[tx_input.prevout]
            self._children.get(tx_input.prevout.txid, set()).discard(txid)
        self._children.pop(txid, None)
        self.total_vsize -= entry.vsize
        self.total_fee_sat -= entry.fee_sat
        self.sequence += 1

    def remove_with_descendants(self, txid: Txid) -> list[MempoolEntry]:
        """Drop a transaction and all that depend on it; those dropped, parents first."""
        doomed = {txid, *self.descendants(txid)}
        gone = [found for found in self.entries if found in doomed]
        entries = [self.entries[found] for found in gone]
        for found in reversed(gone):
            self._remove(found)
        return entries

    def remove_for_block(self, transactions: Iterable[Transaction]) -> list[MempoolEntry]:
        """Drop what a block confirmed; drop and return whatever conflicts with it."""
        conflicting: list[MempoolEntry] = []
        for transaction in transactions:
            if transaction.txid in self.entries:
                self._remove(transaction.txid)
            for conflict in self.conflicts(transaction):
                if conflict in self.entries:
                    conflicting += self.remove_with_descendants(conflict)
        return conflicting

    def clear(self) -> list[MempoolEntry]:
        """Empty it; what was in it, parents first."""
        entries = list(self.entries.values())
        for txid in reversed(list(self.entries)):
            self._remove(txid)
        return entries

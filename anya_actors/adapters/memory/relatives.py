"""Who descends from whom among waiting transactions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.transaction import Transaction

Mempool = Mapping[Txid, Transaction]


def ancestors(mempool: Mempool, txid: Txid) -> list[Transaction]:
    """The transaction and all that it depends on."""
    return _reach(mempool, txid, lambda one: {spent.prevout.txid for spent in mempool[one].inputs})


def descendants(mempool: Mempool, txid: Txid) -> list[Transaction]:
    """The transaction and all that depend on it."""

    def children(one: Txid) -> set[Txid]:
        return {
            other
            for other, transaction in mempool.items()
            if any(spent.prevout.txid == one for spent in transaction.inputs)
        }

    return _reach(mempool, txid, children)


def _reach(mempool: Mempool, txid: Txid, step: Callable[[Txid], set[Txid]]) -> list[Transaction]:
    found, ahead = {txid}, [txid]
    while ahead:
        fresh = (step(ahead.pop()) & mempool.keys()) - found
        found |= fresh
        ahead += fresh
    return [mempool[one] for one in sorted(found)]

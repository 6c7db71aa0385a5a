"""Ephemeral dust: an output not worth spending, in a transaction without fee whose child spends it."""

from __future__ import annotations

from collections.abc import Sequence

from anya_actors.domain.bitcoin.candidate import Candidate, name_of
from anya_actors.domain.bitcoin.errors import RejectedTransactionError
from anya_actors.domain.bitcoin.mempool import Mempool
from anya_actors.domain.bitcoin.standardness import dust_outputs
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction


def verify_dust_pays_nothing(candidate: Candidate, dust_feerate_sat_per_kvb: int) -> None:
    """Raise if a transaction with dust pays a fee: it must be worth nothing to mine it alone."""
    pays = candidate.entry.fee_sat or candidate.modified_fee_sat
    if pays and dust_outputs(candidate.transaction, dust_feerate_sat_per_kvb):
        raise RejectedTransactionError("dust", "tx with dust output must be 0-fee")


def find_unspent_dust(
    pool: Mempool, package: Sequence[Transaction], dust_feerate_sat_per_kvb: int
) -> tuple[Transaction, RejectedTransactionError] | None:
    """The first of these that spends from a parent but not its dust, with the error about it."""
    together = {transaction.txid: transaction for transaction in package}
    for transaction in package:
        spent = {tx_input.prevout for tx_input in transaction.inputs}
        for txid in {prevout.txid for prevout in spent}:
            waiting = pool.entries.get(txid)
            parent = together.get(txid) or (waiting.transaction if waiting is not None else None)
            if parent is None:
                continue
            dust = {Outpoint(txid, place) for place in dust_outputs(parent, dust_feerate_sat_per_kvb)}
            if dust - spent:
                detail = f"tx {name_of(transaction)} did not spend parent's ephemeral dust"
                return transaction, RejectedTransactionError("missing-ephemeral-spends", detail)
    return None

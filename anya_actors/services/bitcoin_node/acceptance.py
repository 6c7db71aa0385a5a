"""Whether a transaction may enter the mempool. Order of checks and reasons are Bitcoin Core's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from anya_actors.domain.bitcoin.amount import MAX_MONEY_SAT
from anya_actors.domain.bitcoin.coin import Coin
from anya_actors.domain.bitcoin.errors import RejectedTransactionError
from anya_actors.domain.bitcoin.hashes import Wtxid
from anya_actors.domain.bitcoin.lock_times import is_final, meets_sequence_locks
from anya_actors.domain.bitcoin.mempool import Mempool, MempoolEntry
from anya_actors.domain.bitcoin.mempool_policy import (
    MAX_CHAIN,
    MAX_CHAIN_VSIZE,
    MAX_STANDARD_SIGOPS_COST,
    verify_fee,
    verify_standard,
    verify_standard_inputs,
)
from anya_actors.domain.bitcoin.sigops import sigops_cost
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction
from anya_actors.domain.bitcoin.transaction_rules import verify_transaction
from anya_actors.services.bitcoin_node.chain import Chain

ALREADY_IN_MEMPOOL: Final = "txn-already-in-mempool"
ALREADY_CONFIRMED: Final = "txn-already-known"
MISSING_INPUTS: Final = "bad-txns-inputs-missingorspent"

_REMEMBERED_SCRIPTS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Terms:
    """What is waived for transactions that were accepted before: standardness and fee."""

    entered_unix_ms: int
    is_return: bool = False


class Acceptance:
    """Judges transactions against the chain and the mempool, changing neither."""

    def __init__(self, chain: Chain, pool: Mempool) -> None:
        self._chain = chain
        self._pool = pool
        # A txid fixes the outputs that are spent, so a witness once found valid stays valid.
        self._verified: dict[Wtxid, None] = {}

    async def judge(self, transaction: Transaction, terms: Terms) -> MempoolEntry:
        """The entry it would become; raises `RejectedTransactionError`."""
        self._verify_alone(transaction, terms)
        self._verify_unknown(transaction)
        coins = self._coins(transaction)
        height = self._chain.tip.height + 1
        self._verify_sequence_locks(transaction, coins, height)
        fee_sat = _verify_amounts(transaction, coins, height)
        spent = [coin.output for coin in coins]
        cost = sigops_cost(transaction, spent)
        if not terms.is_return:
            verify_standard_inputs(transaction, spent)
            if cost > MAX_STANDARD_SIGOPS_COST:
                raise RejectedTransactionError("bad-txns-too-many-sigops", str(cost))
            verify_fee(transaction, fee_sat)
        self._verify_chain_limits(transaction)
        if transaction.wtxid not in self._verified:
            await self._chain.verify_scripts(transaction, spent)
            self._remember(transaction.wtxid)
        return MempoolEntry(transaction, fee_sat, terms.entered_unix_ms, height - 1, cost)

    def _remember(self, wtxid: Wtxid) -> None:
        self._verified[wtxid] = None
        while len(self._verified) > _REMEMBERED_SCRIPTS:
            del self._verified[next(iter(self._verified))]

    def _verify_alone(self, transaction: Transaction, terms: Terms) -> None:
        verify_transaction(transaction)
        if transaction.is_coinbase:
            raise RejectedTransactionError("coinbase")
        if not terms.is_return:
            verify_standard(transaction)
        tip = self._chain.tip
        if not is_final(transaction, tip.height + 1, tip.median_time_past_s()):
            raise RejectedTransactionError("non-final")

    def _verify_unknown(self, transaction: Transaction) -> None:
        waiting = self._pool.entries.get(transaction.txid)
        if waiting is not None:
            same = waiting.transaction.wtxid == transaction.wtxid
            raise RejectedTransactionError(
                ALREADY_IN_MEMPOOL if same else "txn-same-nonwitness-data-in-mempool"
            )
        if self._pool.conflicts(transaction):
            raise RejectedTransactionError("txn-mempool-conflict")

    def _coins(self, transaction: Transaction) -> list[Coin]:
        coins = [self.coin(tx_input.prevout) for tx_input in transaction.inputs]
        found = [coin for coin in coins if coin is not None]
        if len(found) == len(coins):
            return found
        outputs = (Outpoint(transaction.txid, index) for index in range(len(transaction.outputs)))
        if any(self._chain.index.coin(outpoint) for outpoint in outputs):
            raise RejectedTransactionError(ALREADY_CONFIRMED)
        raise RejectedTransactionError(MISSING_INPUTS)

    def coin(self, outpoint: Outpoint) -> Coin | None:
        """The coin of an output, confirmed or waiting; a waiting one has the next height."""
        coin = self._chain.index.coin(outpoint)
        if coin is not None:
            return coin
        output = self._pool.output(outpoint)
        if output is None:
            return None
        return Coin(output.amount_sat, output.script_pubkey, self._chain.tip.height + 1, False)

    def _verify_sequence_locks(self, transaction: Transaction, coins: list[Coin], height: int) -> None:
        active = self._chain.tree.active
        passed = meets_sequence_locks(
            transaction,
            [coin.height for coin in coins],
            height,
            self._chain.tip.median_time_past_s(),
            lambda at: active[min(at, len(active) - 1)].median_time_past_s(),
        )
        if not passed:
            raise RejectedTransactionError("non-BIP68-final")

    def _verify_chain_limits(self, transaction: Transaction) -> None:
        ancestors = self._pool.ancestors(transaction)
        if len(ancestors) + 1 > MAX_CHAIN:
            raise RejectedTransactionError("too-long-mempool-chain", "too many unconfirmed ancestors")
        vsize = transaction.vsize + sum(self._pool.entries[txid].vsize for txid in ancestors)
        if vsize > MAX_CHAIN_VSIZE:
            raise RejectedTransactionError("too-long-mempool-chain", "exceeds ancestor size limit")
        for txid in ancestors:
            if len(self._pool.descendants(txid)) + 2 > MAX_CHAIN:
                raise RejectedTransactionError("too-long-mempool-chain", "too many descendants")


def _verify_amounts(transaction: Transaction, coins: list[Coin], height: int) -> int:
    """The fee; raises for immature coins and for amounts that do not add up."""
    for coin in coins:
        if not coin.is_mature_at(height):
            detail = f"tried to spend coinbase at depth {height - coin.height}"
            raise RejectedTransactionError("bad-txns-premature-spend-of-coinbase", detail)
    paid_in = sum(coin.amount_sat for coin in coins)
    paid_out = sum(output.amount_sat for output in transaction.outputs)
    if paid_in > MAX_MONEY_SAT:
        raise RejectedTransactionError("bad-txns-inputvalues-outofrange")
    if paid_in < paid_out:
        raise RejectedTransactionError("bad-txns-in-belowout", f"value in {paid_in} < value out {paid_out}")
    return paid_in - paid_out

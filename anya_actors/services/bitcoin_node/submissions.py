"""Taking what people submit into the mempool, one transaction or a package at a time."""

from __future__ import annotations

from collections.abc import Sequence

from anya_actors.domain.bitcoin.errors import RejectedTransactionError
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.mempool_policy import fee_at_rate
from anya_actors.domain.bitcoin.transaction import Transaction
from anya_actors.domain.machine import AnyaError
from anya_actors.services.bitcoin_node.acceptance import ALREADY_CONFIRMED, TRANSACTION_FAILED
from anya_actors.services.bitcoin_node.package_submission import (
    PackageResult,
    PackageSubmission,
    Refused,
    entered,
)
from anya_actors.services.bitcoin_node.waiting import MEMPOOL_FULL, WaitingTransactions


class FeeTooHighError(AnyaError):
    """The sender's own limit for the fee is exceeded."""

    code = "fee-too-high"
    message = "the fee of {} sat is over the limit of {} sat"
    remedy = "Lower the fee, or raise the limit (maxfeerate)."

    def __init__(self, fee_sat: int, limit_sat: int) -> None:
        super().__init__(fee_sat, limit_sat)


class Submissions:
    """Submitting and testing. Callers take turns."""

    def __init__(self, waiting: WaitingTransactions) -> None:
        self._waiting = waiting

    async def test(self, transactions: Sequence[Transaction]) -> PackageResult:
        """What submitting them would give; several are judged as one package."""
        terms = self._waiting.terms()
        if len(transactions) != 1:
            return await PackageSubmission(self._waiting, terms).test(transactions)
        (transaction,) = transactions
        try:
            accepted = await self._waiting.acceptance.judge(transaction, terms)
        except RejectedTransactionError as error:
            return PackageResult(TRANSACTION_FAILED, results={transaction.wtxid: Refused(error)})
        return PackageResult(results={transaction.wtxid: entered(accepted.candidates[0], accepted)})

    async def take(self, transaction: Transaction, max_feerate_sat_per_kvb: int | None) -> Txid:
        """Take one, as Core's ``BroadcastTransaction``.

        Raises `RejectedTransactionError` or `FeeTooHighError`.
        """
        if self._waiting.acceptance.is_confirmed(transaction):
            raise RejectedTransactionError(ALREADY_CONFIRMED)
        if transaction.txid in self._waiting.pool:
            return transaction.txid
        accepted = await self._waiting.acceptance.judge(transaction, self._waiting.terms())
        if max_feerate_sat_per_kvb:
            limit_sat = fee_at_rate(transaction.vsize, max_feerate_sat_per_kvb)
            fee_sat = accepted.candidates[0].entry.fee_sat
            if fee_sat > limit_sat:
                raise FeeTooHighError(fee_sat, limit_sat)
        await self._waiting.enter(accepted, is_alone=True)
        await self._waiting.limit()
        if transaction.txid not in self._waiting.pool:
            raise RejectedTransactionError(MEMPOOL_FULL, is_reconsiderable=True)
        return transaction.txid

    async def take_package(
        self, package: Sequence[Transaction], max_feerate_sat_per_kvb: int | None
    ) -> PackageResult:
        """Take a child with its parents as far as they may enter."""
        terms = self._waiting.terms(max_feerate_sat_per_kvb)
        return await PackageSubmission(self._waiting, terms).submit(package)

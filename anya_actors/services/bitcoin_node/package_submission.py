"""Submitting and testing several transactions at once, as Core's ``ProcessNewPackage`` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from anya_actors.domain.bitcoin.candidate import Candidate
from anya_actors.domain.bitcoin.errors import RejectedPackageError, RejectedTransactionError
from anya_actors.domain.bitcoin.hashes import Txid, Wtxid
from anya_actors.domain.bitcoin.mempool_policy import feerate_of
from anya_actors.domain.bitcoin.packages import is_child_with_parents, verify_package
from anya_actors.domain.bitcoin.transaction import Transaction
from anya_actors.services.bitcoin_node.acceptance import (
    MISSING_INPUTS,
    TRANSACTION_FAILED,
    Accepted,
    PackageFailedError,
    Terms,
)
from anya_actors.services.bitcoin_node.waiting import MEMPOOL_FULL, WaitingTransactions


@dataclass(frozen=True, slots=True)
class Entered:
    """A transaction that entered, or would; its feerate may be that of its package."""

    vsize: int
    fee_sat: int
    effective_feerate_sat_per_kvb: int
    effective_includes: tuple[Wtxid, ...]
    replaced: tuple[Txid, ...] = ()


@dataclass(frozen=True, slots=True)
class WaitsAlready:
    """A transaction that was in the mempool before."""

    vsize: int
    fee_sat: int


@dataclass(frozen=True, slots=True)
class OtherWitness:
    """The mempool holds the same transaction with another witness."""

    wtxid: Wtxid


@dataclass(frozen=True, slots=True)
class Refused:
    """A transaction that may not enter."""

    error: RejectedTransactionError


Result = Entered | WaitsAlready | OtherWitness | Refused


@dataclass(slots=True)
class PackageResult:
    """What became of a package. ``error`` is Core's text; ``is_policy``: about the package as such."""

    error: str = ""
    is_policy: bool = False
    results: dict[Wtxid, Result] = field(default_factory=dict)


def entered(candidate: Candidate, accepted: Accepted) -> Entered:
    """The result of one that came alone."""
    return Entered(
        candidate.vsize,
        candidate.entry.fee_sat,
        feerate_of(candidate.modified_fee_sat, candidate.vsize),
        (candidate.wtxid,),
        tuple(sorted(accepted.replaced)),
    )


class PackageSubmission:
    """One package on its way into the mempool. Callers take turns."""

    def __init__(self, waiting: WaitingTransactions, terms: Terms) -> None:
        self._waiting = waiting
        self._pool = waiting.pool
        self._acceptance = waiting.acceptance
        self._terms = terms

    async def test(self, package: Sequence[Transaction]) -> PackageResult:
        """What would become of each, changing nothing; none may replace a waiting one."""
        terms = replace(self._terms, may_replace=False, may_evict_sibling=False)
        outcome = PackageResult()
        try:
            accepted = self._acceptance.judge_together(package, terms)
            await self._verify_scripts(accepted, terms, outcome)
        except RejectedPackageError as error:
            outcome.error, outcome.is_policy = error.text, True
        except PackageFailedError as error:
            self._note_failure(package, error, outcome)
        return outcome

    async def _verify_scripts(self, accepted: Accepted, terms: Terms, outcome: PackageResult) -> None:
        for candidate in accepted.candidates:
            try:
                await self._acceptance.verify_scripts(candidate, terms)
            except RejectedTransactionError as error:
                outcome.error = TRANSACTION_FAILED
                outcome.results[candidate.wtxid] = Refused(error)
                return
            outcome.results[candidate.wtxid] = self._entered_with(candidate, accepted, terms)

    @staticmethod
    def _entered_with(candidate: Candidate, accepted: Accepted, terms: Terms) -> Entered:
        result = entered(candidate, accepted)
        if terms.fee_is_shared:
            fee_sat = sum(found.modified_fee_sat for found in accepted.candidates)
            rate = feerate_of(fee_sat, sum(found.vsize for found in accepted.candidates))
            together = tuple(found.wtxid for found in accepted.candidates)
            result = replace(result, effective_feerate_sat_per_kvb=rate, effective_includes=together)
        return result

    @staticmethod
    def _note_failure(
        package: Sequence[Transaction], error: PackageFailedError, outcome: PackageResult
    ) -> None:
        outcome.error = error.reason
        for transaction in package:
            if str(transaction.wtxid) == error.wtxid:
                outcome.results[transaction.wtxid] = Refused(error.error)

    async def submit(self, package: Sequence[Transaction]) -> PackageResult:
        """Take each that may enter alone, then the rest together; what then fits stays."""
        outcome = PackageResult()
        try:
            verify_package(package)
        except RejectedPackageError as error:
            return PackageResult(error.text, is_policy=True)
        if len(package) > 1 and not is_child_with_parents(package):
            return PackageResult("package-not-child-with-parents", is_policy=True)
        alone: dict[Wtxid, Refused] = {}
        again: list[Transaction] = []
        for transaction in package:
            result = self._known(transaction) or await self._submit_alone(transaction)
            if not isinstance(result, Refused):
                outcome.results[transaction.wtxid] = result
                continue
            alone[transaction.wtxid] = result
            may_change = result.error.is_reconsiderable or result.error.reason == MISSING_INPUTS
            if len(package) == 1 or not may_change:
                outcome.error = TRANSACTION_FAILED
            else:
                again.append(transaction)
        if again and not outcome.error:
            await self._submit_again(again, outcome)
        await self._waiting.limit()
        self._conclude(package, alone, outcome)
        return outcome

    def _known(self, transaction: Transaction) -> Result | None:
        entry = self._pool.entries.get(transaction.txid)
        if entry is None:
            return None
        if entry.transaction.wtxid == transaction.wtxid:
            return WaitsAlready(entry.vsize, entry.fee_sat)
        return OtherWitness(entry.transaction.wtxid)

    async def _submit_alone(self, transaction: Transaction) -> Result:
        try:
            accepted = await self._acceptance.judge(transaction, self._terms)
        except RejectedTransactionError as error:
            return Refused(error)
        await self._waiting.enter(accepted)
        return entered(accepted.candidates[0], accepted)

    async def _submit_again(self, package: Sequence[Transaction], outcome: PackageResult) -> None:
        if len(package) == 1:
            result = await self._submit_alone(package[0])
            outcome.results[package[0].wtxid] = result
            outcome.error = TRANSACTION_FAILED if isinstance(result, Refused) else ""
            return
        terms = replace(self._terms, fee_is_shared=True, may_evict_sibling=False)
        fresh = PackageResult()
        try:
            accepted = self._acceptance.judge_together(package, terms)
            await self._verify_scripts(accepted, terms, fresh)
        except RejectedPackageError as error:
            outcome.error, outcome.is_policy = error.text, True
            return
        except PackageFailedError as error:
            self._note_failure(package, error, fresh)
        if fresh.error:
            fresh.results = {
                name: found for name, found in fresh.results.items() if isinstance(found, Refused)
            }
        else:
            await self._waiting.enter(accepted)
        outcome.error = fresh.error
        outcome.results |= fresh.results

    def _conclude(
        self, package: Sequence[Transaction], alone: dict[Wtxid, Refused], outcome: PackageResult
    ) -> None:
        """Say of those that were evicted at once that they are not in; fill in what failed alone."""
        for transaction in package:
            result = outcome.results.get(transaction.wtxid)
            if result is None:
                if transaction.wtxid in alone:
                    outcome.results[transaction.wtxid] = alone[transaction.wtxid]
            elif not isinstance(result, Refused) and transaction.txid not in self._pool:
                outcome.error, outcome.is_policy = TRANSACTION_FAILED, False
                outcome.results[transaction.wtxid] = Refused(RejectedTransactionError(MEMPOOL_FULL))

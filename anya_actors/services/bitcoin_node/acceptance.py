"""Whether transactions may enter the mempool. Order of checks and reasons are Bitcoin Core's.

``MemPoolAccept`` of Core's ``validation.cpp``: cheap checks first, scripts last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from anya_actors.domain.bitcoin.candidate import Candidate, Change
from anya_actors.domain.bitcoin.coin import Coin
from anya_actors.domain.bitcoin.ephemeral import find_unspent_dust, verify_dust_pays_nothing
from anya_actors.domain.bitcoin.errors import RejectedPackageError, RejectedTransactionError
from anya_actors.domain.bitcoin.hashes import Txid, Wtxid
from anya_actors.domain.bitcoin.lock_times import is_final, meets_sequence_locks
from anya_actors.domain.bitcoin.mempool import Mempool, MempoolEntry
from anya_actors.domain.bitcoin.mempool_policy import (
    MAX_STANDARD_SIGOPS_COST,
    MempoolPolicy,
    fee_at_rate,
)
from anya_actors.domain.bitcoin.packages import verify_package
from anya_actors.domain.bitcoin.replacement import (
    TOO_LARGE_CLUSTER,
    verify_not_spending_conflicts,
    verify_package_replacement,
    verify_replacement,
)
from anya_actors.domain.bitcoin.script_policy import doubtful_inputs, verify_standard_scripts
from anya_actors.domain.bitcoin.sigops import sigops_cost
from anya_actors.domain.bitcoin.standardness import (
    verify_standard,
    verify_standard_inputs,
    verify_standard_witness,
)
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxOutput
from anya_actors.domain.bitcoin.transaction_rules import verify_amounts, verify_transaction
from anya_actors.domain.bitcoin.truc import truc_violation, truc_violation_in_package
from anya_actors.domain.machine import AnyaError
from anya_actors.services.bitcoin_node.chain import Chain

ALREADY_IN_MEMPOOL: Final = "txn-already-in-mempool"
SAME_BUT_FOR_WITNESS: Final = "txn-same-nonwitness-data-in-mempool"
ALREADY_CONFIRMED: Final = "txn-already-known"
MISSING_INPUTS: Final = "bad-txns-inputs-missingorspent"
TRANSACTION_FAILED: Final = "transaction failed"

_REMEMBERED_SCRIPTS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Terms:
    """How to judge. ``floor``: the least feerate of a full mempool, in satoshis per 1,000 vbytes.

    ``is_return`` waives fee, kinship and dust for transactions that a block gave back, as Core
    does, ``is_restored`` also what was found standard before; ``fee_is_shared`` leaves the fee to
    the package.
    """

    entered_unix_ms: int
    floor_sat_per_kvb: int = 0
    is_return: bool = False
    is_restored: bool = False
    may_replace: bool = True
    may_evict_sibling: bool = True
    fee_is_shared: bool = False
    max_feerate_sat_per_kvb: int | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """Candidates that may enter, parents first, and the waiting transactions that go for them."""

    candidates: tuple[Candidate, ...]
    replaced: frozenset[Txid] = frozenset()


class PackageFailedError(AnyaError):
    """A package refused for one of its transactions."""

    code = "package-transaction-rejected"
    message = "the package was rejected: {}; transaction {}: {} {}"
    remedy = "Correct that transaction and send the package again."

    def __init__(self, reason: str, wtxid: str, transaction_reason: str, transaction_detail: str) -> None:
        super().__init__(reason, wtxid, transaction_reason, transaction_detail)
        self.reason = reason
        self.wtxid = wtxid

    @property
    def error(self) -> RejectedTransactionError:
        """Why that transaction may not enter."""
        return RejectedTransactionError(*self.args[2:])


def failed(
    wtxid: Wtxid, error: RejectedTransactionError, reason: str = TRANSACTION_FAILED
) -> PackageFailedError:
    """The failure of a package through one of its transactions."""
    return PackageFailedError(reason, str(wtxid), error.reason, error.detail)


@dataclass(slots=True)
class _Package:
    """The outputs of transactions that are judged together."""

    outputs: dict[Outpoint, TxOutput] = field(default_factory=dict)

    def take(self, transaction: Transaction) -> None:
        for place, output in enumerate(transaction.outputs):
            self.outputs[Outpoint(transaction.txid, place)] = output


class Acceptance:
    """Judges transactions against the chain and the mempool, changing neither."""

    def __init__(self, chain: Chain, pool: Mempool, policy: MempoolPolicy) -> None:
        self._chain = chain
        self._pool = pool
        self._policy = policy
        # A txid fixes the outputs that are spent, so a witness once found valid stays valid.
        self._verified: dict[Wtxid, None] = {}

    async def judge(self, transaction: Transaction, terms: Terms) -> Accepted:
        """What its entering would do; raises `RejectedTransactionError`."""
        candidate = self._examine(transaction, terms, {})
        replaced = frozenset[Txid]()
        if candidate.conflicts:
            replaced = frozenset(verify_replacement(self._pool, candidate, self._policy))
        if Change(self._pool, [candidate], replaced).exceeds(self._policy):
            raise RejectedTransactionError(TOO_LARGE_CLUSTER)
        if candidate.conflicts:
            verify_not_spending_conflicts(self._pool, candidate)
        _verify_max_feerate(candidate, terms)
        if not terms.is_return:
            unspent = find_unspent_dust(self._pool, [transaction], self._policy.dust_feerate_sat_per_kvb)
            if unspent is not None:
                raise unspent[1]
        await self.verify_scripts(candidate, terms)
        return Accepted((candidate,), replaced)

    def judge_together(self, package: Sequence[Transaction], terms: Terms) -> Accepted:
        """The same for several at once, parents first, their scripts left out.

        Raises `RejectedPackageError` or `PackageFailedError`.
        """
        verify_package(package)
        candidates = self._examine_all(package, terms)
        for candidate in candidates:
            detail = truc_violation_in_package(self._pool, candidate, candidates)
            if detail is not None:
                raise RejectedPackageError("TRUC-violation", detail)
        if terms.fee_is_shared:
            self._verify_shared_fee(candidates, terms)
        replaced = frozenset[Txid]()
        if any(candidate.conflicts for candidate in candidates):
            replaced = frozenset(verify_package_replacement(self._pool, candidates, self._policy))
        if Change(self._pool, candidates, replaced).exceeds(self._policy):
            raise RejectedPackageError(TOO_LARGE_CLUSTER)
        unspent = find_unspent_dust(self._pool, package, self._policy.dust_feerate_sat_per_kvb)
        if unspent is not None:
            raise failed(unspent[0].wtxid, unspent[1], "unspent-dust")
        return Accepted(tuple(candidates), replaced)

    def _examine_all(self, package: Sequence[Transaction], terms: Terms) -> list[Candidate]:
        candidates = []
        together = _Package()
        for transaction in package:
            try:
                candidate = self._examine(transaction, terms, together.outputs)
                _verify_max_feerate(candidate, terms)
            except RejectedTransactionError as error:
                raise failed(transaction.wtxid, error) from error
            candidates.append(candidate)
            together.take(transaction)
        return candidates

    def _verify_shared_fee(self, candidates: Sequence[Candidate], terms: Terms) -> None:
        vsize = sum(candidate.vsize for candidate in candidates)
        fee_sat = sum(candidate.modified_fee_sat for candidate in candidates)
        try:
            self._verify_fee(vsize, fee_sat, terms)
        except RejectedTransactionError as error:
            raise failed(candidates[-1].wtxid, error) from error

    # One transaction, without its scripts

    def _examine(
        self, transaction: Transaction, terms: Terms, together: Mapping[Outpoint, TxOutput]
    ) -> Candidate:
        self._verify_alone(transaction, terms)
        self._verify_unknown(transaction)
        conflicts = set(self._pool.conflicts(transaction))
        if conflicts and not terms.may_replace:
            raise RejectedTransactionError("bip125-replacement-disallowed")
        coins = self._coins(transaction, together)
        height = self._chain.tip.height + 1
        self.verify_sequence_locks(transaction, coins)
        fee_sat = verify_amounts(transaction, coins, height)
        spent = [coin.output for coin in coins]
        if not terms.is_restored:
            verify_standard_inputs(transaction, spent)
            verify_standard_witness(transaction, spent)
        entry = MempoolEntry(
            transaction,
            fee_sat,
            terms.entered_unix_ms,
            height - 1,
            sigops_cost(transaction, spent),
            tuple(spent),
            any(coin.is_coinbase for coin in coins),
        )
        parents = self._pool.parents(transaction)
        candidate = Candidate(entry, self._pool.modified_fee_sat(entry), parents, conflicts)
        self._verify_relay(candidate, terms)
        return candidate

    def _verify_relay(self, candidate: Candidate, terms: Terms) -> None:
        verify_dust_pays_nothing(candidate, self._policy.dust_feerate_sat_per_kvb)
        cost = candidate.entry.sigops_cost
        if cost > MAX_STANDARD_SIGOPS_COST:
            raise RejectedTransactionError("bad-txns-too-many-sigops", str(cost))
        if terms.is_return:
            return
        if not terms.fee_is_shared:
            self._verify_fee(candidate.vsize, candidate.modified_fee_sat, terms)
        violation = truc_violation(self._pool, candidate)
        if violation is None:
            return
        if violation.sibling is None or not terms.may_evict_sibling:
            raise RejectedTransactionError("TRUC-violation", violation.detail)
        candidate.conflicts.add(violation.sibling)
        candidate.evicts_sibling = True

    def _verify_fee(self, vsize: int, fee_sat: int, terms: Terms) -> None:
        """Raise if it pays less than the full mempool's floor, or than the minimum for relay."""
        for reason, feerate in (
            ("mempool min fee not met", terms.floor_sat_per_kvb),
            ("min relay fee not met", self._policy.min_relay_feerate_sat_per_kvb),
        ):
            least_sat = fee_at_rate(vsize, feerate)
            if fee_sat < least_sat:
                raise RejectedTransactionError(reason, f"{fee_sat} < {least_sat}", is_reconsiderable=True)

    def _verify_alone(self, transaction: Transaction, terms: Terms) -> None:
        verify_transaction(transaction)
        if transaction.is_coinbase:
            raise RejectedTransactionError("coinbase")
        if not terms.is_restored:
            verify_standard(
                transaction,
                max_data_carrier_bytes=self._policy.max_data_carrier_bytes,
                dust_feerate_sat_per_kvb=self._policy.dust_feerate_sat_per_kvb,
            )
        if not self.is_final(transaction):
            raise RejectedTransactionError("non-final")

    def is_final(self, transaction: Transaction) -> bool:
        """Whether its lock time lets the next block hold it."""
        tip = self._chain.tip
        return is_final(transaction, tip.height + 1, tip.median_time_past_s())

    def _verify_unknown(self, transaction: Transaction) -> None:
        waiting = self._pool.entries.get(transaction.txid)
        if waiting is not None:
            same = waiting.transaction.wtxid == transaction.wtxid
            raise RejectedTransactionError(ALREADY_IN_MEMPOOL if same else SAME_BUT_FOR_WITNESS)

    def _coins(self, transaction: Transaction, together: Mapping[Outpoint, TxOutput]) -> list[Coin]:
        coins = [self.coin(tx_input.prevout, together) for tx_input in transaction.inputs]
        found = [coin for coin in coins if coin is not None]
        if len(found) == len(coins):
            return found
        raise RejectedTransactionError(
            ALREADY_CONFIRMED if self.is_confirmed(transaction) else MISSING_INPUTS
        )

    def is_confirmed(self, transaction: Transaction) -> bool:
        """Whether an output of it is a coin: as much as Core knows without an index."""
        outputs = (Outpoint(transaction.txid, index) for index in range(len(transaction.outputs)))
        return any(self._chain.index.coin(outpoint) is not None for outpoint in outputs)

    def coin(self, outpoint: Outpoint, together: Mapping[Outpoint, TxOutput] | None = None) -> Coin | None:
        """The coin of an output, confirmed or waiting; a waiting one has the next height."""
        coin = self._chain.index.coin(outpoint)
        if coin is not None:
            return coin
        output = self._pool.output(outpoint) or (together or {}).get(outpoint)
        if output is None:
            return None
        return Coin(output.amount_sat, output.script_pubkey, self._chain.tip.height + 1, False)

    def verify_sequence_locks(self, transaction: Transaction, coins: Sequence[Coin]) -> None:
        """Raise if a relative lock time keeps it out of the next block (BIP68)."""
        active = self._chain.tree.active
        passed = meets_sequence_locks(
            transaction,
            [coin.height for coin in coins],
            self._chain.tip.height + 1,
            self._chain.tip.median_time_past_s(),
            lambda at: active[min(at, len(active) - 1)].median_time_past_s(),
        )
        if not passed:
            raise RejectedTransactionError("non-BIP68-final")

    # Scripts

    async def verify_scripts(self, candidate: Candidate, terms: Terms) -> None:
        """Raise unless its scripts hold under the rules of relay and of consensus."""
        if candidate.wtxid in self._verified:
            return
        transaction, spent = candidate.transaction, list(candidate.entry.spent)
        try:
            await self._chain.verify_scripts(transaction, spent)
        except RejectedTransactionError:
            # The engine does not say why; the judge of policy does, in Core's words.
            await asyncio.to_thread(verify_standard_scripts, transaction, spent)
            raise
        doubtful = [] if terms.is_restored else doubtful_inputs(transaction, spent)
        if doubtful:
            await asyncio.to_thread(verify_standard_scripts, transaction, spent, places=doubtful)
        self._verified[candidate.wtxid] = None
        while len(self._verified) > _REMEMBERED_SCRIPTS:
            del self._verified[next(iter(self._verified))]


def _verify_max_feerate(candidate: Candidate, terms: Terms) -> None:
    limit = terms.max_feerate_sat_per_kvb
    if limit is not None and candidate.modified_fee_sat * 1000 > limit * candidate.vsize:
        raise RejectedTransactionError("max feerate exceeded")

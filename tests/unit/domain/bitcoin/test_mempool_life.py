"""A mempool under random changes, compared with what a naive count of its transactions says."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from anya_actors.domain.bitcoin.block_template import choose_transactions
from anya_actors.domain.bitcoin.candidate import Candidate, Change
from anya_actors.domain.bitcoin.errors import RejectedTransactionError
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.mempool import EntryAdded, Mempool, MempoolEntry, RemovalReason
from anya_actors.domain.bitcoin.mempool_policy import MempoolPolicy
from anya_actors.domain.bitcoin.oversized import too_many_for_their_cluster
from anya_actors.domain.bitcoin.replacement import verify_not_spending_conflicts, verify_replacement
from anya_actors.domain.bitcoin.script import p2wpkh_script
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxInput, TxOutput

POLICY = MempoolPolicy(max_cluster_count=6)
COINS = Txid(b"\x07" * 32)
SCRIPTS = [p2wpkh_script(bytes([at]) * 20) for at in range(3)]


class MempoolLife(RuleBasedStateMachine):
    """Adds, replaces, evicts, mines and gives back; a set of txids is all it remembers itself."""

    @initialize()
    def begin(self) -> None:
        self.pool = Mempool()
        self.seen: set[Txid] = set()
        self.mined: list[list[Transaction]] = []
        self.mark = 0

    def _outpoints(self) -> list[Outpoint]:
        made = [Outpoint(txid, index) for txid in self.pool.entries for index in range(2)]
        return [*(Outpoint(COINS, index) for index in range(8)), *made]

    @rule(data=st.data(), fee_sat=st.integers(0, 5_000), inputs=st.integers(1, 3))
    def add_or_replace(self, data: st.DataObject, fee_sat: int, inputs: int) -> None:
        outpoints = self._outpoints()
        places = data.draw(
            st.lists(st.integers(0, len(outpoints) - 1), min_size=1, max_size=inputs, unique=True)
        )
        self.mark += 1
        paid = (TxOutput(1_000 + self.mark, SCRIPTS[self.mark % 3]), TxOutput(2_000, SCRIPTS[0]))
        transaction = Transaction(2, tuple(TxInput(outpoints[place]) for place in places), paid)
        spent = tuple(TxOutput(5_000, SCRIPTS[place % 3]) for place in places)
        entry = MempoolEntry(transaction, fee_sat, self.mark, 0, 0, spent)
        conflicts = set(self.pool.conflicts(transaction))
        candidate = Candidate(entry, fee_sat, self.pool.parents(transaction), conflicts)
        try:
            replaced = verify_replacement(self.pool, candidate, POLICY) if conflicts else set()
            verify_not_spending_conflicts(self.pool, candidate)
        except RejectedTransactionError:
            return
        if Change(self.pool, [candidate], replaced).exceeds(POLICY):
            return
        self.pool.remove(replaced, RemovalReason.REPLACED)
        self.pool.add(entry)

    @precondition(lambda self: self.pool.entries)
    @rule(data=st.data())
    def evict(self, data: st.DataObject) -> None:
        txid = data.draw(st.sampled_from(sorted(self.pool.entries)))
        self.pool.remove_with_descendants([txid], RemovalReason.EXPIRY)

    @precondition(lambda self: self.pool.entries)
    @rule()
    def evict_worst(self) -> None:
        worst = self.pool.clusters.worst_chunk()
        assert worst is not None
        txids, total = worst
        chunks = [chunk for found in self.pool.clusters.all() for chunk in self.pool.clusters.chunks(found)]
        assert total.rank == min(chunk.total.rank for chunk in chunks)
        assert self.pool.with_descendants(txids) == set(txids)
        self.pool.remove(txids, RemovalReason.SIZE_LIMIT)

    @precondition(lambda self: self.pool.entries)
    @rule(data=st.data(), delta_sat=st.integers(-3_000, 3_000))
    def prioritise(self, data: st.DataObject, delta_sat: int) -> None:
        self.pool.prioritise(data.draw(st.sampled_from(sorted(self.pool.entries))), delta_sat)

    @rule(count=st.integers(0, 4))
    def mine(self, count: int) -> None:
        chosen = [entry.transaction for entry in choose_transactions(self.pool)[:count]]
        self.pool.remove_for_block(chosen)
        self.mined.append(chosen)

    @precondition(lambda self: self.mined)
    @rule()
    def give_back(self) -> None:
        """The last block is disconnected; what spends from it may be waiting."""
        for transaction in self.mined.pop():
            if not self.pool.conflicts(transaction) and transaction.txid not in self.pool:
                spent = tuple(TxOutput(5_000, SCRIPTS[0]) for _ in transaction.inputs)
                self.pool.add(MempoolEntry(transaction, 100, 0, 0, 0, spent))
        too_many = too_many_for_their_cluster(self.pool, POLICY)
        self.pool.remove_with_descendants(too_many, RemovalReason.SIZE_LIMIT)
        assert too_many_for_their_cluster(self.pool, POLICY) == []

    # What must always hold

    @invariant()
    def notices_tell_every_change_in_order(self) -> None:
        for notice in self.pool.take_notices():
            known = self.seen.discard if not isinstance(notice, EntryAdded) else self.seen.add
            known(notice.entry.txid)
            assert notice.sequence < self.pool.sequence
        assert self.seen == set(self.pool.entries)

    @invariant()
    def nothing_is_spent_twice_and_all_is_indexed(self) -> None:
        spends = {
            tx_input.prevout: txid
            for txid, entry in self.pool.entries.items()
            for tx_input in entry.transaction.inputs
        }
        assert self.pool.spends == spends
        assert len(spends) == sum(len(entry.transaction.inputs) for entry in self.pool.entries.values())
        touching = {
            name: [txid for txid, entry in self.pool.entries.items() if name in entry.scripthashes()]
            for entry in self.pool.entries.values()
            for name in entry.scripthashes()
        }
        assert {name: sorted(found) for name, found in touching.items()} == {
            name: sorted(self.pool.touching(name)) for name in touching
        }
        assert set(self.pool._touching) == set(touching)

    @invariant()
    def totals_are_sums(self) -> None:
        entries = self.pool.entries.values()
        assert self.pool.total_vsize == sum(entry.vsize for entry in entries)
        assert self.pool.total_fee_sat == sum(entry.fee_sat for entry in entries)
        assert self.pool.usage_bytes == sum(entry.usage_bytes for entry in entries)

    @invariant()
    def kinship_is_what_the_inputs_say(self) -> None:
        parents = {
            txid: {spent.prevout.txid for spent in entry.transaction.inputs} & self.pool.entries.keys()
            for txid, entry in self.pool.entries.items()
        }
        order = list(self.pool.entries)
        for txid, entry in self.pool.entries.items():
            above = set(parents[txid])
            while (grown := above.union(*(parents[one] for one in above))) != above:
                above = grown
            assert self.pool.ancestors(entry.transaction) == above
            assert all(order.index(parent) < order.index(txid) for parent in parents[txid])
            below = {one for one in order if txid in self.pool.ancestors(self.pool.entries[one].transaction)}
            assert self.pool.descendants(txid) == below

    @invariant()
    def clusters_are_the_connected_parts_and_no_larger_than_allowed(self) -> None:
        found = list(self.pool.clusters.all())
        assert sorted(txid for cluster in found for txid in cluster.members) == sorted(self.pool.entries)
        for cluster in found:
            assert len(cluster) <= POLICY.max_cluster_count
            assert self.pool.clusters.connected(cluster.members) == [cluster.members]
            chunks = self.pool.clusters.chunks(cluster)
            assert sum(chunk.total.fee_sat for chunk in chunks) == sum(
                self.pool.modified_fee_sat(self.pool.entries[txid]) for txid in cluster.members
            )


TestMempoolLife = MempoolLife.TestCase
TestMempoolLife.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)

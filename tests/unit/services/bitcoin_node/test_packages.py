"""Submitting and testing packages, with the real consensus rules below."""

from __future__ import annotations

import msgspec
import pytest

from anya_actors.adapters.memory.append_log import MemoryAppendLog
from anya_actors.domain.bitcoin.transaction import Transaction, TxOutput
from anya_actors.services.bitcoin_node.package_submission import (
    Entered,
    OtherWitness,
    PackageResult,
    Refused,
    WaitsAlready,
)
from anya_actors.services.bitcoin_node.service import BitcoinNodeService
from tests.unit.services.bitcoin_node.conftest import StartNode
from tests.unit.services.bitcoin_node.purse import Purse

P2A = b"\x51\x02\x4e\x73"


@pytest.fixture
async def purse(node: BitcoinNodeService) -> Purse:
    return await Purse.filled(node, coins=4)


def _errors(outcome: PackageResult) -> list[str]:
    return [result.error.text for result in outcome.results.values() if isinstance(result, Refused)]


async def test_a_child_pays_for_its_parent(node: BitcoinNodeService, purse: Purse) -> None:
    parent = purse.spend([purse.coin()], fee_sat=0)
    child = purse.spend([purse.output(parent)], fee_sat=1_000)
    outcome = await node.submit_package([parent, child])
    assert outcome.error == ""
    results = [outcome.results[transaction.wtxid] for transaction in (parent, child)]
    rate = 1_000 * 1_000 // (parent.vsize + child.vsize)
    for result, fee_sat in zip(results, (0, 1_000), strict=True):
        assert isinstance(result, Entered)
        assert (result.fee_sat, result.effective_feerate_sat_per_kvb) == (fee_sat, rate)
        assert result.effective_includes == (parent.wtxid, child.wtxid)
    assert list(node.pool.entries) == [parent.txid, child.txid]
    await node.generate(b"\x51", 1)
    assert len(node.pool) == 0


async def test_what_may_enter_alone_enters_alone(node: BitcoinNodeService, purse: Purse) -> None:
    parent = purse.spend([purse.coin()], fee_sat=500)
    child = purse.spend([purse.output(parent)], fee_sat=1_000)
    outcome = await node.submit_package([parent, child])
    for transaction, fee_sat in ((parent, 500), (child, 1_000)):
        result = outcome.results[transaction.wtxid]
        assert isinstance(result, Entered)
        assert result.effective_feerate_sat_per_kvb == fee_sat * 1_000 // transaction.vsize
        assert result.effective_includes == (transaction.wtxid,)
    again = await node.submit_package([parent, child])
    assert again.error == ""
    assert [type(result) for result in again.results.values()] == [WaitsAlready, WaitsAlready]


async def test_a_package_that_pays_too_little_is_refused_as_a_whole(
    node: BitcoinNodeService, purse: Purse
) -> None:
    parent = purse.spend([purse.coin()], fee_sat=0)
    child = purse.spend([purse.output(parent)], fee_sat=20)
    outcome = await node.submit_package([parent, child])
    assert outcome.error == "transaction failed"
    assert sorted(_errors(outcome)) == ["min relay fee not met, 0 < 11", "min relay fee not met, 20 < 22"]
    assert len(node.pool) == 0


async def test_what_no_child_can_mend_ends_the_package(node: BitcoinNodeService, purse: Purse) -> None:
    parent = purse.spend([purse.coin()], fee_sat=0, version=4)
    child = purse.spend([purse.output(parent)], fee_sat=1_000)
    outcome = await node.submit_package([parent, child])
    assert outcome.error == "transaction failed"
    assert _errors(outcome) == ["version", "bad-txns-inputs-missingorspent"]
    outcome = await node.submit_package([child, parent])
    assert (outcome.error, outcome.is_policy) == ("package-not-sorted", True)
    strangers = [purse.spend([purse.coin(place)], fee_sat=500) for place in (1, 2)]
    outcome = await node.submit_package(strangers)
    assert (outcome.error, outcome.results) == ("package-not-child-with-parents", {})


async def test_the_same_transaction_with_another_witness_is_told(
    node: BitcoinNodeService, purse: Purse
) -> None:
    parent = purse.spend([purse.coin()], fee_sat=500)
    await node.submit_transaction(parent)
    (spent,) = parent.inputs
    other = msgspec.structs.replace(parent, inputs=(msgspec.structs.replace(spent, witness=(b"x", b"y")),))
    child = purse.spend([purse.output(parent)], fee_sat=500)
    outcome = await node.submit_package([other, child])
    assert outcome.results[other.wtxid] == OtherWitness(parent.wtxid)
    assert isinstance(outcome.results[child.wtxid], Entered)
    tested = await node.test_transactions([other])
    assert _errors(tested) == ["txn-same-nonwitness-data-in-mempool"]


async def test_a_package_replaces_what_its_parent_conflicts_with(
    node: BitcoinNodeService, purse: Purse
) -> None:
    coin = purse.coin()
    first = purse.spend([coin], fee_sat=1_000)
    await node.submit_transaction(first)
    parent = purse.spend([coin], fee_sat=0, version=3)
    child = purse.spend([purse.output(parent)], fee_sat=1_021, version=3)
    outcome = await node.submit_package([parent, child])
    assert outcome.error == (
        f"package RBF failed: insufficient anti-DoS fees, rejecting replacement {child.txid}, "
        "not enough additional fees to relay; 0.00000021 < 0.00000022"
    )
    child = purse.spend([purse.output(parent)], fee_sat=3_000, version=3)
    outcome = await node.submit_package([parent, child])
    assert outcome.error == ""
    replaced = [result.replaced for result in outcome.results.values() if isinstance(result, Entered)]
    assert (first.txid,) in replaced
    assert list(node.pool.entries) == [parent.txid, child.txid]


async def test_an_ephemeral_anchor_carries_a_parent_without_fee(
    node: BitcoinNodeService, purse: Purse
) -> None:
    anchor = TxOutput(0, P2A)
    parent = purse.spend([purse.coin()], fee_sat=0, version=3, extra=[anchor])
    with pytest.raises(Exception, match="min relay fee not met"):
        await node.submit_transaction(parent)
    blind = purse.spend([purse.output(parent)], fee_sat=1_000, version=3)
    outcome = await node.submit_package([parent, blind])
    assert outcome.error == "unspent-dust"
    assert any("missing-ephemeral-spends" in text for text in _errors(outcome))
    child = _with_anchor(purse, parent, fee_sat=1_000)
    outcome = await node.submit_package([parent, child])
    assert outcome.error == ""
    assert set(node.pool.entries) == {parent.txid, child.txid}
    await node.generate(b"\x51", 1)
    assert len(node.pool) == 0


def _with_anchor(purse: Purse, parent: Transaction, *, fee_sat: int) -> Transaction:
    """A child that spends the parent's output and its anchor."""
    key_coin, amount_sat = purse.output(parent)
    anchor, _ = purse.output(parent, 1)
    bare = purse.spend([(key_coin, amount_sat), (anchor, 0)], fee_sat=fee_sat, version=3)
    prevouts = [TxOutput(amount_sat, purse.key.script_pubkey), TxOutput(0, P2A)]
    inputs = tuple(msgspec.structs.replace(tx_input, witness=()) for tx_input in bare.inputs)
    return purse.signed(msgspec.structs.replace(bare, inputs=inputs), prevouts)


async def test_a_sibling_is_evicted_by_the_rules_of_replacement(
    node: BitcoinNodeService, purse: Purse
) -> None:
    parent = purse.spend([purse.coin()], fee_sat=500, outputs=2, version=3)
    first = purse.spend([purse.output(parent, 0)], fee_sat=1_000, version=3)
    for transaction in (parent, first):
        await node.submit_transaction(transaction)
    poor = purse.spend([purse.output(parent, 1)], fee_sat=999, version=3)
    (text,) = _errors(await node.test_transactions([poor]))
    assert text.startswith("insufficient fee (including sibling eviction), rejecting replacement")
    rich = purse.spend([purse.output(parent, 1)], fee_sat=2_000, version=3)
    await node.submit_transaction(rich)
    assert list(node.pool.entries) == [parent.txid, rich.txid]


async def test_testing_a_package_changes_nothing_and_allows_no_replacement(
    node: BitcoinNodeService, purse: Purse
) -> None:
    parent = purse.spend([purse.coin()], fee_sat=500)
    child = purse.spend([purse.output(parent)], fee_sat=500)
    outcome = await node.test_transactions([parent, child])
    assert [type(result) for result in outcome.results.values()] == [Entered, Entered]
    assert len(node.pool) == 0
    free = purse.spend([purse.coin(1)], fee_sat=0)
    outcome = await node.test_transactions([free, purse.spend([purse.output(free)], fee_sat=5_000)])
    assert _errors(outcome) == ["min relay fee not met, 0 < 11"]
    await node.submit_transaction(parent)
    rival = purse.spend([purse.coin()], fee_sat=5_000)
    outcome = await node.test_transactions([rival, purse.spend([purse.output(rival)], fee_sat=500)])
    assert _errors(outcome) == ["bip125-replacement-disallowed"]
    assert [type(one) for one in (await node.test_transactions([rival])).results.values()] == [Entered]


async def test_a_bad_signature_in_a_package_names_its_input(node: BitcoinNodeService, purse: Purse) -> None:
    parent = purse.spend([purse.coin()], fee_sat=500)
    child = purse.spend([purse.output(parent)], fee_sat=500)
    forged = msgspec.structs.replace(child, lock_time=1)
    outcome = await node.test_transactions([parent, forged])
    assert isinstance(outcome.results[parent.wtxid], Entered)
    (text,) = _errors(outcome)
    assert text == (
        "mempool-script-verify-flag-failed (Signature must be zero for failed CHECK(MULTI)SIG operation), "
        f"input 0 of {forged.txid} (wtxid {forged.wtxid}), spending {parent.txid}:0"
    )


async def test_the_callers_greatest_feerate_holds_for_each(node: BitcoinNodeService, purse: Purse) -> None:
    parent = purse.spend([purse.coin()], fee_sat=0)
    child = purse.spend([purse.output(parent)], fee_sat=10_000)
    outcome = await node.submit_package([parent, child], max_feerate_sat_per_kvb=10_000)
    assert outcome.error == "transaction failed"
    assert "max feerate exceeded" in _errors(outcome)
    assert len(node.pool) == 0


async def test_a_package_outlives_a_crash_though_its_parent_pays_nothing(
    node: BitcoinNodeService, purse: Purse, log: MemoryAppendLog, start_node: StartNode
) -> None:
    parent = purse.spend([purse.coin()], fee_sat=0)
    child = purse.spend([purse.output(parent)], fee_sat=1_000)
    await node.submit_package([parent, child])
    again = await start_node(log)
    assert list(again.pool.entries) == [parent.txid, child.txid]
    assert again.pool.entries == node.pool.entries

"""The mempool's JSON-RPC methods: Core's fields, errors and texts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxOutput
from anya_actors.serve.bitcoin_node.embedded import EmbeddedNode
from tests.unit.services.bitcoin_node.purse import Purse

Call = Callable[..., Awaitable[Any]]
NOWHERE = "11" * 32


@pytest.fixture
async def purse(node: EmbeddedNode) -> Purse:
    service = node._node
    assert service is not None
    return await Purse.filled(service, coins=4)


def _hex(transaction: Transaction) -> str:
    return transaction.serialize().hex()


async def test_an_entry_has_all_of_cores_fields(call: Call, purse: Purse) -> None:
    parent = purse.spend([purse.coin()], fee_sat=200)
    child = purse.spend([purse.output(parent)], fee_sat=2_000)
    for transaction in (parent, child):
        assert await call("sendrawtransaction", _hex(transaction)) == str(transaction.txid)
    entry = await call("getmempoolentry", str(parent.txid))
    vsize, weight = parent.vsize + child.vsize, parent.weight + child.weight
    assert {name: entry[name] for name in entry if name not in ("time", "fees")} == {
        "vsize": parent.vsize,
        "weight": parent.weight,
        "height": 104,
        "descendantcount": 2,
        "descendantsize": vsize,
        "ancestorcount": 1,
        "ancestorsize": parent.vsize,
        "wtxid": str(parent.wtxid),
        "chunkweight": weight,
        "depends": [],
        "spentby": [str(child.txid)],
        "bip125-replaceable": True,
        "unbroadcast": True,
    }
    fees = {name: round(float(fee) * 1e8) for name, fee in entry["fees"].items()}
    assert fees == {"base": 200, "modified": 200, "ancestor": 200, "descendant": 2_200, "chunk": 2_200}
    assert await call("getmempoolancestors", str(child.txid)) == [str(parent.txid)]
    assert await call("getmempooldescendants", str(parent.txid)) == [str(child.txid)]
    assert list(await call("getmempooldescendants", str(parent.txid), True)) == [str(child.txid)]
    cluster = await call("getmempoolcluster", str(child.txid))
    assert (cluster["clusterweight"], cluster["txcount"]) == (weight, 2)
    assert [chunk["txs"] for chunk in cluster["chunks"]] == [[str(parent.txid), str(child.txid)]]
    diagram = await call("getmempoolfeeratediagram")
    assert [point["weight"] for point in diagram] == [0, weight]
    assert await call("getrawmempool") == [str(parent.txid), str(child.txid)]
    told = await call("getrawmempool", False, True)
    assert told["mempool_sequence"] == 3
    info = await call("getmempoolinfo")
    assert (info["size"], info["bytes"], info["maxmempool"]) == (2, vsize, 300_000_000)
    assert (info["limitclustercount"], info["limitclustersize"], info["fullrbf"]) == (64, 101_000, True)
    assert float(info["minrelaytxfee"]) == 0.000001


async def _error(call: Call, *arguments: Any) -> tuple[int, str]:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the fixture's own error, read below
        await call(*arguments)
    return caught.value.args[0], caught.value.args[1]


async def test_refusals_have_cores_numbers_and_words(call: Call, purse: Purse) -> None:
    unknown = ("getmempoolentry", "getmempoolancestors", "getmempooldescendants", "getmempoolcluster")
    for method in unknown:
        assert await _error(call, method, NOWHERE) == (-5, "Transaction not in mempool")
    spend = purse.spend([purse.coin()], fee_sat=500)
    orphan = purse.spend([(Outpoint(Txid(b"\x05" * 32), 0), 10_000)], fee_sat=500)
    assert await _error(call, "sendrawtransaction", _hex(orphan)) == (-25, "bad-txns-inputs-missingorspent")
    assert await _error(call, "sendrawtransaction", "00") == (
        -22,
        "TX decode failed. Make sure the tx has at least one input.",
    )
    dear = purse.spend([purse.coin()], fee_sat=10_000_000)
    assert await _error(call, "sendrawtransaction", _hex(dear)) == (
        -25,
        "Fee exceeds maximum configured by user (e.g. -maxtxfee, maxfeerate)",
    )
    assert await _error(call, "sendrawtransaction", _hex(spend), 1) == (
        -8,
        "Fee rates larger than or equal to 1BTC/kvB are not accepted",
    )
    burnt = purse.spend([purse.coin()], fee_sat=500, extra=[TxOutput(1_000, b"\x6a")])
    words = "Unspendable output exceeds maximum configured by user (maxburnamount)"
    assert await _error(call, "sendrawtransaction", _hex(burnt)) == (-25, words)
    assert await _error(call, "sendrawtransaction", _hex(burnt), 0.1, 0.00000999) == (-25, words)
    free = purse.spend([purse.coin()], fee_sat=0)
    assert await _error(call, "sendrawtransaction", _hex(free)) == (-26, "min relay fee not met, 0 < 11")
    await call("sendrawtransaction", _hex(spend))
    await call("sendrawtransaction", _hex(spend))
    await call("generatetodescriptor", 1, "raw(51)")
    text = "Transaction outputs already in utxo set"
    assert await _error(call, "sendrawtransaction", _hex(spend)) == (-27, text)
    burnt = purse.spend([purse.coin(1)], fee_sat=500, extra=[TxOutput(1_000, b"\x6a")])
    assert await call("sendrawtransaction", _hex(burnt), 0.1, 0.00001) == str(burnt.txid)


async def test_testing_tells_fees_and_reasons(call: Call, purse: Purse) -> None:
    parent = purse.spend([purse.coin()], fee_sat=500)
    child = purse.spend([purse.output(parent)], fee_sat=600)
    told = await call("testmempoolaccept", [_hex(parent), _hex(child)])
    for facts, transaction, fee_sat in zip(told, (parent, child), (500, 600), strict=True):
        assert (facts["txid"], facts["wtxid"]) == (str(transaction.txid), str(transaction.wtxid))
        assert (facts["allowed"], facts["vsize"]) == (True, transaction.vsize)
        assert round(float(facts["fees"]["base"]) * 1e8) == fee_sat
        assert facts["fees"]["effective-includes"] == [str(transaction.wtxid)]
    (facts,) = await call("testmempoolaccept", [_hex(child)])
    assert (facts["allowed"], facts["reject-reason"]) == (False, "missing-inputs")
    assert "reject-details" not in facts
    told = await call("testmempoolaccept", [_hex(child), _hex(parent)])
    assert [facts["package-error"] for facts in told] == ["package-not-sorted"] * 2
    (facts,) = await call("testmempoolaccept", [_hex(parent)], 0.00001)
    assert (facts["allowed"], facts["reject-reason"]) == (False, "max-fee-exceeded")
    free = purse.spend([purse.coin(1)], fee_sat=0)
    (facts,) = await call("testmempoolaccept", [_hex(free)])
    assert facts["reject-reason"] == "min relay fee not met"
    assert facts["reject-details"] == "min relay fee not met, 0 < 11"
    assert await _error(call, "testmempoolaccept", []) == (
        -8,
        "Array must contain between 1 and 25 transactions.",
    )
    code, text = await _error(call, "testmempoolaccept", ["ff"])
    assert (code, text) == (-22, "TX decode failed: ff Make sure the tx has at least one input.")


async def test_a_package_is_answered_as_core_answers(call: Call, purse: Purse) -> None:
    coin = purse.coin()
    first = purse.spend([coin], fee_sat=500)
    await call("sendrawtransaction", _hex(first))
    parent = purse.spend([coin], fee_sat=0)
    child = purse.spend([purse.output(parent)], fee_sat=3_000)
    told = await call("submitpackage", [_hex(parent), _hex(child)])
    assert told["package_msg"] == "success"
    assert told["replaced-transactions"] == [str(first.txid)]
    facts = told["tx-results"][str(child.wtxid)]
    assert (facts["txid"], facts["vsize"]) == (str(child.txid), child.vsize)
    assert facts["fees"]["effective-includes"] == [str(parent.wtxid), str(child.wtxid)]
    strangers = [purse.spend([purse.coin(place)], fee_sat=500) for place in (1, 2)]
    assert await _error(call, "submitpackage", [_hex(one) for one in strangers]) == (
        -25,
        "package topology disallowed. not child-with-parents or parents depend on each other.",
    )
    told = await call("submitpackage", [_hex(purse.spend([purse.coin(1)], fee_sat=0))])
    assert told["package_msg"] == "transaction failed"
    (facts,) = told["tx-results"].values()
    assert facts["error"] == "min relay fee not met, 0 < 11"


async def test_who_spends_an_output(call: Call, purse: Purse) -> None:
    outpoint, _ = purse.coin()
    wanted = {"txid": str(outpoint.txid), "vout": outpoint.index}
    assert await call("gettxspendingprevout", [wanted]) == [wanted]
    spend = purse.spend([purse.coin()], fee_sat=500)
    await call("sendrawtransaction", _hex(spend))
    told = {**wanted, "spendingtxid": str(spend.txid)}
    assert await call("gettxspendingprevout", [wanted]) == [told]
    whole = {**told, "spendingtx": _hex(spend)}
    assert await call("gettxspendingprevout", [wanted], {"return_spending_tx": True}) == [whole]
    (block_hash,) = (await call("generatetodescriptor", 1, "raw(51)"))[:1]
    assert await call("gettxspendingprevout", [wanted]) == [{**told, "blockhash": block_hash}]
    assert await call("gettxspendingprevout", [wanted], {"mempool_only": True}) == [wanted]
    cases = {
        (-8, "Invalid parameter, outputs are missing"): [],
        (-8, "Invalid parameter, vout cannot be negative"): [{**wanted, "vout": -1}],
        (-3, "Missing vout"): [{"txid": NOWHERE}],
        (-3, "Unexpected key other"): [{**wanted, "other": 1}],
        (-3, "JSON value of type string for field vout is not of expected type number"): [
            {**wanted, "vout": "0"}
        ],
    }
    for expected, outputs in cases.items():
        assert await _error(call, "gettxspendingprevout", outputs) == expected


async def test_priorities_add_up_and_are_listed(call: Call, purse: Purse) -> None:
    spend = purse.spend([purse.coin()], fee_sat=500)
    await call("sendrawtransaction", _hex(spend))
    assert await call("prioritisetransaction", str(spend.txid), 0, 300) is True
    assert await call("prioritisetransaction", str(spend.txid), None, -100) is True
    assert await call("prioritisetransaction", NOWHERE, 0, 5) is True
    assert await call("getprioritisedtransactions") == {
        str(spend.txid): {"fee_delta": 200, "in_mempool": True, "modified_fee": 700},
        NOWHERE: {"fee_delta": 5, "in_mempool": False},
    }
    text = "Priority is no longer supported, dummy argument to prioritisetransaction must be 0."
    assert await _error(call, "prioritisetransaction", NOWHERE, 1, 5) == (-8, text)


async def test_fees_are_estimated_once_blocks_have_been_seen(call: Call, purse: Purse) -> None:
    nothing = {"errors": ["Insufficient data or no feerate found"], "blocks": 0}
    assert await call("estimatesmartfee", 6) == nothing
    spent = [purse.coin(), purse.coin(1)]
    for _ in range(15):
        spends = [purse.spend([one], fee_sat=2_200) for one in spent]
        for spend in spends:
            await call("sendrawtransaction", _hex(spend))
        await call("generatetodescriptor", 1, "raw(51)")
        spent = [purse.output(spend) for spend in spends]
    told = await call("estimatesmartfee", 2)
    # Signatures, and so sizes, differ by a byte.
    assert round(float(told["feerate"]) * 1e8) == pytest.approx(20_000, rel=0.02)
    assert told["blocks"] == 2
    raw = await call("estimaterawfee", 2)
    assert list(raw) == ["short", "medium", "long"]
    assert (raw["short"]["decay"], raw["short"]["scale"]) == (0.962, 1)
    assert raw["medium"]["pass"]["withintarget"] > 11
    assert list(await call("estimaterawfee", 100)) == ["long"]
    for bad in (0, 1009):
        words = "Invalid conf_target, must be between 1 and 1008"
        assert await _error(call, "estimatesmartfee", bad) == (-8, words)
    words = 'Invalid estimate_mode parameter, must be one of: "unset", "economical", "conservative"'
    assert await _error(call, "estimatesmartfee", 6, "cheap") == (-8, words)
    assert await call("getorphantxs") == []

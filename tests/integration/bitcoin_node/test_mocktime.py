"""``setmocktime``: the node's rules and answers go by the time that a test has set."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from anya_actors.serve.bitcoin_node.embedded import EmbeddedNode
from anya_actors.services.bitcoin_node import flushing

Call = Callable[..., Awaitable[Any]]

DAY_S = 86_400
PAST_S = 1_400_000_000
SOON_S = 4_000_000_000
"""In the year 2096."""


@pytest.mark.parametrize("wrong", [-1, 9_223_372_037, -(1 << 63), (1 << 63) - 1])
async def test_times_outside_the_range_are_refused(call: Call, wrong: int) -> None:
    text = rf"Mocktime must be in the range \[0, 9223372036\], not {wrong}\."
    with pytest.raises(LookupError, match=text) as refused:
        await call("setmocktime", wrong)
    assert refused.value.args[0] == -8


@pytest.mark.parametrize("wrong", ["1", None, True, [1]])
async def test_what_is_no_number_is_refused(call: Call, wrong: Any) -> None:
    with pytest.raises(LookupError) as refused:
        await call("setmocktime", wrong)
    assert refused.value.args[0] in (-1, -3)


async def test_the_greatest_time_of_all_holds(call: Call) -> None:
    await call("setmocktime", 9_223_372_036)
    assert (await call("getnettotals"))["timemillis"] == 9_223_372_036_000


async def test_blocks_and_answers_follow_the_set_time_and_zero_gives_the_clock_back(call: Call) -> None:
    address = await call("getnewaddress")
    await call("setmocktime", SOON_S)
    hashes = await call("generatetoaddress", 12, address)
    headers = [await call("getblockheader", block_hash) for block_hash in hashes]
    assert {header["time"] - SOON_S for header in headers} <= set(range(7))
    assert headers[0]["time"] == SOON_S
    assert headers[-1]["mediantime"] > SOON_S - 1
    assert (await call("getblockchaininfo"))["initialblockdownload"] is False
    assert await call("uptime") > SOON_S - time.time() - DAY_S
    template = await call("getblocktemplate", {"rules": ["segwit"]})
    assert template["curtime"] >= SOON_S
    await call("setmocktime", 0)
    assert (await call("getnettotals"))["timemillis"] < SOON_S * 1000
    assert await call("uptime") < DAY_S


async def test_blocks_from_too_far_in_the_future_of_the_set_time_are_refused(call: Call) -> None:
    address = await call("getnewaddress")
    # A time long past: the machine's clock would take the block.
    await call("setmocktime", PAST_S + 7_201)
    block = await call("generateblock", address, [], False)
    await call("setmocktime", PAST_S)
    assert await call("submitblock", block["hex"]) == "time-too-new"
    await call("setmocktime", PAST_S + 1)
    assert await call("submitblock", block["hex"]) is None
    assert await call("getbestblockhash") == block["hash"]


async def test_relative_lock_times_and_median_time_are_reached_by_setting_the_time(call: Call) -> None:
    address = await call("getnewaddress")
    start_s = SOON_S
    await call("setmocktime", start_s)
    await call("generatetoaddress", 110, address)
    coin = (await call("listunspent"))[0]
    # BIP68: 512 seconds after the median time of the block before the coin's.
    spend = {"txid": coin["txid"], "vout": coin["vout"], "sequence": (1 << 22) | 1}
    raw = await call("createrawtransaction", [spend], [{address: 49.9995}])
    raw = "02000000" + raw[8:]
    signed = (await call("signrawtransactionwithwallet", raw))["hex"]
    lock = await call("createrawtransaction", [coin_of(coin)], [{address: 49.999}], start_s + 2 * DAY_S)
    locked = (await call("signrawtransactionwithwallet", lock))["hex"]
    (verdict,) = await call("testmempoolaccept", [locked])
    assert verdict["reject-reason"] == "non-final"
    await call("setmocktime", start_s + 2 * DAY_S + 1)
    await call("generatetoaddress", 11, address)
    for transaction in (locked, signed):
        (verdict,) = await call("testmempoolaccept", [transaction])
        assert verdict["allowed"], verdict


def coin_of(coin: dict[str, Any]) -> dict[str, Any]:
    return {"txid": coin["txid"], "vout": coin["vout"], "sequence": 0xFFFFFFFE}


async def test_waiting_transactions_expire_by_the_set_time(call: Call) -> None:
    address = await call("getnewaddress")
    await call("generatetoaddress", 103, address)
    entered_s = int(time.time()) + DAY_S
    await call("setmocktime", entered_s)
    old = await call("sendtoaddress", address, 1)
    assert (await call("getmempoolentry", old))["time"] == entered_s
    await call("setmocktime", entered_s + 14 * DAY_S + 1)
    # Looked at when the next one comes, as in Core.
    coin = next(found for found in await call("listunspent") if found["txid"] != old)
    raw = await call("createrawtransaction", [coin_of(coin)], [{address: float(coin["amount"]) - 0.001}])
    fresh = await call("sendrawtransaction", (await call("signrawtransactionwithwallet", raw))["hex"])
    assert await call("getrawmempool") == [fresh]


@pytest.mark.parametrize("flushed", [False, True])
async def test_a_chain_from_the_future_survives_restarts_and_rebuilding_and_flushes(
    make_node: Callable[..., EmbeddedNode],
    cookie_of: Callable[[str], tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    flushed: bool,
) -> None:
    if flushed:  # before every block
        monkeypatch.setattr(flushing, "_JUDGED_S", 0.0)
        monkeypatch.setattr(flushing, "_JUDGED_PER_FLUSH", 0)

    async def life(node: EmbeddedNode, *calls: tuple[Any, ...]) -> list[Any]:
        addresses = await node.start()
        auth = cookie_of(addresses.bitcoin_cookie)
        try:
            async with httpx.AsyncClient(base_url=addresses.bitcoin_rpc, auth=auth, timeout=60.0) as client:
                replies = []
                for name, *params in calls:
                    posted = await client.post("/", json={"id": 1, "method": name, "params": params})
                    replies.append(posted.json()["result"])
                return replies
        finally:
            await node.close()

    script = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
    _, hashes = await life(make_node(), ("setmocktime", SOON_S), ("generatetoaddress", 5, script))
    # A clean start, then one for which the engine is built anew, and an invalidation under the real clock.
    tips = await life(make_node(), ("getbestblockhash",))
    assert tips == hashes[-1:]
    node = make_node()
    mark = node._settings.data_dir / "kernel" / "flush_mark"
    await asyncio.to_thread(mark.unlink)
    found = await life(
        node,
        ("getbestblockhash",),
        ("invalidateblock", hashes[-1]),
        ("getbestblockhash",),
        ("reconsiderblock", hashes[-1]),
        ("getbestblockhash",),
        ("generatetoaddress", 1, script),
        ("getblockcount",),
    )
    assert found[0] == hashes[-1]
    assert found[2] == hashes[-2]
    assert found[4] == hashes[-1]
    # By the machine's clock the next block would be from the future.
    assert found[5] is None
    assert found[6] == 5

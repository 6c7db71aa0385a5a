"""Lines of the Electrum protocol, and who hears of what."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.serve.electrum import subscriptions
from anya_actors.serve.electrum.arguments import script_name, txid_of, whole_number
from anya_actors.serve.electrum.subscriptions import Listening, Subscriptions
from anya_actors.serve.electrum.wire import (
    Call,
    ElectrumError,
    Refused,
    answer,
    notification,
    parse_line,
    refusal,
)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=70),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.binary(max_size=200) | values.map(lambda found: json.dumps(found).encode()))
def test_any_line_is_read_or_refused(line: bytes) -> None:
    items, is_batch = parse_line(line)
    assert items
    for item in items:
        if isinstance(item, Refused):
            told = json.loads(refusal(item.identity, item.error))
            assert told["error"]["code"] in (-32600, -32700)
    assert is_batch or len(items) == 1


@given(st.text(), st.lists(values, max_size=3), st.integers() | st.text() | st.none())
def test_a_request_is_read_as_it_was_written(method: str, params: list[Any], identity: Any) -> None:
    line = json.dumps({"method": method, "params": params, "id": identity}).encode()
    ((call,), is_batch) = parse_line(line)
    assert call == Call(method, json.loads(json.dumps(params)), identity)
    assert not is_batch


def test_what_goes_out_is_one_line() -> None:
    assert b"\n" not in answer(1, "a\nb")
    assert notification("m", ["a\nb", None]).count(b"\n") == 1
    assert json.loads(refusal("x", ElectrumError(1, "no"))) == {
        "jsonrpc": "2.0",
        "error": {"code": 1, "message": "no"},
        "id": "x",
    }


@given(values)
def test_arguments_are_taken_or_refused(value: Any) -> None:
    for read in (whole_number, txid_of, script_name):
        with suppress(ElectrumError):  # and nothing else
            read(value)


class _Quiet(Subscriptions):
    """Scripts without history."""

    def __init__(self) -> None:
        super().__init__(cast(Any, None), cast(Any, None))
        self.now: dict[bytes, str] = {}

    def status(self, name: bytes) -> str | None:
        return self.now.get(name)


async def test_subscriptions_are_bounded_for_one_and_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "MAX_OF_ONE", 2)
    monkeypatch.setattr(subscriptions, "MAX_OF_ALL", 3)
    all_of_them, first, second = _Quiet(), Listening(), Listening()
    names = [bytes([number]) * 32 for number in range(4)]
    for name in (names[0], names[0], names[1]):
        all_of_them.subscribe(first, name)
    with pytest.raises(ElectrumError, match="too many subscriptions"):
        all_of_them.subscribe(first, names[2])
    all_of_them.subscribe(second, names[2])
    with pytest.raises(ElectrumError, match="too many subscriptions"):
        all_of_them.subscribe(second, names[3])
    all_of_them.leave(first)
    all_of_them.subscribe(second, names[3])
    assert all_of_them.unsubscribe(second, names[2]) is True
    assert all_of_them.unsubscribe(second, names[2]) is False


async def test_only_a_status_that_changed_is_news() -> None:
    all_of_them, one = _Quiet(), Listening()
    name = b"\x07" * 32
    assert all_of_them.subscribe(one, name) is None
    assert all_of_them.has_changed(one, name) is False
    all_of_them.now[name] = "status"
    assert all_of_them.has_changed(one, name) is True
    assert one.statuses[name] == "status"
    assert all_of_them.has_changed(one, name) is False


async def test_more_changes_than_are_looked_into_wake_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    from anya_actors.services.bitcoin_node.chain import ChainChange

    monkeypatch.setattr(subscriptions, "_MAX_CHANGES", 2)
    all_of_them, one = _Quiet(), Listening()
    all_of_them.enter(one)
    all_of_them.subscribe(one, b"\x07" * 32)
    for _ in range(2):
        all_of_them.hear(ChainChange())
    assert not one.touched
    all_of_them.hear(ChainChange())
    assert one.touched == {b"\x07" * 32}
    assert one.news.is_set()
    following = asyncio.ensure_future(all_of_them.follow())
    await asyncio.sleep(0)
    following.cancel()

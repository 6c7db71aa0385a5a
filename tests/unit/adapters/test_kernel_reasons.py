"""Reading from the kernel's log why a block was refused, or that it could not be judged."""

from __future__ import annotations

import pytest

from anya_actors.adapters.bitcoinkernel.reasons import heard_lines, reason_in
from anya_actors.ports.consensus import EngineFailedError

HASH = "23bcd589653e93d99f7e1061ce69dfac6e1becb602b3a4e75780fcda98d2e7d6"
OTHER = HASH[::-1]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            f"[error] ConnectTip: ConnectBlock {HASH} failed, bad-cb-amount, coinbase pays too much",
            ("bad-cb-amount", "coinbase pays too much"),
        ),
        ("[error] ProcessNewBlock: AcceptBlock FAILED (prev-blk-not-found)", ("prev-blk-not-found", "")),
        (
            "[error] ProcessNewBlock: AcceptBlock FAILED (time-too-old, block's timestamp is too early)",
            ("time-too-old", "block's timestamp is too early"),
        ),
        (
            "[error] ProcessNewBlock: AcceptBlock FAILED (bad-version(0xeb000000), rejected nVersion)",
            ("bad-version(0xeb000000)", "rejected nVersion"),
        ),
        (
            f"ConnectBlock {HASH} failed, block-script-verify-flag-failed (Operation not valid), input 0",
            ("block-script-verify-flag-failed (Operation not valid)", "input 0"),
        ),
    ],
)
def test_a_rule_that_was_broken_is_named(line: str, expected: tuple[str, str]) -> None:
    assert reason_in(["noise", line + "\n", "noise"], HASH) == expected


def test_the_line_about_this_block_counts_before_any_other() -> None:
    lines = [f"ConnectBlock {HASH} failed, bad-cb-amount", f"ConnectBlock {OTHER} failed, bad-cb-length"]
    assert reason_in(lines, HASH)[0] == "bad-cb-amount"


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["[error] Disk space is too low!"],
        ["ProcessNewBlock: AcceptBlock FAILED (AcceptBlock: Failed to find position to write)"],
    ],
)
def test_a_block_that_could_not_be_judged_is_not_called_bad(lines: list[str]) -> None:
    with pytest.raises(EngineFailedError, match="judge a block"):
        reason_in(lines, HASH)


def test_lines_are_heard_only_inside() -> None:
    with heard_lines() as lines:
        pass
    assert lines == []

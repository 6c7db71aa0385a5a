"""The status of a script, and the fee histogram."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.bitcoin.fee_histogram import BIN_VSIZE, fee_histogram
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.script_history import WaitingTouch, in_electrum_order, status_of


def test_the_protocols_own_example_of_a_status() -> None:
    # Electrum protocol 1.6, "Protocol Basics", Status Example.
    confirmed = [
        (Txid.from_hex("a6c9c361bd0bc536d6a22648efbf8f9b200e425ef6c3a7a9669dc444c532a347"), 2472),
        (Txid.from_hex("9c42f84b2fcdaff676ba25d9d4941741cc0d1a01cce0c23fdc4c0b2afa38431c"), 2473),
        (Txid.from_hex("770f2d4371b3fabb902dd9a103e2dd005fcd3971181078fca4a2a1d6ff127b30"), 2473),
    ]
    waiting = in_electrum_order(
        [
            WaitingTouch(
                Txid.from_hex("bb4c8ab438c13b89ca80d1d5bee25b0b6b7f55673f4d801998ba97db161d9e85"), 200, True
            ),
            WaitingTouch(
                Txid.from_hex("e02a1dadfa83b996b24175df807b271ea5d02937ef5b35c195fac1e1bdc3198f"), 300, False
            ),
            WaitingTouch(
                Txid.from_hex("80b19848aed792565ab7c5a79b7c2a00fbf985741579396ebe0ab6098e607311"), 200, False
            ),
        ]
    )
    assert [touch.height for touch in waiting] == [0, 0, -1]
    expected = "78e96c6562cafa71c115503b9411fdfdc595a45031e2ab76ff75162fe1b0590d"
    assert status_of(confirmed, waiting) == expected


def test_a_script_without_history_has_no_status() -> None:
    assert status_of([], []) is None


def test_a_bin_ends_when_it_is_full_and_rates_are_rounded_down() -> None:
    assert fee_histogram([]) == []
    assert fee_histogram([(100, 300)]) == [(0.333, 300)]
    full = [(5_000_000, BIN_VSIZE), (50, 50), (90, 100)]
    assert fee_histogram(full) == [(1.0, BIN_VSIZE + 50), (0.9, 100)]
    assert fee_histogram([(5 * BIN_VSIZE, BIN_VSIZE), (5, 1), (1, 1)]) == [(5.0, BIN_VSIZE + 1), (1.0, 1)]


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(60, 10**5))))
def test_the_histogram_counts_everything_once_and_falls(entries: list[tuple[int, int]]) -> None:
    pairs = fee_histogram(entries)
    assert sum(size for _, size in pairs) == sum(vsize for _, vsize in entries)
    rates = [rate for rate, _ in pairs]
    assert rates == sorted(set(rates), reverse=True)

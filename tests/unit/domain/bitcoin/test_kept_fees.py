"""Fee estimates outlive the node; what is damaged, old or counted otherwise is refused by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from anya_actors.domain.bitcoin.fee_estimator import FeeEstimator, Horizon
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.kept_fees import (
    MAX_AGE_MS,
    DamagedFeeEstimatesError,
    StaleFeeEstimatesError,
    encode_estimates,
    read_estimates,
)

NOW_MS = 1_700_000_000_000


def _txid(number: int) -> Txid:
    return Txid(number.to_bytes(32, "big"))


def _live(fees: FeeEstimator, first: int, blocks: int, rate: int, number: int = 0) -> FeeEstimator:
    """From a height on, in each block, three transactions of the block before."""
    waiting: list[Txid] = []
    for height in range(first, first + blocks):
        fees.block_connected(height, waiting)
        waiting = []
        for _ in range(3):
            number += 1
            waiting.append(_txid(number))
            fees.entered(waiting[-1], height, rate)
    return fees


def _restarted(fees: FeeEstimator, after_ms: int = 0) -> FeeEstimator:
    fees.forget_waiting()
    data = encode_estimates(fees.kept(NOW_MS))
    fresh = FeeEstimator()
    fresh.take_back(read_estimates(data, NOW_MS + after_ms))
    return fresh


def test_a_restarted_estimator_says_the_same() -> None:
    fees = _live(FeeEstimator(), 1, 120, 7_000)
    fresh = _restarted(fees)
    for target in (1, 2, 6, 24, 1008):
        for conservative in (False, True):
            before = fees.smart(target, is_conservative=conservative)
            assert fresh.smart(target, is_conservative=conservative) == before
            assert before.feerate_sat_per_kvb == 7_000
    for horizon in Horizon:
        found, again = fees.raw(6, 0.85, horizon), fresh.raw(6, 0.85, horizon)
        assert found.feerate_sat_per_kvb == pytest.approx(again.feerate_sat_per_kvb)
        assert found.passed is not None
        assert again.passed is not None
        assert found.passed.within_target == pytest.approx(again.passed.within_target)


def test_it_goes_on_learning_and_the_longer_of_two_lives_says_how_far_it_can_tell() -> None:
    fresh = _restarted(_live(FeeEstimator(), 1, 120, 7_000))
    assert fresh.smart(1008).blocks == 59  # half of the 118 blocks since the first that taught
    _live(fresh, 121, 20, 9_000, number=1_000)
    assert fresh.smart(1008).blocks == 59
    # Twenty blocks are less than half of it: kept again, the first life's range stays.
    again = _restarted(fresh)
    assert again.kept(NOW_MS).first_height == 2
    assert again.kept(NOW_MS).last_height == 120
    _live(again, 141, 200, 9_000, number=2_000)
    assert again.smart(1008).blocks == 99
    assert again.kept(NOW_MS).first_height == 142


def test_what_a_life_long_ago_saw_does_not_say_how_far_one_can_tell() -> None:
    fresh = _restarted(_live(FeeEstimator(), 1, 120, 7_000))
    fresh.block_connected(120 + 6 * 1008, [])
    assert fresh.smart(1008).blocks == 59
    fresh.block_connected(120 + 6 * 1008 + 1, [])
    assert fresh.smart(1008).blocks == 0


def test_those_that_wait_at_a_stop_count_as_failed_for_as_long_as_they_waited() -> None:
    fees = _live(FeeEstimator(), 1, 100, 7_000)
    fees.entered(_txid(10**6), 100, 7_000)
    for height in range(101, 106):
        fees.block_connected(height, [])
    failed = _restarted(fees).raw(2, 0.95, Horizon.SHORT)
    found = failed.passed or failed.failed
    assert found is not None
    assert found.left_mempool > 0
    assert found.in_mempool == 0


def test_estimates_of_sixty_hours_ago_are_taken_and_older_ones_refused() -> None:
    fees = _live(FeeEstimator(), 1, 20, 7_000)
    _restarted(fees, MAX_AGE_MS)
    with pytest.raises(StaleFeeEstimatesError, match="60 hours old; 60 are the most"):
        _restarted(fees, MAX_AGE_MS + 1)


@given(place=st.integers(0, 3_000), bit=st.integers(0, 7))
def test_a_changed_bit_is_damage(place: int, bit: int) -> None:
    data = bytearray(encode_estimates(FeeEstimator().kept(NOW_MS)))
    data[place % len(data)] ^= 1 << bit
    with pytest.raises(DamagedFeeEstimatesError):
        read_estimates(bytes(data), NOW_MS)


@given(data=st.binary(max_size=200))
def test_any_other_bytes_are_damage(data: bytes) -> None:
    with pytest.raises(DamagedFeeEstimatesError):
        read_estimates(data, NOW_MS)


def test_what_was_counted_otherwise_is_refused_and_changes_nothing() -> None:
    good = _live(FeeEstimator(), 1, 20, 7_000).kept(NOW_MS)
    long = good.horizons["long"]
    others = [
        replace(long, scale=23),
        replace(long, decay=0.5),
        replace(long, confirmed=long.confirmed[1:]),
        replace(long, in_time=long.in_time[1:]),
        replace(long, failed=[[-1.0] * len(row) for row in long.failed]),
        replace(long, feerates=[float("nan")] * len(long.feerates)),
    ]
    kept = [replace(good, horizons=good.horizons | {"long": other}) for other in others]
    kept.append(replace(good, horizons={"long": long}))
    for other in kept:
        fresh = FeeEstimator()
        with pytest.raises(DamagedFeeEstimatesError):
            fresh.take_back(read_estimates(encode_estimates(other), NOW_MS))
        assert fresh.kept(NOW_MS) == FeeEstimator().kept(NOW_MS)
    with pytest.raises(DamagedFeeEstimatesError, match="range of heights"):
        read_estimates(encode_estimates(replace(good, first_height=30)), NOW_MS)

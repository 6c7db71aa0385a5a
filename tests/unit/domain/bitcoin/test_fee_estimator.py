"""Fee estimation: against a plain recount of Core's averages, and on lives with a known answer."""

from __future__ import annotations

import random

import pytest

from anya_actors.domain.bitcoin.confirmation_statistics import BOUNDS, ConfirmationStatistics, bucket_of
from anya_actors.domain.bitcoin.fee_estimator import FeeEstimator, Horizon
from anya_actors.domain.bitcoin.hashes import Txid


def _txid(number: int) -> Txid:
    return Txid(number.to_bytes(32, "big"))


def _live(blocks: int, rates: dict[int, int], per_block: int = 4) -> FeeEstimator:
    """Each block, for each feerate, some transactions that are confirmed after so many blocks."""
    fees, number = FeeEstimator(), 0
    due: dict[int, list[Txid]] = {}
    for height in range(1, blocks + 1):
        fees.block_connected(height, due.pop(height, []))
        for rate, wait in rates.items():
            for _ in range(per_block):
                number += 1
                fees.entered(_txid(number), height, rate)
                due.setdefault(height + wait, []).append(_txid(number))
    return fees


def test_nothing_is_said_before_anything_was_seen() -> None:
    fees = FeeEstimator()
    assert fees.smart(6).feerate_sat_per_kvb is None
    assert fees.smart(6).blocks == 0
    fees = _live(3, {5_000: 1})
    assert fees.smart(6).feerate_sat_per_kvb is None


def test_the_feerate_that_is_confirmed_in_time_is_found() -> None:
    fees = _live(200, {20_000: 1, 5_000: 6, 1_000: 20})
    assert [fees.smart(target).feerate_sat_per_kvb for target in (1, 2, 4)] == [20_000] * 3
    assert fees.smart(12).feerate_sat_per_kvb == 5_000
    assert fees.smart(40).feerate_sat_per_kvb == 1_000
    assert fees.smart(1).blocks == 2
    assert fees.smart(1008).blocks == 99  # half of what was seen
    # Never less for fewer blocks.
    rates = [fees.smart(target).feerate_sat_per_kvb or 0 for target in range(2, 100)]
    assert rates == sorted(rates, reverse=True)


def test_a_conservative_estimate_is_never_lower() -> None:
    fees = _live(150, {20_000: 1, 5_000: 6})
    for height in range(151, 163):
        fees.block_connected(height, [])
    for target in (2, 4, 6, 12, 24):
        economical = fees.smart(target).feerate_sat_per_kvb
        conservative = fees.smart(target, is_conservative=True).feerate_sat_per_kvb
        assert conservative is not None
        assert economical is not None
        assert conservative >= economical


def test_who_leaves_unconfirmed_counts_against_its_feerate() -> None:
    fees = _live(100, {20_000: 1})
    for height in range(101, 140):
        fees.block_connected(height, [])
        for number in range(4):
            fees.entered(_txid(height * 100 + number), height, 3_000)
        for number in range(4):
            fees.left(_txid((height - 20) * 100 + number))
    found = fees.raw(6, 0.85, Horizon.MEDIUM)
    assert found.feerate_sat_per_kvb == pytest.approx(20_000)
    assert found.failed is not None
    assert found.failed.left_mempool > 0
    assert found.failed.in_mempool > 0


def test_reorganisations_and_the_past_teach_nothing() -> None:
    fees = _live(50, {5_000: 1})
    before = fees.raw(2, 0.85, Horizon.SHORT)
    fees.entered(_txid(10**6), 49, 100)
    fees.block_connected(50, [_txid(10**6)])
    assert fees.raw(2, 0.85, Horizon.SHORT) == before


@pytest.mark.parametrize(("rate", "bucket"), [(1, 0), (100, 0), (100.1, 1), (105, 1), (1e8, len(BOUNDS) - 1)])
def test_buckets_are_five_percent_apart(rate: float, bucket: int) -> None:
    assert bucket_of(rate) == bucket


def test_a_growing_unit_is_the_same_as_fading_counts() -> None:
    chance = random.Random(3)
    statistics = ConfirmationStatistics(4, 2, 0.5)  # fades so fast that the unit starts anew
    confirmed, in_time = [0.0] * len(BOUNDS), [[0.0] * len(BOUNDS) for _ in range(4)]
    for height in range(1, 800):
        statistics.begin_block(height)
        for counts in (confirmed, *in_time):
            counts[:] = [count * 0.5 for count in counts]
        for _ in range(3):
            rate, blocks = chance.uniform(100, 10_000), chance.randint(1, 8)
            bucket = bucket_of(rate)
            statistics.confirmed(blocks, bucket, rate)
            confirmed[bucket] += 1
            for period in range((blocks + 1) // 2 - 1, 4):
                in_time[period][bucket] += 1
    found = statistics.estimate(8, 0.5, 0.0, 799)
    assert found.passed is not None
    within = range(
        bucket_of(found.passed.start) + 1 if found.passed.start else 0, bucket_of(found.passed.end) + 1
    )
    assert found.passed.total_confirmed == pytest.approx(sum(confirmed[at] for at in within))
    assert found.passed.within_target == pytest.approx(sum(in_time[3][at] for at in within))

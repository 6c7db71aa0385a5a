"""How delays grow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.supervision.backoff import Backoff


def test_delays_double_up_to_the_longest() -> None:
    backoff = Backoff(first_s=0.1, longest_s=1.0)
    assert [backoff.delay_s(attempt, 0.0) for attempt in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_chance_takes_away_at_most_the_jitter() -> None:
    assert Backoff(first_s=1.0, jitter=0.5).delay_s(0, 0.5) == 0.75


@given(st.integers(0, 10**9), st.floats(0, 1, exclude_max=True))
def test_every_delay_lies_between_half_the_first_and_the_longest(attempt: int, chance: float) -> None:
    backoff = Backoff(first_s=0.05, longest_s=30.0)
    assert 0.025 <= backoff.delay_s(attempt, chance) <= 30.0


@pytest.mark.parametrize("attempt", [63, 1024, 10**6])
def test_a_thousandth_try_does_not_overflow(attempt: int) -> None:
    assert Backoff().delay_s(attempt, 0.0) == 30.0

"""A key's last second, counted as it goes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.hsm.rates import LastSecond


@given(
    st.lists(st.tuples(st.integers(0, 360), st.integers(0, 6)), max_size=60),
    st.lists(st.integers(0, 10), min_size=60, max_size=60),
)
def test_it_lets_through_what_summing_the_second_anew_would(
    calls: list[tuple[int, int]], limits: list[int]
) -> None:
    rate, done, now = LastSecond(), list[tuple[int, int]](), 0  # in 512ths, which floats hold exactly
    for (passed, count), limit in zip(calls, limits, strict=False):
        now += passed
        within = sum(made for at, made in done if now - at < 512)
        fits = within + count <= limit
        assert rate.take(now / 512, count, limit) == fits
        if fits:
            done.append((now, count))


def test_what_is_older_than_a_second_is_forgotten() -> None:
    rate = LastSecond()
    for number in range(10_000):
        assert rate.take(number / 4, 1, 4)
    assert len(rate._done) == 4
    for _ in range(1000):
        assert rate.take(2500.0, 0, 4)
    assert len(rate._done) <= 4

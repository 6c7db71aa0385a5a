"""A bounded memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.remembered import Remembered


def test_the_least_recently_used_goes_first() -> None:
    memory: Remembered[str, int] = Remembered(limit=10)
    memory.put("a", 1, 4)
    memory.put("b", 2, 4)
    assert memory.get("a") == 1
    memory.put("c", 3, 4)
    assert [memory.get(key) for key in "abc"] == [1, None, 3]
    memory.put("a", 9, 1)
    assert (memory.get("a"), len(memory)) == (9, 2)


def test_what_is_larger_than_the_limit_is_not_kept() -> None:
    memory: Remembered[str, int] = Remembered(limit=10)
    memory.put("a", 1, 11)
    assert (memory.get("a"), len(memory)) == (None, 0)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 6))))
def test_it_never_holds_more_than_its_limit(puts: list[tuple[int, int]]) -> None:
    memory: Remembered[int, int] = Remembered(limit=12)
    sizes: dict[int, int] = {}
    for key, size in puts:
        memory.put(key, size, size)
        sizes[key] = size
        assert memory.get(key) == size
        assert sum(sizes[found] for found in sizes if memory.get(found) is not None) <= 12

"""The best order of a cluster: against every order there is, for clusters small enough to try all."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.bitcoin.linearization import FeeAndWeight, improves, linearize, total_of

Items = dict[int, FeeAndWeight]
Parents = dict[int, list[int]]


@st.composite
def clusters(draw: st.DrawFn, most: int = 7) -> tuple[Items, Parents]:
    size = draw(st.integers(1, most))
    fees = st.one_of(st.just(0), st.integers(-20, 300))
    items = {place: FeeAndWeight(draw(fees), draw(st.sampled_from([1, 4, 30, 100]))) for place in range(size)}
    parents: Parents = {
        place: [other for other in range(place) if draw(st.booleans())] for place in range(size)
    }
    return items, parents


def _best_chunks(items: Items, parents: Parents) -> list[FeeAndWeight]:
    """By trying: again and again the best paying set that needs nothing but itself."""
    left, found = set(items), []
    while left:
        sets = (
            set(chosen) for size in range(1, len(left) + 1) for chosen in itertools.combinations(left, size)
        )
        closed = [
            chosen
            for chosen in sets
            if all(parent in chosen or parent not in left for member in chosen for parent in parents[member])
        ]
        best = max(
            closed, key=lambda chosen: (total_of(items[member] for member in chosen).rank, -len(chosen))
        )
        found.append(total_of(items[member] for member in best))
        left -= best
    return found


@given(clusters())
def test_no_order_is_better(cluster: tuple[Items, Parents]) -> None:
    items, parents = cluster
    ours = [chunk.total for chunk in linearize(items, parents)]
    best = _best_chunks(items, parents)
    assert not improves(best, ours)
    assert not improves(ours, best)
    assert total_of(ours) == total_of(items.values())


@given(clusters(most=12))
def test_parents_come_first_and_feerates_fall(cluster: tuple[Items, Parents]) -> None:
    items, parents = cluster
    chunks = linearize(items, parents)
    order = [member for chunk in chunks for member in chunk.members]
    assert sorted(order) == sorted(items)
    places = {member: place for place, member in enumerate(order)}
    assert all(places[parent] < places[member] for member in items for parent in parents[member])
    ranks = [chunk.total.rank for chunk in chunks]
    assert ranks == sorted(ranks, reverse=True)


def test_a_child_pays_for_its_parent_and_a_poor_child_does_not_burden_it() -> None:
    rich, poor = FeeAndWeight(1_000, 100), FeeAndWeight(10, 100)
    (together,) = linearize({"parent": poor, "child": rich}, {"parent": [], "child": ["parent"]})
    assert together.members == ("parent", "child")
    apart = linearize({"parent": rich, "child": poor}, {"parent": [], "child": ["parent"]})
    assert [chunk.members for chunk in apart] == [("parent",), ("child",)]


@pytest.mark.parametrize(
    ("ours", "theirs", "better"),
    [
        ([(100, 10)], [(100, 10)], False),
        ([(101, 10)], [(100, 10)], True),
        ([(100, 9)], [(100, 10)], True),
        ([(100, 11)], [(100, 10)], False),
        ([(200, 10)], [(100, 5), (50, 5)], True),
        ([(150, 10)], [(100, 5), (50, 5)], False),  # below at weight 5
        ([(150, 10), (0, 5)], [(100, 10)], True),
        ([(100, 10), (-1, 5)], [(100, 10)], False),
        ([], [], False),
    ],
)
def test_diagrams_are_compared_at_every_weight(
    ours: list[tuple[int, int]], theirs: list[tuple[int, int]], better: bool
) -> None:
    assert (
        improves([FeeAndWeight(*item) for item in ours], [FeeAndWeight(*item) for item in theirs]) is better
    )

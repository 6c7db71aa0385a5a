"""Files of labels (BIP329): what is written can be read, and no text is a fault."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.bitcoin.labels import KINDS, format_labels, parse_labels
from anya_actors.domain.bitcoin.orders import Label
from anya_actors.domain.machine import InvalidInputError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
OUTPOINTS = st.builds(
    lambda txid, at: f"{txid.hex()}:{at}", st.binary(min_size=32, max_size=32), st.integers(0, 99)
)
LABELS = st.one_of(
    st.builds(
        Label, st.sampled_from([kind for kind in KINDS if kind != "output"]), TEXT.filter(bool), TEXT, TEXT
    ),
    st.builds(Label, st.just("output"), OUTPOINTS, TEXT, TEXT, st.none() | st.booleans()),
)


@given(st.lists(LABELS, max_size=8))
def test_labels_that_are_written_are_read_again(labels: list[Label]) -> None:
    assert parse_labels(format_labels(labels)) == tuple(labels)


@given(
    st.text(max_size=200)
    | st.lists(st.sampled_from(['{"type":', '"tx"', ",", '"ref":"x"', "}", "\n"])).map("".join)
)
def test_any_other_text_is_refused_with_its_line(text: str) -> None:
    with contextlib.suppress(InvalidInputError):
        parse_labels(text)

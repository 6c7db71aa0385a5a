"""Points and scalars of secp256k1: what they refuse, and that all ways to a point agree."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.keys.curve import (
    FIELD_SIZE,
    GENERATOR,
    ORDER,
    CurveError,
    Point,
    add_to_secret,
    check_secret,
    multiply_secret,
    negate_secret,
    read_scalar,
    schnorr_holds,
    shared_point,
    sum_points,
)
from anya_actors.domain.keys.secret import Secret

SCALARS = st.integers(1, ORDER - 1)


def secret(value: int) -> Secret:
    return Secret(value.to_bytes(32, "big"))


@given(st.one_of(st.binary(max_size=70), st.binary(min_size=32, max_size=32).map(lambda x: b"\x02" + x)))
def test_bytes_are_a_point_or_refused(data: bytes) -> None:
    try:
        point = Point.parse(data)
    except CurveError:
        return
    assert Point.parse(point.serialize()) == point
    if len(data) == 33:
        assert point.serialize() == data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(33),
        b"\x02" + FIELD_SIZE.to_bytes(32, "big"),  # not reduced
        b"\x02" + (5).to_bytes(32, "big"),  # no point has this x
        b"\x06" + bytes(64),  # hybrid keys exist in old scripts alone
        b"\x04" + GENERATOR.x + bytes(32),
    ],
)
def test_what_is_no_point_is_refused(data: bytes) -> None:
    with pytest.raises(CurveError):
        Point.parse(data)
    with pytest.raises(CurveError):
        Point.from_x(data)


@given(SCALARS, SCALARS)
def test_all_ways_to_a_point_agree(one: int, other: int) -> None:
    P = Point.of_scalar(one)
    assert P == Point.of_secret(secret(one)) == GENERATOR.times(one)
    assert P.plus(other) == sum_points([P, Point.of_scalar(other)])
    assert shared_point(P, secret(other)) == P.times(other) == Point.of_scalar(one * other % ORDER)
    assert P.negate() == Point.of_scalar(-one)
    assert sum_points([P, None, P.negate()]) is None
    assert P.plus(-one) is None
    assert P.times(ORDER) is None
    assert pickle.loads(pickle.dumps(P)) == P


@given(SCALARS, SCALARS)
def test_secrets_are_computed_with_in_place(one: int, other: int) -> None:
    changed = secret(one)
    multiply_secret(changed, other)
    assert changed.reveal() == secret(one * other % ORDER).reveal()
    negate_secret(changed)
    assert changed.reveal() == secret(-one * other % ORDER).reveal()
    if (one - one * other) % ORDER:
        add_to_secret(changed, secret(one))
        assert changed.reveal() == secret((one - one * other) % ORDER).reveal()


@pytest.mark.parametrize("value", [0, ORDER, 2**256 - 1])
def test_secrets_out_of_range_are_refused(value: int) -> None:
    refused: list[Callable[[Secret], Any]] = [
        check_secret,
        negate_secret,
        Point.of_secret,
        lambda bad: add_to_secret(bad, 0),
        lambda bad: multiply_secret(bad, 1),
        lambda bad: multiply_secret(secret(1), bad),
        lambda bad: shared_point(GENERATOR, bad),
    ]
    for action in refused:
        with pytest.raises(CurveError, match=r"range|order"):
            action(secret(value))


def test_a_sum_or_product_of_zero_is_refused() -> None:
    with pytest.raises(CurveError):
        add_to_secret(secret(5), -5)
    with pytest.raises(CurveError):
        multiply_secret(secret(5), ORDER)


def test_scalars_are_read_strictly() -> None:
    assert read_scalar((ORDER - 1).to_bytes(32, "big"), "s") == ORDER - 1
    for data in (ORDER.to_bytes(32, "big"), bytes(31), bytes(33)):
        with pytest.raises(CurveError):
            read_scalar(data, "s")


def test_bip340_signatures_hold_or_not_as_the_vectors_say(vectors: Callable[[str], Any]) -> None:
    for row in vectors("bip340_schnorr.csv"):
        holds = schnorr_holds(
            bytes.fromhex(row["public key"]), bytes.fromhex(row["message"]), bytes.fromhex(row["signature"])
        )
        assert holds == (row["verification result"] == "TRUE"), row["index"]


def test_a_signature_of_another_size_does_not_hold() -> None:
    assert not schnorr_holds(GENERATOR.x, b"", bytes(63))
    assert not schnorr_holds(GENERATOR.serialize(), b"", bytes(64))

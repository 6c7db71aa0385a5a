"""Proofs of equal discrete logarithms by the vectors of BIP374."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.keys.curve import GENERATOR, CurveError, Point, shared_point
from anya_actors.domain.keys.dleq import DleqError, prove_dleq, verify_dleq
from anya_actors.domain.keys.secret import Secret


def test_proofs_are_made_as_in_the_vectors(vectors: Callable[[str], Any]) -> None:
    for row in vectors("bip374_dleq_generate.csv"):

        def prove(row: dict[str, str] = row) -> bytes:
            return prove_dleq(
                Secret(bytes.fromhex(row["scalar_a"])),
                Point.parse(b"" if row["point_B"] == "INFINITY" else bytes.fromhex(row["point_B"])),
                bytes.fromhex(row["auxrand_r"]),
                G=Point.parse(bytes.fromhex(row["point_G"])),
                message=bytes.fromhex(row["message"]) or None,
            )

        if row["result_proof"] == "INVALID":
            with pytest.raises(CurveError):
                prove()
        else:
            assert prove().hex() == row["result_proof"], row["comment"]


def test_proofs_hold_or_not_as_the_vectors_say(vectors: Callable[[str], Any]) -> None:
    for row in vectors("bip374_dleq_verify.csv"):
        A, B, C, G = (Point.parse(bytes.fromhex(row[f"point_{name}"])) for name in "ABCG")
        proof, message = bytes.fromhex(row["proof"]), bytes.fromhex(row["message"]) or None
        if row["result_success"] == "TRUE":
            verify_dleq(A, B, C, proof, G=G, message=message)
        else:
            with pytest.raises(DleqError):
                verify_dleq(A, B, C, proof, G=G, message=message)


SECRET = Secret(b"\x07" * 32)
B = Point.of_scalar(1234567)


@given(st.binary(min_size=32, max_size=32), st.one_of(st.none(), st.binary(min_size=32, max_size=32)))
def test_a_proof_holds_for_its_points_and_message_alone(auxiliary: bytes, message: bytes | None) -> None:
    A, C = Point.of_secret(SECRET), shared_point(B, SECRET)
    proof = prove_dleq(SECRET, B, auxiliary, message=message)
    verify_dleq(A, B, C, proof, message=message)
    other = GENERATOR
    for points in ((other, B, C), (A, other, C), (A, B, other), (C, B, A)):
        with pytest.raises(DleqError):
            verify_dleq(*points, proof, message=message)
    with pytest.raises(DleqError):
        verify_dleq(A, B, C, proof, message=bytes(31) + b"\x55")


@given(st.binary(max_size=70))
def test_any_other_bytes_are_no_proof(proof: bytes) -> None:
    with pytest.raises(DleqError):
        verify_dleq(Point.of_secret(SECRET), B, shared_point(B, SECRET), proof)


def test_sizes_are_checked() -> None:
    proof = prove_dleq(SECRET, B, bytes(32))
    A, C = Point.of_secret(SECRET), shared_point(B, SECRET)
    for action in (
        lambda: prove_dleq(SECRET, B, bytes(31)),
        lambda: prove_dleq(SECRET, B, bytes(32), message=b""),
        lambda: verify_dleq(A, B, C, proof, message=bytes(33)),
        lambda: verify_dleq(A, B, C, b"\xff" * 64),
    ):
        with pytest.raises(DleqError):
            action()

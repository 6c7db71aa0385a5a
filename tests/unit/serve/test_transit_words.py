"""Whatever a Transit client sends is understood, or refused as its own mistake."""

from __future__ import annotations

import base64
import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.keys.algorithms import NIST_CURVES, RSA_BITS, check_algorithm
from anya_actors.domain.machine import InvalidInputError, NotSupportedError
from anya_actors.serve.transit import words

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["hash_algorithm", "algorithm", "prehashed", "marshaling_algorithm", "signature_algorithm", "salt_length"]
)
VALUES = JSON | st.sampled_from(
    [*words.HASHES, "none", "sha1", "jws", "asn1", "pss", "pkcs1v15", "auto", "hash", "20", 20, True]
)
SIGNING = sorted({*NIST_CURVES, *RSA_BITS, "ed25519", "secp256k1"})
REFUSED = (InvalidInputError, NotSupportedError)


@given(st.binary(max_size=100), st.integers(1, 999_999_999))
def test_what_is_sealed_is_parsed_again(data: bytes, version: int) -> None:
    assert words.parse_sealed(words.sealed(data, version), "ciphertext") == (version, data)


@given(JSON | st.text(max_size=60).map(lambda text: f"vault:v1:{text}"))
def test_anything_else_that_is_sealed_is_refused(value: Any) -> None:
    with contextlib.suppress(InvalidInputError):
        version, data = words.parse_sealed(value, "ciphertext")
        assert version >= 1
        encoded = value.split(":")[2].replace("-", "+").replace("_", "/").rstrip("=")
        assert base64.b64encode(data).decode().rstrip("=")[:-1] == encoded[:-1]


@given(st.dictionaries(NAMES, VALUES), st.sampled_from(SIGNING), st.booleans())
def test_a_signature_is_of_an_algorithm_that_exists_or_is_refused(
    fields: dict[str, Any], key_type: str, verifying: bool
) -> None:
    with contextlib.suppress(*REFUSED):
        algorithm = words.signing_algorithm(key_type, fields, verifying=verifying)
        check_algorithm(key_type, algorithm, "verify" if verifying else "sign")


@given(JSON)
def test_every_reader_of_a_field_gives_its_type_or_refuses(value: Any) -> None:
    fields = {"field": value, "type": value}
    readers: list[tuple[Any, type]] = [
        (lambda: words.number(fields, "field", 0), int),
        (lambda: words.flag(fields, "field", False), bool),
        (lambda: words.text(fields, "field", ""), str),
        (lambda: words.seconds(fields, "field", 0), int),
        (lambda: words.given(fields, "field"), bytes),
        (lambda: words.key_type_of(fields), str),
    ]
    for read, kind in readers:
        with contextlib.suppress(*REFUSED):
            assert isinstance(read(), kind)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("0", 0), (0, 0), (90, 90), ("90", 90), ("90s", 90), ("1h", 3600), ("1h30m", 5400), ("30d", 2_592_000)],
)
def test_times_are_read_as_go_and_people_write_them(written: Any, seconds: int) -> None:
    assert words.seconds({"period": written}, "period", 7) == seconds


@pytest.mark.parametrize("written", ["", None])
def test_a_time_that_is_left_out_stays(written: Any) -> None:
    assert words.seconds({"period": written}, "period", 7) == 7


@pytest.mark.parametrize("written", ["h", "1w", "1.5h", "-1h", "30m1h", True, [], 1.5, "٣h"])
def test_other_times_are_refused(written: Any) -> None:
    with pytest.raises(InvalidInputError, match="period"):
        words.seconds({"period": written}, "period", 7)

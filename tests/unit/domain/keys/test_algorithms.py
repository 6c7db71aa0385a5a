"""Names of algorithms: what keys of a type serve, and nothing that only looks like it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.keys.algorithms import (
    ALGORITHMS_OF,
    SIGNATURE_ALGORITHMS,
    VERIFICATION_ALGORITHMS,
    check_algorithm,
    check_message,
)
from anya_actors.domain.machine import InvalidInputError


@pytest.mark.parametrize(
    "name", ["rsa-pss-sha256-salt0", "rsa-pss-sha256-salt478", "rsa-pss-sha3-384-salt20-digest"]
)
def test_a_pss_salt_may_have_any_length(name: str) -> None:
    check_algorithm("rsa-2048", name)
    check_algorithm("rsa-2048", name, "verify")


@pytest.mark.parametrize(
    "name",
    [
        "rsa-pss-sha256-salt",
        "rsa-pss-sha256-salt020",
        "rsa-pss-sha256-salt1000",
        "rsa-pss-sha256-salt20-salt30",
        "rsa-pss-sha256-auto-salt20",
        "rsa-pss-sha256-digest-salt20",
        "rsa-pss-sha1-salt20",
        "rsa-pss-none-salt20",
        "rsa-pkcs1-sha256-salt20",
        "rsa-pss-sha256-salt٢٠",
        "rsa-pss-sha256-salt20\n",
        "ecdsa-p256-sha256",
        "",
    ],
)
def test_names_that_are_alike_are_refused(name: str) -> None:
    with pytest.raises(InvalidInputError):
        check_algorithm("rsa-2048", name)


def test_signatures_over_sha1_are_verified_alone() -> None:
    for key_type, verified in VERIFICATION_ALGORITHMS.items():
        more = verified - SIGNATURE_ALGORITHMS[key_type]
        assert all("-sha1" in name for name in more)
        assert not any("-sha1" in name for name in SIGNATURE_ALGORITHMS[key_type])
    check_algorithm("rsa-2048", "rsa-pss-sha1-salt20", "verify")


def test_a_name_fits_into_an_audit_entry() -> None:
    names = {name for types in ALGORITHMS_OF.values() for served in types.values() for name in served}
    salted = {f"{name}-salt478" for name in names if name.startswith("rsa-pss") and "-auto" not in name}
    assert max(len(name) for name in names | salted) <= 32


@given(st.sampled_from(["ecdsa-p256", "ecdsa-p521-p1363", "schnorr-bip340"]), st.binary(max_size=70))
def test_a_digest_has_the_length_of_a_digest(algorithm: str, message: bytes) -> None:
    if len(message) in ((32,) if algorithm == "schnorr-bip340" else (28, 32, 48, 64)):
        check_message(algorithm, message)
    else:
        with pytest.raises(InvalidInputError, match="signs exactly"):
            check_message(algorithm, message)

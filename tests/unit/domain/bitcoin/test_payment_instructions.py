"""Names that can be paid (BIP353), by the proofs of the BIP."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.payment_instructions import (
    HumanName,
    HumanNameError,
    PaymentInstructions,
    make_psbt_proof,
    parse_human_name,
    parse_psbt_proof,
    verify_instructions,
)
from anya_actors.domain.bitcoin.payment_uri import parse_payment_uri
from anya_actors.domain.dnssec.records import DnssecError
from anya_actors.domain.machine import InvalidInputError, NotSupportedError


def seconds(day: str) -> int:
    parsed = datetime.datetime.strptime(day, "%B %d, %Y").replace(tzinfo=datetime.UTC)
    return int(parsed.timestamp()) + 12 * 3600


def on_the_day(name: HumanName, proof: bytes, noon_s: int) -> tuple[int, PaymentInstructions]:
    """The first hour of a day at which the proof holds: the BIP names only the day."""
    for now_s in range(noon_s - 12 * 3600, noon_s + 12 * 3600, 3600):
        with contextlib.suppress(DnssecError):
            return now_s, verify_instructions(name, proof, now_s=now_s)
    pytest.fail(f"the proof of {name} holds at no hour of its day")


def test_the_proofs_of_the_bip_hold_or_not(vectors: Callable[[str], Any]) -> None:
    for group in vectors("bip353_dnssec_proofs.json").values():
        for case in group:
            value = bytes.fromhex(case["proof"])
            name, proof = parse_psbt_proof(value)
            assert f"{name.user}@{name.domain}" == case["name"]
            assert make_psbt_proof(name, proof) == value
            if not case["valid"]:
                # On any day that their other signatures may have held.
                for day in range(1, 25):
                    with pytest.raises(DnssecError):
                        verify_instructions(name, proof, now_s=seconds(f"August {day}, 2025"))
                continue
            now_s, found = on_the_day(name, proof, seconds(case["valid_on"]))
            uri = parse_payment_uri(found.uri, Network.MAINNET)
            assert [*uri.addresses, *uri.silent_addresses, *uri.offers] == case["payment"]
            assert found.valid_from_s <= now_s <= found.expires_s
            assert found.ttl_s == 30
            assert verify_instructions(name, proof, now_s=found.expires_s + 60, late_s=60) == found
            for wrong_s in (found.valid_from_s - 1, found.expires_s + 1):
                with pytest.raises(DnssecError):
                    verify_instructions(name, proof, now_s=wrong_s)
            with pytest.raises(DnssecError):
                verify_instructions(HumanName("mallory", name.domain), proof, now_s=now_s)
            with pytest.raises(InvalidInputError):
                verify_instructions(name, proof, now_s=now_s, late_s=3601)


@pytest.mark.parametrize(
    ("text", "shown", "dns_name"),
    [
        ("matt@mattcorallo.com", "₿matt@mattcorallo.com", "matt.user._bitcoin-payment.mattcorallo.com."),
        ("₿a.b@x-y.org.", "₿a.b@x-y.org", "a.b.user._bitcoin-payment.x-y.org."),
        (
            "_@xn--bcher-kva.example",
            "₿_@xn--bcher-kva.example",
            "_.user._bitcoin-payment.xn--bcher-kva.example.",
        ),
    ],
)
def test_a_name_is_read_with_or_without_its_sign(text: str, shown: str, dns_name: str) -> None:
    name = parse_human_name(text)
    assert (str(name), name.dns_name) == (shown, dns_name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "a@",
        "@b",
        "a",
        "a b@c",
        "a@b@c",
        "a@b..c",
        ".a@b",
        "a*@b",
        "a@b\\.c",
        "a\n@b",
        f"{'a' * 64}@b",
        f"{'a.' * 120}a@b",
    ],
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(HumanNameError):
        parse_human_name(text)


def test_names_that_could_look_like_others_are_not_supported() -> None:
    for text in ("аlice@example.com", "₿₿alice@example.com"):
        with pytest.raises(NotSupportedError):
            parse_human_name(text)


@given(st.text(max_size=60))
def test_any_text_is_a_name_or_refused(text: str) -> None:
    try:
        name = parse_human_name(text)
    except (HumanNameError, NotSupportedError):
        return
    assert parse_human_name(str(name)) == name


@given(st.binary(max_size=60))
def test_any_field_is_a_name_with_a_proof_or_refused(value: bytes) -> None:
    try:
        name, proof = parse_psbt_proof(value)
    except HumanNameError:
        return
    assert parse_psbt_proof(make_psbt_proof(name, proof)) == (name, proof)


@given(st.binary(max_size=200))
def test_any_bytes_prove_nothing(proof: bytes) -> None:
    with pytest.raises(DnssecError):
        verify_instructions(HumanName("a", "b"), proof, now_s=0)

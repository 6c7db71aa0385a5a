"""Chains of DNSSEC signatures: what holds, and what must not although its arithmetic does."""

from __future__ import annotations

import base64
from typing import Any, cast

import dns.name
import pytest
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.dnssec.denial import MAX_ITERATIONS, hash_name
from anya_actors.domain.dnssec.records import DnssecError, ProofRecords, parse_records
from anya_actors.domain.dnssec.validation import Proof, Resolved, TrustAnchor, _rsa_bits, _usable

from .signed_zones import (
    COM,
    EXPIRATION_S,
    INCEPTION_S,
    NOW_S,
    PAY,
    ROOT,
    TTL_S,
    Zone,
    anchor_of,
    chain_to,
    rdata_of,
    record,
)

NAME = "a.pay.com."
TXT, CNAME, DNAME = RdataType.TXT, RdataType.CNAME, RdataType.DNAME


def resolve(
    proof: bytes, name: str = NAME, *, now_s: int = NOW_S, late_s: int = 0, anchors: Any = None
) -> Resolved:
    chain = Proof(parse_records(proof), now_s=now_s, late_s=late_s, anchors=anchors or (anchor_of(ROOT),))
    return chain.resolve(dns.name.from_text(name), TXT)


def texts(found: Resolved) -> list[str]:
    return sorted(b"".join(one.strings).decode() for one in found.records)


def refused(proof: bytes, name: str = NAME, **changes: Any) -> str:
    with pytest.raises(DnssecError) as error:
        resolve(proof, name, **changes)
    return str(error.value)


def test_a_signed_record_is_found_through_its_chain() -> None:
    found = resolve(chain_to(PAY) + PAY.sign(NAME, TXT, '"two " "parts"', '"other"'))
    assert texts(found) == ["other", "two parts"]
    assert (found.valid_from_s, found.expires_s, found.ttl_s) == (INCEPTION_S, EXPIRATION_S, TTL_S)


def test_the_order_of_records_and_the_case_of_names_do_not_matter() -> None:
    proof = (
        PAY.sign("A.Pay.COM.", TXT, '"x"') + PAY.keys() + COM.delegate(PAY) + COM.keys() + ROOT.delegate(COM)
    )
    assert texts(resolve(proof + ROOT.keys())) == ["x"]


@pytest.mark.parametrize("algorithm", [8, 10, 13, 14, 15])
@pytest.mark.parametrize("digest", ["SHA256", "SHA384"])
def test_modern_algorithms_hold(algorithm: int, digest: str) -> None:
    zone = Zone("pay.com.", algorithm, 3)
    chain = ROOT.keys() + ROOT.delegate(COM) + COM.keys() + COM.delegate(zone, digest=digest) + zone.keys()
    assert texts(resolve(chain + zone.sign(NAME, TXT, '"x"'))) == ["x"]


@pytest.mark.parametrize("algorithm", [5, 7])
def test_signatures_over_sha1_do_not_hold(algorithm: int) -> None:
    zone = Zone("pay.com.", algorithm, 3)
    refused(chain_to(zone) + zone.sign(NAME, TXT, '"x"'))


def test_a_delegation_by_sha1_does_not_hold() -> None:
    chain = ROOT.keys() + ROOT.delegate(COM) + COM.keys() + COM.delegate(PAY, digest="SHA1") + PAY.keys()
    refused(chain + PAY.sign(NAME, TXT, '"x"'))


def test_a_short_rsa_key_does_not_hold() -> None:
    # No library makes so short a key any more: the size itself is asked.
    zone = Zone("pay.com.", 8, 3)
    exponent, modulus = zone.dnskey.key[:4], zone.dnskey.key[4:]
    assert _rsa_bits(zone.dnskey.key) == 1024
    assert _rsa_bits(exponent + bytes(1) + modulus[1:]) < 1024
    assert _rsa_bits(b"\x00\x00\x03" + exponent[1:] + modulus) == 1024
    assert _rsa_bits(b"\x03") == _rsa_bits(b"") == 0
    assert _usable(zone.dnskey)
    for key in (exponent + modulus[1:], exponent + modulus * 5):
        assert not _usable(cast(DNSKEY, zone.dnskey.replace(key=key)))


@pytest.mark.parametrize("change", [{"flags": 1}, {"flags": 0x0181}, {"protocol": 2}])
def test_a_key_that_may_not_sign_a_zone_does_not_hold(change: dict[str, int]) -> None:
    zone = Zone("pay.com.", number=3, **change)
    refused(chain_to(zone) + zone.sign(NAME, TXT, '"x"'))


@pytest.mark.parametrize(
    ("now_s", "late_s"), [(INCEPTION_S - 1, 0), (EXPIRATION_S + 1, 0), (EXPIRATION_S + 61, 60)]
)
def test_signatures_hold_at_their_time_only(now_s: int, late_s: int) -> None:
    proof = chain_to(PAY) + PAY.sign(NAME, TXT, '"x"')
    refused(proof, now_s=now_s, late_s=late_s)
    assert resolve(proof, now_s=INCEPTION_S)
    assert resolve(proof, now_s=EXPIRATION_S)
    assert resolve(proof, now_s=EXPIRATION_S + 60, late_s=60)


def test_one_expired_link_breaks_the_chain() -> None:
    old: dict[str, Any] = {"expiration_s": NOW_S - 1}
    record_ = PAY.sign(NAME, TXT, '"x"')
    links = [ROOT.keys(), ROOT.delegate(COM), COM.keys(), COM.delegate(PAY), PAY.keys(), record_]
    expired = [
        ROOT.keys(**old),
        ROOT.delegate(COM, **old),
        COM.keys(**old),
        COM.delegate(PAY, **old),
        PAY.keys(**old),
        PAY.sign(NAME, TXT, '"x"', **old),
    ]
    for at in range(len(links)):
        refused(b"".join([*links[:at], expired[at], *links[at + 1 :]]))
        refused(b"".join(links[:at] + links[at + 1 :]))


def test_only_the_trusted_root_begins_a_chain() -> None:
    proof = chain_to(PAY) + PAY.sign(NAME, TXT, '"x"')
    anchor = anchor_of(ROOT)
    for wrong in (
        TrustAnchor(anchor.key_tag, anchor.algorithm, 2, bytes(32)),
        TrustAnchor(anchor.key_tag ^ 1, anchor.algorithm, 2, anchor.digest),
        TrustAnchor(anchor.key_tag, 13, 2, anchor.digest),
        TrustAnchor(anchor.key_tag, anchor.algorithm, 9, anchor.digest),
    ):
        refused(proof, anchors=(wrong,))
    with pytest.raises(DnssecError):
        Proof(parse_records(proof), now_s=NOW_S).resolve(dns.name.from_text(NAME), TXT)


def test_a_zone_signs_for_names_below_it_only() -> None:
    other = Zone("evil.com.", number=4)
    chain = chain_to(PAY) + COM.delegate(other) + other.keys()
    refused(chain + other.sign(NAME, TXT, '"x"'))
    # ... not even in another's name, nor may a child vouch for its own delegation.
    refused(chain + other.sign_rdatas(dns.name.from_text(NAME), TXT, [rdata_of(TXT, '"x"')], signer=PAY.name))
    own = ROOT.keys() + ROOT.delegate(COM) + COM.keys() + PAY.delegate(PAY) + PAY.keys()
    refused(own + PAY.sign(NAME, TXT, '"x"'))


def test_records_added_to_a_signed_set_break_it() -> None:
    proof = chain_to(PAY) + PAY.sign(NAME, TXT, '"x"')
    refused(proof + record(dns.name.from_text(NAME), TXT, rdata_of(TXT, '"y"')))


def test_aliases_are_followed_across_zones() -> None:
    shop = Zone("shop.com.", number=5)
    chain = chain_to(PAY) + COM.delegate(shop) + shop.keys()
    there = shop.sign("till.shop.com.", TXT, '"x"')
    assert texts(resolve(chain + PAY.sign(NAME, CNAME, "till.shop.com.") + there)) == ["x"]
    by_parent = PAY.sign("pay.com.", DNAME, "shop.com.") + shop.sign("a.shop.com.", TXT, '"y"')
    found = resolve(chain + by_parent)
    assert (texts(found), found.name.to_text()) == (["y"], "a.shop.com.")
    refused(chain + record(dns.name.from_text(NAME), CNAME, rdata_of(CNAME, "till.shop.com.")) + there)


def test_aliases_in_a_circle_lead_nowhere() -> None:
    circle = PAY.sign(NAME, CNAME, "b.pay.com.") + PAY.sign("b.pay.com.", CNAME, NAME)
    assert "aliases" in refused(chain_to(PAY) + circle)
    refused(chain_to(PAY) + PAY.sign(NAME, CNAME, "b.pay.com.", "c.pay.com."))
    endless = PAY.sign("pay.com.", DNAME, "a.pay.com.")
    refused(chain_to(PAY) + endless)
    refused(
        chain_to(PAY) + PAY.sign("pay.com.", DNAME, ".".join(["x" * 63] * 3) + ".pay.com."),
        "y" * 60 + ".pay.com.",
    )


WILD: dict[str, Any] = {"wildcard": "*.pay.com."}


def test_a_wildcard_needs_proof_that_nothing_is_closer() -> None:
    wild = chain_to(PAY) + PAY.sign(NAME, TXT, '"x"', **WILD)
    refused(wild)
    assert texts(resolve(wild + PAY.nsec("*.pay.com.", "b.pay.com."))) == ["x"]
    assert texts(resolve(wild + PAY.nsec("*.pay.com.", "pay.com."))) == ["x"]  # the last of the zone
    assert texts(resolve(wild + PAY.nsec3_around(NAME))) == ["x"]


def test_a_wildcard_at_any_depth_needs_proof_for_the_next_closer_name() -> None:
    deep = "x.y.a.pay.com."
    wild = chain_to(PAY) + PAY.sign(deep, TXT, '"x"', **WILD)
    assert texts(resolve(wild + PAY.nsec3_around(NAME), deep)) == ["x"]
    refused(wild + PAY.nsec3_around(deep), deep)
    assert texts(resolve(wild + PAY.nsec("*.pay.com.", "b.pay.com."), deep)) == ["x"]
    # a.pay.com exists, though empty, because something below it does: the wildcard does not apply.
    refused(wild + PAY.nsec("*.pay.com.", "z.a.pay.com."), deep)


def test_proofs_of_absence_that_prove_something_else_are_not_taken() -> None:
    wild = chain_to(PAY) + PAY.sign(NAME, TXT, '"x"', **WILD)
    hashed = hash_name(dns.name.from_text(NAME), b"\xab", 1)
    other = Zone("a.com.", number=6)
    for useless in (
        PAY.nsec("a.pay.com.", "b.pay.com."),  # the name itself exists
        PAY.nsec("b.pay.com.", "c.pay.com."),
        PAY.nsec("pay.com.", "0.pay.com."),
        PAY.nsec("pay.com.", "b.pay.com.", "NS RRSIG NSEC"),  # of the parent's side of a delegation
        PAY.nsec("pay.com.", "b.pay.com.", "DNAME RRSIG NSEC"),
        PAY.nsec3_around("b.pay.com."),
        PAY.nsec3_around(NAME, flags=1),  # opt-out
        PAY.nsec3_around(NAME, iterations=MAX_ITERATIONS + 1),
        PAY.nsec3(hashed, b"\xff" * 20),  # the name itself exists
        COM.delegate(other) + other.keys() + other.nsec("a.com.", "b.com."),
        COM.nsec("a.com.", "z.com."),
    ):
        refused(wild + useless)
    lower = (int.from_bytes(hashed, "big") - 1).to_bytes(20, "big")
    assert resolve(wild + PAY.nsec3(lower, bytes(20)))  # from there round the end of the zone
    assert resolve(wild + PAY.nsec3(b"\xff" * 20, b"\xfe" * 20))


def test_an_unsigned_proof_of_absence_is_none() -> None:
    wild = chain_to(PAY) + PAY.sign(NAME, TXT, '"x"', **WILD)
    bare = record(
        dns.name.from_text("*.pay.com."),
        RdataType.NSEC,
        rdata_of(RdataType.NSEC, "b.pay.com. TXT RRSIG NSEC"),
    )
    refused(wild + bare)


def test_keys_and_delegations_are_never_a_wildcards() -> None:
    # A zone whose owner can sign *.com only must not become the zone pay.com by it.
    chain = ROOT.keys() + ROOT.delegate(COM) + COM.keys() + COM.nsec("*.com.", "zzz.com.")
    wild = COM.delegate(PAY, wildcard="*.com.")
    refused(chain + wild + PAY.keys() + PAY.sign(NAME, TXT, '"x"'))


def test_a_wildcard_asked_for_by_its_own_name_is_an_ordinary_name() -> None:
    proof = chain_to(PAY) + PAY.sign("*.pay.com.", TXT, '"x"')
    assert texts(resolve(proof, "*.pay.com.")) == ["x"]


def test_hashes_are_those_of_rfc_5155() -> None:
    # RFC 5155, appendix A: salt aabbccdd, 12 further iterations.
    hashed = hash_name(dns.name.from_text("a.example."), bytes.fromhex("aabbccdd"), 12)
    assert base64.b32hexencode(hashed).decode().lower() == "35mthgpgcu1qg68fab165klnsnk3dpvl"


def test_a_proof_cannot_ask_for_endless_work() -> None:
    many = b"".join(PAY.sign(f"n{at}.pay.com.", CNAME, f"n{at + 1}.pay.com.") for at in range(17))
    assert "aliases" in refused(chain_to(PAY) + many, "n0.pay.com.")
    signatures = PAY.sign(NAME, TXT, '"x"')
    crowd = b"".join(PAY.sign(NAME, TXT, f'"{at}"') for at in range(33))
    assert "more than 32" in refused(chain_to(PAY) + signatures + crowd)
    with pytest.raises(DnssecError, match="bytes"):
        parse_records(bytes(65_536))
    with pytest.raises(DnssecError, match="records"):
        parse_records(record(dns.name.root, RdataType.A, rdata_of(RdataType.A, "1.2.3.4")) * 513)


def test_failed_signatures_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anya_actors.domain.dnssec.validation._MAX_SIGNATURES", 3)
    assert "signatures" in refused(chain_to(PAY) + PAY.sign(NAME, TXT, '"x"'))


TAIL = b"\x00\x01\x00\x00\x00\x00"


@pytest.mark.parametrize(
    "data",
    [
        b"\x01",
        b"\x01a\x00\x00\x10" + TAIL,
        b"\x01a\x00\x00\x10" + TAIL + b"\x00\x05\x01",
        b"\x01a\x00\x00\x10\x00\x03\x00\x00\x00\x00\x00\x02\x01x",  # class CH
        b"\x01a\x00\x00\x10" + TAIL + b"\x00\x02\x01x" + b"\xc0\x00\x00\x10" + TAIL + b"\x00\x02\x01x",
        b"\x01a\x00\x00\x05" + TAIL + b"\x00\x02\xc0\x00",  # an alias to a compressed name
        b"\x01a\x00\x00\x10" + TAIL + b"\x00\x00",  # a TXT without a string
        b"\x01a\x00\x00\x2f" + TAIL + b"\x00\x01\x00\x00",
    ],
)
def test_malformed_records_are_refused(data: bytes) -> None:
    with pytest.raises(DnssecError):
        parse_records(data)


def test_records_of_other_types_are_passed_over() -> None:
    aside = record(dns.name.root, RdataType.A, rdata_of(RdataType.A, "1.2.3.4"))
    assert texts(resolve(aside + chain_to(PAY) + PAY.sign(NAME, TXT, '"x"'))) == ["x"]


@given(st.binary(max_size=200))
def test_any_bytes_are_records_or_refused(data: bytes) -> None:
    try:
        records = parse_records(data)
    except DnssecError:
        return
    assert isinstance(records, ProofRecords)


GOOD = chain_to(PAY) + PAY.sign(NAME, TXT, '"x"', **WILD) + PAY.nsec3_around(NAME)


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_a_damaged_proof_proves_nothing_else(at: int, flip: int) -> None:
    data = bytearray(GOOD)
    data[at] ^= flip
    try:
        found = resolve(bytes(data))
    except DnssecError:
        return
    assert texts(found) == ["x"]

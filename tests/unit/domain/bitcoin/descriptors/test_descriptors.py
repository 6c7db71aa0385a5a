"""Descriptors: the vectors of BIP380 to BIP390 and Core's words for what is wrong."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.bitcoin.descriptors import (
    DerivationError,
    DescriptorError,
    NotSatisfiableError,
    ParsedDescriptor,
    descriptor_checksum,
    parse_descriptor,
    with_checksum,
)
from anya_actors.domain.bitcoin.network import Network

Vectors = Callable[[str], Any]

KEY = "03a34b99f22c790c4e36b2b3c2c35a36db06226e41c692fc82b8b56ac1c540c5bd"
OTHER = "02f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9"
XPUB = (
    "xpub6ERApfZwUNrhLCkDtcHTcxd75RbzS1ed54G1LkBUHQVHQKqhMkhgbmJb"
    "ZRkrgZw4koxb5JaHWkY4ALHY2grBGRjaDMzQLcgJvLJuZZvRcEL"
)
XPRV = (
    "xprvA1RpRA33e1JQ7ifknakTFpgNXPmW2YvmhqLQYMmrj4xJXXWYpDPS3xz7"
    "iAxn8L39njGVyuoseXzU6rcxFLJ8HFsTjSyQbLYnMpCqE2VbFWc"
)
WIF = "L4rK1yDtCWekvXuE6oXD9jCYfFNV2cWRpVuPLBcCU2z8TrisoyY1"

NAMES = ["bip381", "bip382", "bip383", "bip384", "bip385", "bip386", "bip387", "bip390"]


def parse_on_its_network(text: str) -> ParsedDescriptor:
    """The vectors mix keys and addresses of mainnet with those of regtest."""
    try:
        return parse_descriptor(text, Network.MAINNET)
    except DescriptorError:
        return parse_descriptor(text, Network.REGTEST)


@pytest.mark.parametrize("name", NAMES)
def test_valid_descriptors_give_the_scripts_of_the_bips(vectors: Vectors, name: str) -> None:
    for case in vectors(f"{name}_descriptors.json")["valid"]:
        parsed = parse_on_its_network(case["descriptor"])
        given_scripts, expected = [], case["scripts"]
        for index in range(3 if parsed.descriptors[0].is_ranged else 1):
            for descriptor in parsed.descriptors:
                given_scripts += descriptor.script_pubkeys(index, parsed.private_keys)
        assert [script.hex() for script in given_scripts][: len(expected)] == expected


@pytest.mark.parametrize("name", NAMES)
def test_invalid_descriptors_are_refused_on_every_network(vectors: Vectors, name: str) -> None:
    for case in vectors(f"{name}_descriptors.json")["invalid"]:
        for network in Network:
            with pytest.raises(DescriptorError):
                parse_descriptor(case["descriptor"], network)


def test_checksums_are_those_of_bip380(vectors: Vectors) -> None:
    for case in vectors("bip380_key_expressions.json")["checksum"]:
        if case["valid"]:
            parse_descriptor(case["expression"], Network.MAINNET)
        else:
            with pytest.raises(DescriptorError):
                parse_descriptor(case["expression"], Network.MAINNET)


def test_key_expressions_are_those_of_bip380(vectors: Vectors) -> None:
    cases = vectors("bip380_key_expressions.json")
    for case in cases["valid_key"]:
        parse_on_its_network(f"pk({case['expression']})")
    for case in cases["invalid_key"]:
        for network in (Network.MAINNET, Network.REGTEST):
            with pytest.raises(DescriptorError):
                parse_descriptor(f"pk({case['expression']})", network)


@pytest.mark.parametrize("name", NAMES)
def test_text_comes_back_as_it_was(vectors: Vectors, name: str) -> None:
    for case in vectors(f"{name}_descriptors.json")["valid"]:
        parsed = parse_on_its_network(case["descriptor"])
        text, network = str(parsed.descriptors[0]), parsed.descriptors[0].network
        assert str(parse_descriptor(text, network, require_checksum=True).single) == text


# The words are those of Bitcoin Core, descriptor.cpp and its tests in descriptor_tests.cpp.
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "'' is not a valid descriptor function"),
        ("pk()", "pk(): No key provided"),
        (f"pk( {KEY})", f"pk(): Key ' {KEY}' is invalid due to whitespace"),
        (f"pkh({KEY[:-2]})", f"pkh(): Pubkey '{KEY[:-2]}' is invalid"),
        ("pk(xpub1)", "pk(): key 'xpub1' is not valid"),
        (f"pk({XPUB}/2147483648)", "pk(): Key path value 2147483648 is out of range"),
        (f"pk({XPUB}/1aa)", "pk(): Key path value '1aa' is not a valid uint32"),
        (f"pk({XPUB}/<0>)", "pk(): Multipath key path specifiers must have at least two items"),
        (f"pk({XPUB}/<0;0>)", "pk(): Duplicated key path value 0 in multipath specifier"),
        (f"pk({XPUB}/<0;1>/<2;3>)", "pk(): Multiple multipath key path specifiers found"),
        (f"pk([00000000/<0;1>]{KEY})", "pk(): Key path value '<0;1>' specifies multipath in a section where"),
        (f"pk([0000000]{KEY})", "pk(): Fingerprint is not 4 bytes (7 characters instead of 8 characters)"),
        (f"pk([gggggggg]{KEY})", "pk(): Fingerprint 'gggggggg' is not hex"),
        (f"pk([00000000]]{KEY})", "pk(): Multiple ']' characters found for a single pubkey"),
        (
            f"pk(00000000]{KEY})",
            "pk(): Key origin start '[ character expected but not found, got '0' instead",
        ),
        (f"wsh(wpkh({KEY}))", "Can only have wpkh() at top level or inside sh()"),
        (f"sh(sh(pk({KEY})))", "Can only have sh() at top level"),
        (f"wsh({KEY})", "A function is needed within P2WSH"),
        (f"sh({KEY})", "A function is needed within P2SH"),
        (f"sh(and_v(v:pk({KEY}),older(1)))", "Miniscript expressions can only be used in wsh or tr."),
        (f"multi(0,{KEY})", "Multisig threshold cannot be 0, must be at least 1"),
        (f"multi(a,{KEY})", "Multi threshold 'a' is not valid"),
        (
            f"multi(2,{KEY})",
            "Multisig threshold cannot be larger than the number of keys; threshold is 2 but",
        ),
        (
            f"multi(1,{KEY},{KEY},{KEY},{KEY})",
            "Cannot have 4 pubkeys in bare multisig; only at most 3 pubkeys",
        ),
        (f"tr({KEY},{{pk({KEY})", "'tr("),
        (f"tr({KEY},{{pk({KEY}),pk({KEY}),pk({KEY})}})", "tr(): expected '}' after script expression"),
        (f"tr({KEY},pk({KEY}),pk({KEY}))", "tr(): expected ')' after script expression"),
        (f"tr({KEY},multi(1,{KEY}))", "Can only have multi/sortedmulti at top level, in sh(), or in wsh()"),
        (f"sh(tr({KEY}))", "Can only have tr at top level"),
        (f"rawtr({KEY},{KEY})", "rawtr(): only one key expected."),
        ("raw(a)", "Raw script is not hex"),
        ("addr(asdf)", "Address is not valid"),
        (f"tr(musig({KEY})/0h)", "tr(): musig(): derivation requires all participants to be xpubs or xprvs"),
        (f"tr(musig({XPUB})/0h)", "tr(): musig(): cannot have hardened derivation steps"),
        (f"tr(musig({XPUB}/*)/*)", "tr(): musig(): Cannot have ranged participant keys if musig() also has"),
        ("raw(6a)#aaaaaaa", "Expected 8 character checksum, not 7 characters"),
        ("raw(6a)#aaaaaaaa", "Provided checksum 'aaaaaaaa' does not match computed checksum"),
        ("raw(6a)##", "Multiple '#' symbols"),
        ("raw(é)", "Invalid characters in payload"),
    ],
)
def test_what_is_wrong_is_said_in_cores_words(text: str, reason: str) -> None:
    with pytest.raises(DescriptorError) as caught:
        parse_descriptor(text, Network.MAINNET)
    assert caught.value.reason.startswith(reason)


def test_a_checksum_may_be_required() -> None:
    with pytest.raises(DescriptorError, match="Missing checksum"):
        parse_descriptor("raw(deadbeef)", Network.MAINNET, require_checksum=True)
    # BIP380.
    assert descriptor_checksum("raw(deadbeef)") == "89f8spxm"


def test_private_keys_stand_apart_from_what_they_are_keys_of() -> None:
    parsed = parse_descriptor(f"wpkh({XPRV}/1/*)", Network.MAINNET)
    assert str(parsed.single) == with_checksum(f"wpkh({XPUB}/1/*)")
    assert XPRV not in repr(parsed)
    assert parsed.single.private_text(parsed.private_keys) == with_checksum(f"wpkh({XPRV}/1/*)")
    single = parse_descriptor(f"pkh({WIF})", Network.MAINNET)
    assert str(single.single) == with_checksum(f"pkh({KEY})")
    assert single.single.private_text(single.private_keys) == with_checksum(f"pkh({WIF})")


def test_a_hardened_step_needs_the_private_key() -> None:
    parsed = parse_descriptor(f"wpkh({XPRV}/1h/*h)", Network.MAINNET)
    with pytest.raises(DerivationError, match="private keys"):
        parsed.single.address(0)
    assert parsed.single.addresses(0, parsed.private_keys)[0].startswith("bc1q")
    with pytest.raises(DerivationError, match="private keys"):
        parse_descriptor(f"wpkh({XPUB}/1h/0)", Network.MAINNET).single.normalized()


def test_normalizing_moves_hardened_steps_into_the_origin() -> None:
    parsed = parse_descriptor(f"wpkh({XPRV}/1'/2h/3/*)", Network.MAINNET)
    normal = parsed.single.normalized(parsed.private_keys)
    assert normal.script_pubkeys(7) == parsed.single.script_pubkeys(7, parsed.private_keys)
    assert "/1h/2h]" in str(normal)
    assert str(normal).split("#")[0].endswith("/3/*)")


def test_several_paths_are_several_descriptors() -> None:
    parsed = parse_descriptor(f"wpkh({XPUB}/<0;1>/*)", Network.MAINNET)
    assert [str(one) for one in parsed.descriptors] == [
        with_checksum(f"wpkh({XPUB}/{branch}/*)") for branch in (0, 1)
    ]
    assert parsed.multipath == with_checksum(f"wpkh({XPUB}/<0;1>/*)")
    with pytest.raises(DescriptorError, match="several paths"):
        _ = parsed.single


def test_origins_lead_to_the_key() -> None:
    parsed = parse_descriptor(f"wpkh([d34db33f/84h/0h/0h]{XPUB}/0/*)", Network.MAINNET)
    (key,) = parsed.single.expand(5)[0].keys
    assert str(key.origin) == "d34db33f/84h/0h/0h/0/5"


# BIP67's first vector (see Core, rpc_bip67.json): sortedmulti orders by the bytes of the keys.
def test_sortedmulti_is_multi_of_the_sorted_keys(vectors: Vectors) -> None:
    for case in vectors("core_rpc_bip67.json"):
        keys = ",".join(case["keys"])
        parsed = parse_descriptor(f"sh(sortedmulti(2,{keys}))", Network.REGTEST)
        (plan,) = parsed.single.expand()
        assert plan.redeem_script == bytes.fromhex(case["script"])
        assert parsed.single.address() == case["address"]


# What Core's MaxSatisfactionWeight says of these.
@pytest.mark.parametrize(
    ("text", "weight"),
    [
        (f"pk({KEY})", 288),
        (f"pkh({KEY})", 424),
        (f"wpkh({KEY})", 106),
        (f"sh(wpkh({KEY}))", 92 + 106),
        (f"wsh(multi(1,{KEY},{OTHER}))", 1 + 71 + 73),
        (f"tr({KEY},pk({OTHER}))", 66),
        (f"wsh(and_v(v:pk({KEY}),older(10)))", 1 + 37 + 73),
        ("raw(6a)", None),
    ],
)
def test_the_weight_of_spending_is_known_before_signing(text: str, weight: int | None) -> None:
    assert parse_descriptor(text, Network.MAINNET).single.max_satisfaction_weight() == weight


@given(st.text(alphabet="pkhwshtrmulti_a(){},/<>;*'h[]0123456789abcdefv:#", max_size=60))
def test_any_text_is_a_descriptor_or_refused(text: str) -> None:
    for whole in (text, f"wsh({text})", f"tr({KEY},{text})", f"pk({XPUB}{text})"):
        with contextlib.suppress(DescriptorError):
            parsed = parse_descriptor(whole, Network.MAINNET)
            again = [parse_descriptor(str(one), Network.MAINNET).single for one in parsed.descriptors]
            assert [str(one) for one in again] == [str(one) for one in parsed.descriptors]


@pytest.mark.parametrize("kind", [DescriptorError, DerivationError, NotSatisfiableError])
def test_errors_survive_the_way_between_processes(kind: type[DescriptorError]) -> None:
    assert str(pickle.loads(pickle.dumps(kind("a reason")))) == str(kind("a reason"))

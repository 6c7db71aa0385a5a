"""Miniscript: types, limits and sanity beside another implementation, scripts read back, witnesses."""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections.abc import Mapping
from typing import Any

import pytest
from btclib.exceptions import BTClibValueError
from btclib_wallet.descriptors import miniscript as other
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.bitcoin.descriptors import DescriptorError, NotSatisfiableError, parse_descriptor
from anya_actors.domain.bitcoin.descriptors.miniscript.decode import NotDecodedError, decode_miniscript
from anya_actors.domain.bitcoin.descriptors.miniscript.node import Node
from anya_actors.domain.bitcoin.descriptors.miniscript.satisfy import satisfy
from anya_actors.domain.bitcoin.descriptors.miniscript.script import script_of
from anya_actors.domain.bitcoin.descriptors.miniscript.text import (
    NotMiniscriptError,
    format_miniscript,
    parse_miniscript,
)
from anya_actors.domain.bitcoin.descriptors.miniscript.types import letters_of
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.keys.curve import Point

KEYS = [Point.of_scalar(number).serialize().hex() for number in range(2, 30)]
A, B, C = KEYS[:3]
PREIMAGE = bytes(range(32))
SHA = hashlib.sha256(PREIMAGE).hexdigest()


def parse(text: str, *, tapscript: bool = False) -> Node:
    return parse_miniscript(text, bytes.fromhex, tapscript=tapscript)


def expression(draw: random.Random, depth: int, *, tapscript: bool) -> str:
    """A text that follows the grammar; most are badly typed, as they should be."""
    keys = draw.sample(KEYS, 3)
    wrappers = draw.choice(["", "", "", "v:", "s:", "a:", "j:", "n:", "d:", "t:", "l:", "u:", "dv:", "av:"])
    leaves = [
        "0",
        "1",
        f"older({draw.choice([10, 4194305])})",
        f"after({draw.choice([10, 500000001])})",
        f"{draw.choice(['sha256', 'hash256'])}({SHA})",
        f"{draw.choice(['hash160', 'ripemd160'])}({SHA[:40]})",
        *(f"{name}({keys[0]})" for name in ("pk", "pkh", "pk", "pkh", "pk_k", "pk_h")),
        *[f"{'multi_a' if tapscript else 'multi'}(2,{','.join(keys)})"] * 2,
    ]
    name = draw.choice(["and_v", "and_b", "and_n", "or_b", "or_c", "or_d", "or_i", "andor", "thresh", ""])
    if depth == 0 or not name:
        return wrappers + draw.choice(leaves)
    parts = [expression(draw, depth - 1, tapscript=tapscript) for _ in range(3)]
    if name == "thresh":
        return f"{wrappers}thresh({draw.randint(1, 3)},{parts[0]},s:pk({keys[0]}),{parts[1]})"
    return f"{wrappers}{name}({','.join(parts[: 3 if name == 'andor' else 2])})"


def well_typed() -> list[tuple[bool, str]]:
    """Expressions of type B in both contexts, the same in every run."""
    draw = random.Random(379)
    found: list[tuple[bool, str]] = []
    while len(found) < 400:
        tapscript = draw.random() < 0.4
        text = expression(draw, draw.choice([0, 1, 1, 2, 2, 2]), tapscript=tapscript)
        if parse(text, tapscript=tapscript).is_valid_top_level:
            found.append((tapscript, text))
    return found


EXPRESSIONS = well_typed()


def test_types_limits_and_text_agree_with_another_implementation() -> None:
    for tapscript, text in EXPRESSIONS:
        node = parse(text, tapscript=tapscript)
        theirs = other.parse(text, other.TAPSCRIPT if tapscript else other.P2WSH)
        assert node.is_non_malleable == theirs.is_non_malleable
        assert node.keeps_timelocks_apart != theirs.mixes_timelocks
        if node.is_non_malleable:
            assert node.needs_signature == theirs.is_signature_required
        assert node.max_stack_items == theirs.max_stack_items
        assert node.max_stack_size == theirs.max_exec_stack_items
        assert node.max_witness_bytes == theirs.max_witness_size
        assert node.is_within_limits == theirs.is_within_resource_limits
        assert tapscript or node.max_ops == theirs.max_ops
        assert format_miniscript(node, bytes.hex) == str(theirs)


def test_what_has_no_type_has_none_in_another_implementation() -> None:
    draw = random.Random(1)
    for _ in range(150):
        text = expression(draw, 1, tapscript=False)
        if not parse(text).is_valid_top_level:
            with pytest.raises(BTClibValueError):
                other.parse(text, other.P2WSH)


def _x_only(key: bytes) -> bytes:
    return key[1:]


def test_scripts_have_their_size_and_are_read_back() -> None:
    for tapscript, text in EXPRESSIONS:
        node = parse(text, tapscript=tapscript).with_keys(_x_only if tapscript else bytes)
        script = script_of(node, bytes)
        assert len(script) == node.script_size
        again = decode_miniscript(script, tapscript=tapscript)
        assert script_of(again, bytes) == script
        assert (again.max_ops, again.max_stack_items) == (node.max_ops, node.max_stack_items)


@given(st.binary(max_size=80))
def test_any_script_is_read_exactly_or_refused(script: bytes) -> None:
    for tapscript in (False, True):
        with contextlib.suppress(NotDecodedError):
            assert script_of(decode_miniscript(script, tapscript=tapscript), bytes) == script


# Bitcoin Core, src/test/miniscript_tests.cpp: expressions with the types it states for them.
@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("lltvln:after(1231488000)", "Bum"),
        ("uuj:and_v(v:multi(2,{A},{B}),after(1231488000))", "Bs"),
        ("or_b(un:multi(2,{A},{B}),al:older(16))", "B"),
        ("j:and_v(vdv:after(1567547623),older(2016))", "Bnd"),
        ("t:andor(multi(3,{A},{B},{C}),v:older(4194305),v:sha256({SHA}))", "Bu"),
        ("or_d(sha256({SHA}),and_n(un:after(499999999),older(4194305)))", "B"),
        ("and_v(andor(hash256({SHA}),v:hash256({SHA}),v:older(50000)),after(1231488000))", "B"),
        ("andor(hash256({SHA}),j:and_v(v:hash160({H160}),older(4194305)),multi(2,{A},{B}))", "B"),
        ("thresh(2,multi(2,{A},{B}),a:multi(1,{A}),ac:pk_k({A}))", "Bdu"),
    ],
)
def test_expressions_of_core_have_its_types(text: str, wanted: str) -> None:
    node = parse(
        text.replace("{A}", A)
        .replace("{B}", B)
        .replace("{C}", C)
        .replace("{SHA}", SHA)
        .replace("{H160}", SHA[:40])
    )
    assert set(wanted) <= set(letters_of(node.kind))


@pytest.mark.parametrize(
    "text",
    [
        "and_v(1,1)",  # the first must be of type V
        "and_b(pk({A}),pk({B}))",  # the second must be of type W
        "or_d(older(1),pk({A}))",  # the first must be dissatisfiable
        "v:v:pk({A})",
        "thresh(2,pk({A}),pk({B}))",
        "s:and_b(pk({A}),s:pk({B}))",
    ],
)
def test_what_does_not_fit_together_has_no_type(text: str) -> None:
    filled = text.replace("{A}", A).replace("{B}", B)
    with contextlib.suppress(NotMiniscriptError):
        assert not parse(filled).is_valid_top_level


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pk",
        "x:pk({A})",
        ":pk({A})",
        "older(0)",
        "older(2147483648)",
        "older(-1)",
        "after(0x1)",
        "multi(0,{A})",
        "multi(2,{A})",
        "multi_a(1,{A})",
        "thresh(0,pk({A}))",
        "thresh(2,pk({A}))",
        "and_v(v:pk({A}))",
        "and_v(v:pk({A}),1,1)",
        "sha256(00)",
        "sha256({A})",
        "hash160({SHA})",
        "pk({A}))",
        "pk({A}",
        "pk({A})1",
        "older(1,2)",
        "nothing(1)",
        "2",
    ],
)
def test_what_is_not_of_the_grammar_is_refused(text: str) -> None:
    with pytest.raises((NotMiniscriptError, ValueError)):
        parse(text.replace("{A}", A).replace("{SHA}", SHA))


# The words are those of Bitcoin Core, descriptor.cpp.
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("older(10)", "older(10) is not sane: witnesses without signature exist"),
        ("or_b(pk({A}),s:pk({A}))", "or_b(pk({A}),s:pk({A})) is not sane: contains duplicate public keys"),
        (
            "and_v(v:pk({A}),and_v(v:after(10),after(500000001)))",
            "and_v(v:after(10),after(500000001)) is not sane: contains mixes of timelocks expressed in",
        ),
        ("or_i(sha256({SHA}),pk({A}))", "or_i(sha256({SHA}),pk({A})) is not sane: witnesses without"),
        ("and_b(pk({A}),pk({B}))", "and_b(pk({A}),pk({B})) is invalid"),
        ("0", "0 is not satisfiable"),
        ("and_v(v:pk({A}),or_i(1,1))", "or_i(1,1) is not sane: malleable witnesses exist"),
    ],
)
def test_what_is_not_sane_is_named_in_cores_words(text: str, reason: str) -> None:
    def filled(template: str) -> str:
        return template.replace("{A}", A).replace("{B}", B).replace("{SHA}", SHA)

    with pytest.raises(DescriptorError) as caught:
        parse_descriptor(f"wsh({filled(text)})", Network.MAINNET)
    assert caught.value.reason.startswith(filled(reason))


def test_more_opcodes_than_consensus_allows_are_not_sane() -> None:
    # Each a:multi() costs three opcodes and one more for each of its keys when it runs, OP_ADD another.
    keys = iter(Point.of_scalar(number).serialize().hex() for number in range(100, 400))
    parts = [f"multi(1,{','.join(next(keys) for _ in range(4))})" for _ in range(25)]
    text = f"thresh(12,{parts[0]},{','.join('a:' + part for part in parts[1:])})"
    node = parse(text)
    assert node.is_valid_top_level
    assert (node.max_ops, node.is_within_limits) == (1 + 24 * 4 + 1 + 100, True)
    too_many = parse(f"and_b({text},a:multi(1,{','.join(next(keys) for _ in range(4))}))")
    assert not too_many.is_within_limits


class Holder:
    """Signatures and preimages that one has, and the locks that have passed."""

    def __init__(self, signing: Mapping[str, bytes], *, preimages: bool = True, locks: bool = True) -> None:
        self._signatures = {bytes.fromhex(key): value for key, value in signing.items()}
        self._preimages, self._locks = preimages, locks

    def signature(self, key: Any) -> bytes | None:
        return self._signatures.get(key)

    def public_key(self, key: Any) -> bytes:
        return bytes(key)

    def preimage(self, fragment: str, digest: bytes) -> bytes | None:
        is_known = self._preimages and (fragment, digest.hex()) == ("sha256", SHA)
        return PREIMAGE if is_known else None

    def allows_older(self, k: int) -> bool:
        return self._locks

    def allows_after(self, k: int) -> bool:
        return self._locks


SIGNATURE = {key: bytes([number]) * 71 for number, key in enumerate(KEYS, 1)}


@pytest.mark.parametrize(
    ("text", "signers", "witness"),
    [
        ("pk({A})", [A], [SIGNATURE[A]]),
        ("pkh({A})", [A], [SIGNATURE[A], bytes.fromhex(A)]),
        ("multi(2,{A},{B},{C})", [A, C], [b"", SIGNATURE[A], SIGNATURE[C]]),
        ("multi(2,{A},{B},{C})", [A, B, C], [b"", SIGNATURE[A], SIGNATURE[B]]),
        ("or_d(pk({A}),and_v(v:pk({B}),older(10)))", [B], [SIGNATURE[B], b""]),
        ("or_d(pk({A}),and_v(v:pk({B}),older(10)))", [A, B], [SIGNATURE[A]]),
        ("or_i(pk({A}),pk({B}))", [B], [SIGNATURE[B], b""]),
        ("andor(pk({A}),older(10),pk({B}))", [A], [SIGNATURE[A]]),
        ("and_v(v:sha256({SHA}),pk({A}))", [A], [SIGNATURE[A], PREIMAGE]),
        ("thresh(2,pk({A}),s:pk({B}),s:pk({C}))", [A, C], [SIGNATURE[C], b"", SIGNATURE[A]]),
    ],
)
def test_the_witness_is_the_smallest_that_signs(text: str, signers: list[str], witness: list[bytes]) -> None:
    node = parse(text.replace("{A}", A).replace("{B}", B).replace("{C}", C).replace("{SHA}", SHA))
    held = Holder({key: SIGNATURE[key] for key in signers})
    assert list(satisfy(node, held)) == witness


@pytest.mark.parametrize(
    "text",
    ["pk({A})", "multi(2,{A},{B})", "and_v(v:pk({B}),older(10))", "and_v(v:sha256({SHA}),pk({B}))"],
)
def test_what_is_missing_is_not_made_up(text: str) -> None:
    node = parse(text.replace("{A}", A).replace("{B}", B).replace("{SHA}", SHA))
    with pytest.raises(NotSatisfiableError):
        satisfy(node, Holder({B: SIGNATURE[B]}, preimages=False, locks=False))


def test_witnesses_that_others_could_change_are_given_only_when_asked_for() -> None:
    node = parse(f"or_b(pk({A}),a:sha256({SHA}))")
    held = Holder({A: SIGNATURE[A]}, preimages=False)
    with pytest.raises(NotSatisfiableError, match="changed by others"):
        satisfy(node, held)
    assert satisfy(node, held, allow_malleable=True) == (bytes(32), SIGNATURE[A])


def test_keys_of_multi_a_lie_in_reverse_with_gaps() -> None:
    keys = [Point.parse(bytes.fromhex(key)).x for key in KEYS]
    node = Node("multi_a", tapscript=True, k=2, keys=keys[:3])
    held = Holder({keys[0].hex(): b"1" * 64, keys[2].hex(): b"3" * 64})
    assert satisfy(node, held) == (b"3" * 64, b"", b"1" * 64)

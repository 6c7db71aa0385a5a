"""The descriptor of a script: Core's, with and without knowledge of its keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.bitcoin.descriptors import parse_descriptor
from anya_actors.domain.bitcoin.descriptors.infer import Known, describe_script, infer_descriptor
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.keys.curve import Point
from anya_actors.domain.keys.extended import master_key

A, B, C = (Point.of_scalar(number).serialize().hex() for number in (2, 3, 4))
XPUB = str(master_key(bytes(16)).public)
X = A[2:]


def test_descriptors_of_scripts_are_cores(vectors: Callable[[str], Any]) -> None:
    for script, facts in vectors("core_rpc_decodescript.json"):
        assert describe_script(bytes.fromhex(script), Network.REGTEST) == facts["desc"]


@pytest.mark.parametrize(
    "text",
    [
        f"pk({A})",
        f"pkh({A})",
        f"wpkh([d34db33f/84h/0h/0h]{A})",
        f"sh(wpkh({A}))",
        f"multi(2,{A},{B},{C})",
        f"sh(wsh(multi(2,{A},{B})))",
        f"wsh(and_v(v:pk({A}),older(10)))",
        f"wsh(or_d(pk({A}),and_v(v:pkh([d34db33f/1]{B}),after(100))))",
        f"tr({X})",
        f"tr({X},{{pk({B[2:]}),{{multi_a(2,{B[2:]},{C[2:]}),and_v(v:pkh({C[2:]}),older(1))}}}})",
        "addr(bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu)",
        "raw(6a0568656c6c6f)",
        "raw()",
    ],
)
def test_a_descriptor_comes_back_from_its_script(text: str) -> None:
    descriptor = parse_descriptor(text, Network.MAINNET).single
    (plan,) = descriptor.expand()
    assert str(infer_descriptor(plan.script_pubkey, Network.MAINNET, Known([plan]))) == str(descriptor)


def test_a_derived_key_comes_back_with_its_origin() -> None:
    (plan,) = parse_descriptor(f"wpkh({XPUB}/0/*)", Network.MAINNET).single.expand(7)
    found = str(infer_descriptor(plan.script_pubkey, Network.MAINNET, Known([plan])))
    assert found.startswith(f"wpkh([{master_key(bytes(16)).public.fingerprint.hex()}/0/7]")


def test_nothing_is_told_that_is_not_known() -> None:
    for text, kind in [(f"wpkh({A})", "addr("), (f"sh(pk({A}))", "addr("), (f"tr({X})", "rawtr(")]:
        script = parse_descriptor(text, Network.MAINNET).single.script_pubkey()
        assert describe_script(script, Network.MAINNET).startswith(kind)


def test_the_script_behind_a_hash_may_be_told() -> None:
    (plan,) = parse_descriptor(f"wsh(multi(1,{A}))", Network.MAINNET).single.expand()
    told = describe_script(plan.script_pubkey, Network.MAINNET, plan.witness_script)
    assert told.startswith(f"wsh(multi(1,{A}))#")


@given(st.binary(max_size=60))
def test_every_script_has_a_descriptor_that_gives_it(script: bytes) -> None:
    text = describe_script(script, Network.REGTEST)
    parsed = parse_descriptor(text, Network.REGTEST, require_checksum=True)
    assert parsed.single.script_pubkey() == script

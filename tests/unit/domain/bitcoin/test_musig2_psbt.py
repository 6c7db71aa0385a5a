"""MuSig2 in PSBTs (BIP373): the vectors, and three signers who pass one around."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.musig2 import derive, taproot_output_key
from anya_actors.domain.bitcoin.musig2_psbt import (
    SharedKey,
    message_of,
    round_of,
    shared_keys,
    with_nonce,
    with_part,
    with_signature,
)
from anya_actors.domain.bitcoin.psbt.codec import parse_psbt, parse_psbt_base64
from anya_actors.domain.bitcoin.psbt.document import Psbt
from anya_actors.domain.bitcoin.psbt.errors import PsbtError, PsbtInputError
from anya_actors.domain.bitcoin.psbt.fields import Global, In
from anya_actors.domain.bitcoin.psbt.maps import GlobalMap, InputMap, OutputMap
from anya_actors.domain.bitcoin.script import hash160, p2tr_script
from anya_actors.domain.bitcoin.taproot import branch_hash, leaf_hash
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxInput, TxOutput
from anya_actors.domain.keys.curve import GENERATOR, Point, schnorr_holds
from anya_actors.domain.keys.musig2 import InvalidContributionError, Session, aggregate
from anya_actors.domain.keys.musig2_signing import SecretNonce, generate_nonce, sign_partially
from anya_actors.domain.keys.secret import Secret


def test_psbts_of_the_vectors_are_read_or_refused(vectors: Callable[[str], Any]) -> None:
    file = vectors("bip373_psbt_musig2.json")
    for case in file["invalid"]:
        with pytest.raises(PsbtError):
            parse_psbt_base64(case["psbt"])
    for case in file["valid"]:
        psbt = parse_psbt_base64(case["psbt"])
        assert psbt.to_base64() == case["psbt"]
        if case["case"].startswith("Receiving"):
            (held,) = [output for output in psbt.outputs if output.musig2_participants]
            for name, participants in held.musig2_participants.items():
                assert aggregate(participants).public_key == name
            continue
        walk(psbt, case.get("stage", ""))


def walk(psbt: Psbt, stage: str) -> None:
    """Whatever the stage, the nonces and parts of the vector stand where we would put them and hold."""
    (shared,) = shared_keys(psbt, 0)
    held = psbt.inputs[0]
    expected = {shared.key_data(participant) for participant in shared.participants}
    assert set(held.values_of(In.MUSIG2_PUB_NONCE)) in ({*()}, expected)
    assert set(held.values_of(In.MUSIG2_PARTIAL_SIG)) <= expected
    if not held.musig2_nonces:
        assert round_of(psbt, 0, shared) is None
        assert with_signature(psbt, 0, shared) == psbt
        return
    for participant in shared.participants:
        part = held.value(In.MUSIG2_PARTIAL_SIG, shared.key_data(participant))
        if part is not None:
            assert with_part(psbt, 0, shared, participant, part) == psbt
    signing = round_of(psbt, 0, shared)
    assert signing is not None
    if len(held.musig2_partial_signatures) == len(expected):
        signed = with_signature(psbt, 0, shared).inputs[0]
        (signature,) = [signed.tap_key_signature, *signed.tap_script_signatures.values()][-1:]
        assert signature is not None
        assert schnorr_holds(shared.key.x_only, signing.message, signature[:64])


SECRETS = [Secret(bytes([at]) * 32) for at in (3, 4, 5)]
KEYS = tuple(Point.of_secret(secret).serialize() for secret in SECRETS)
ROOT = aggregate(KEYS)
OTHER_LEAF = bytes(31) + b"\x01"


def psbt_of(kind: str) -> Psbt:
    """One taproot input, of which the aggregate is the output key, the internal key, or in a script."""
    held = InputMap().with_value(In.MUSIG2_PARTICIPANT_PUBKEYS, b"".join(KEYS), ROOT.public_key)
    output_key = ROOT.x_only
    if kind in ("internal", "scripts", "derived"):
        internal = derive(ROOT, (1, 2)) if kind == "derived" else ROOT
        merkle_root = OTHER_LEAF if kind == "scripts" else b""
        output_key = taproot_output_key(internal, merkle_root).x_only
        held = held.with_value(In.TAP_INTERNAL_KEY, internal.x_only)
        if kind == "scripts":
            held = held.with_value(In.TAP_MERKLE_ROOT, merkle_root)
        if kind == "derived":
            path = b"".join(step.to_bytes(4, "little") for step in (1, 2))
            origin = b"\x00" + hash160(ROOT.public_key)[:4] + path
            held = held.with_value(In.TAP_BIP32_DERIVATION, origin, internal.x_only)
    if kind == "leaf":
        script = b"\x20" + ROOT.x_only + b"\xac"
        root = branch_hash(leaf_hash(script), OTHER_LEAF)
        point = Point.from_x(GENERATOR.x)
        output = taproot_output_key(aggregate([point.serialize()]), root)
        output_key = output.x_only
        control = bytes((0xC0 | (not output.Q.has_even_y),)) + point.x + OTHER_LEAF
        held = held.with_value(In.TAP_LEAF_SCRIPT, script + b"\xc0", control)
    held = held.with_value(In.WITNESS_UTXO, TxOutput(5000, p2tr_script(output_key)).serialize())
    spending = Transaction(
        2, (TxInput(Outpoint(Txid(bytes(32)), 0)),), (TxOutput(4000, p2tr_script(bytes(32))),)
    )
    header = GlobalMap({bytes((Global.UNSIGNED_TX,)): spending.serialize()})
    return parse_psbt(Psbt(header, (held,), (OutputMap(),)).serialize())


def nonced(psbt: Psbt, shared: SharedKey) -> tuple[Psbt, list[SecretNonce]]:
    nonces = [generate_nonce(bytes([at]) * 32, key) for at, key in enumerate(KEYS)]
    for key, nonce in zip(KEYS, nonces, strict=True):
        assert round_of(psbt, 0, shared, sighashes=range(256)) is None
        psbt = with_nonce(psbt, 0, shared, key, nonce.public_nonce)
    return psbt, nonces


def session_of(psbt: Psbt, shared: SharedKey) -> Session:
    """The session as a signer rebuilds it from what crosses the signer's port."""
    signing = round_of(psbt, 0, shared, sighashes=range(256))
    assert signing is not None
    key = aggregate(signing.public_keys)
    for tweak, x_only in signing.tweaks:
        key = key.tweak(tweak, x_only=x_only)
    assert key == shared.key
    return Session(key, signing.aggregate_nonce, signing.message)


@pytest.mark.parametrize("sighash", [None, 1, 0x81])
@pytest.mark.parametrize("kind", ["output", "internal", "scripts", "derived", "leaf"])
def test_three_signers_sign_one_input_together(kind: str, sighash: int | None) -> None:
    psbt = psbt_of(kind)
    if sighash is not None:
        held = psbt.inputs[0].with_value(In.SIGHASH_TYPE, sighash.to_bytes(4, "little"))
        psbt = psbt.with_input(0, held)
    (shared,) = shared_keys(psbt, 0)
    assert bool(shared.leaf_hash) == (kind == "leaf")
    psbt, nonces = nonced(psbt, shared)
    for secret, key, nonce in zip(SECRETS, KEYS, nonces, strict=True):
        assert with_signature(psbt, 0, shared) == psbt
        part = sign_partially(nonce, secret, session_of(psbt, shared))
        psbt = with_part(parse_psbt(psbt.serialize()), 0, shared, key, part)
    signed = with_signature(psbt, 0, shared).inputs[0]
    signature = signed.tap_key_signature
    if kind == "leaf":
        signature = signed.tap_script_signatures[shared.key.x_only, shared.leaf_hash]
    assert signature is not None
    assert signature[64:] == (b"" if sighash is None else bytes((sighash,)))
    assert schnorr_holds(shared.key.x_only, message_of(psbt, 0, shared), signature[:64])


def test_a_signature_that_lets_the_transaction_change_must_be_allowed() -> None:
    psbt = psbt_of("internal")
    held = psbt.inputs[0].with_value(In.SIGHASH_TYPE, (0x82).to_bytes(4, "little"))
    psbt = psbt.with_input(0, held)
    (shared,) = shared_keys(psbt, 0)
    psbt, _ = nonced(psbt, shared)
    with pytest.raises(PsbtInputError, match="0x82"):
        round_of(psbt, 0, shared)


def test_a_wrong_part_is_refused_with_its_signers_place() -> None:
    psbt = psbt_of("internal")
    (shared,) = shared_keys(psbt, 0)
    with pytest.raises(PsbtInputError, match="nonces"):
        with_part(psbt, 0, shared, KEYS[0], bytes(32))
    psbt, nonces = nonced(psbt, shared)
    part = sign_partially(nonces[0], SECRETS[0], session_of(psbt, shared))
    with pytest.raises(InvalidContributionError) as blame:
        with_part(psbt, 0, shared, KEYS[1], part)
    assert blame.value.signer == 1
    spoiled = psbt
    for key in KEYS:
        held = spoiled.inputs[0].with_value(In.MUSIG2_PARTIAL_SIG, part, shared.key_data(key))
        spoiled = spoiled.with_input(0, held)
    with pytest.raises(InvalidContributionError) as blame:
        with_signature(spoiled, 0, shared)
    assert blame.value.signer == 1


def test_a_nonce_is_not_replaced_and_of_a_participant() -> None:
    psbt = psbt_of("output")
    (shared,) = shared_keys(psbt, 0)
    nonce = generate_nonce(bytes(32), KEYS[0]).public_nonce
    psbt = with_nonce(psbt, 0, shared, KEYS[0], nonce)
    assert with_nonce(psbt, 0, shared, KEYS[0], nonce) == psbt
    other = generate_nonce(b"\x01" * 32, KEYS[0]).public_nonce
    with pytest.raises(PsbtInputError, match="already"):
        with_nonce(psbt, 0, shared, KEYS[0], other)
    with pytest.raises(PsbtInputError, match="no participant"):
        with_nonce(psbt, 0, shared, GENERATOR.serialize(), nonce)
    with pytest.raises(InvalidContributionError):
        with_nonce(psbt, 0, shared, KEYS[1], bytes(66))


def test_participants_must_make_the_key_they_are_filed_under() -> None:
    psbt = psbt_of("internal")
    held = psbt.inputs[0]
    swapped = held.with_value(In.MUSIG2_PARTICIPANT_PUBKEYS, b"".join(KEYS[::-1]), ROOT.public_key)
    with pytest.raises(PsbtInputError, match="aggregate"):
        shared_keys(psbt.with_input(0, swapped), 0)
    other_root = held.with_value(In.TAP_MERKLE_ROOT, bytes(32))
    with pytest.raises(PsbtInputError, match="output key"):
        shared_keys(psbt.with_input(0, other_root), 0)
    assert shared_keys(psbt.with_input(0, held.without(In.WITNESS_UTXO)), 0) == ()
    missing = psbt.with_input(0, held)
    (shared,) = shared_keys(missing, 0)
    with pytest.raises(PsbtInputError, match="missing"):
        message_of(psbt.with_input(0, held.without(In.WITNESS_UTXO)), 0, shared)

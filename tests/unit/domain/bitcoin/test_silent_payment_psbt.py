"""Silent payments in PSBTs by the vectors of BIP375, and by signers who hold one input each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.psbt.codec import parse_psbt, parse_psbt_base64
from anya_actors.domain.bitcoin.psbt.document import Psbt
from anya_actors.domain.bitcoin.psbt.errors import PsbtError
from anya_actors.domain.bitcoin.psbt.fields import Global, In, Out
from anya_actors.domain.bitcoin.psbt.maps import GlobalMap, InputMap, OutputMap
from anya_actors.domain.bitcoin.script import hash160, p2tr_script, p2wpkh_script
from anya_actors.domain.bitcoin.silent_payment_psbt import (
    SilentPsbtError,
    eligible_inputs,
    missing_shares,
    settle_silent_outputs,
    silent_receivers,
    verify_silent_outputs,
    with_share,
)
from anya_actors.domain.bitcoin.silent_payments import scan_outputs, share_of_input, tweak_of
from anya_actors.domain.bitcoin.transaction import TxOutput
from anya_actors.domain.bitcoin.wire import u32
from anya_actors.domain.keys.curve import Point, negate_secret, shared_point
from anya_actors.domain.keys.dleq import prove_dleq
from anya_actors.domain.keys.secret import Secret


def cases(vectors: Callable[[str], Any], group: str) -> Iterator[dict[str, Any]]:
    yield from vectors("bip375_psbt_silent_payments.json")[group]


def repaired(psbt: Psbt) -> Psbt:
    """The PSBT with P2WPKH scripts that its keys can spend.

    The generator of the vectors took the first 20 bytes of SHA-256 for the key hash. Nobody could spend
    those coins, and we refuse them; nothing else of the vectors depends on it.
    """
    for index, held in enumerate(psbt.inputs):
        spent = psbt.spent_output(index)
        for key in held.derivations:
            wrong = p2wpkh_script(hashlib.sha256(key).digest()[:20])
            if spent is not None and spent.script_pubkey == wrong:
                right = TxOutput(spent.amount_sat, p2wpkh_script(hash160(key)))
                psbt = psbt.with_input(index, held.with_value(In.WITNESS_UTXO, right.serialize()))
    return psbt


def verify(case: dict[str, Any]) -> Psbt:
    psbt = repaired(parse_psbt_base64(case["psbt"]))
    if case.get("checks") == ["input_eligibility"]:
        eligible_inputs(psbt)
        return psbt
    verify_silent_outputs(psbt, complete="can finalize" in case["description"])
    return psbt


def test_what_the_vectors_call_valid_is_valid(vectors: Callable[[str], Any]) -> None:
    for case in cases(vectors, "valid"):
        psbt = verify(case)
        if "checks" in case:
            continue
        for output in case["supplementary"]["outputs"]:
            if output.get("script") is not None:
                held = psbt.outputs[output["output_index"]]
                assert (held.script or b"").hex() == output["script"], case["description"]
        # What others settled is settled alike from their shares.
        bare = psbt
        for index in silent_receivers(psbt):
            bare = bare.with_output(index, bare.outputs[index].without(Out.SCRIPT))
        settled = settle_silent_outputs(bare)
        for index, held in enumerate(psbt.outputs):
            assert held.script in (None, settled.outputs[index].script), case["description"]


def test_what_the_vectors_call_invalid_is_refused(vectors: Callable[[str], Any]) -> None:
    for case in cases(vectors, "invalid"):
        with pytest.raises((SilentPsbtError, PsbtError)):
            verify(case)


def test_coins_that_the_vectors_keys_cannot_spend_are_refused(vectors: Callable[[str], Any]) -> None:
    for case in cases(vectors, "valid"):
        psbt = parse_psbt_base64(case["psbt"])
        if repaired(psbt) != psbt:
            with pytest.raises(SilentPsbtError, match="its public key is missing"):
                verify_silent_outputs(psbt)


SECRETS = [Secret(bytes([at]) * 32) for at in (1, 2, 5)]
SCAN, SPEND = Secret(b"\x11" * 32), Secret(b"\x22" * 32)
INFO = Point.of_secret(SCAN).serialize() + Point.of_secret(SPEND).serialize()


def unsigned() -> Psbt:
    """A P2WPKH and two P2TR inputs, to one silent address twice and to somebody else."""
    inputs = []
    for at, secret in enumerate(SECRETS):
        key = Point.of_secret(secret)
        script = p2tr_script(key.x) if at else p2wpkh_script(hash160(key.serialize()))
        held = InputMap(
            {
                bytes((In.WITNESS_UTXO,)): TxOutput(1000, script).serialize(),
                bytes((In.PREVIOUS_TXID,)): Txid(bytes([at]) * 32),
                bytes((In.OUTPUT_INDEX,)): u32(at),
            }
        )
        inputs.append(held if at else held.with_value(In.BIP32_DERIVATION, bytes(4), key.serialize()))
    silent = OutputMap({bytes((Out.AMOUNT,)): (500).to_bytes(8, "little"), bytes((Out.SP_V0_INFO,)): INFO})
    other = OutputMap({bytes((Out.AMOUNT,)): (900).to_bytes(8, "little"), bytes((Out.SCRIPT,)): b"\x51"})
    header = GlobalMap(
        {
            bytes((Global.TX_VERSION,)): u32(2),
            bytes((Global.INPUT_COUNT,)): b"\x03",
            bytes((Global.OUTPUT_COUNT,)): b"\x03",
            bytes((Global.TX_MODIFIABLE,)): b"\x03",
            bytes((Global.VERSION,)): u32(2),
        }
    )
    return parse_psbt(Psbt(header, tuple(inputs), (silent, other, silent)).serialize())


def even(secret: Secret, index: int) -> Secret:
    """The private key a signer proves with: of P2TR the one with an even y."""
    copy = Secret(secret.reveal())
    if index and not Point.of_secret(copy).has_even_y:
        negate_secret(copy)
    return copy


def shared(psbt: Psbt, index: int) -> Psbt:
    scan_key, secret = Point.of_secret(SCAN), even(SECRETS[index], index)
    return with_share(
        psbt, index, scan_key, shared_point(scan_key, secret), prove_dleq(secret, scan_key, bytes(32))
    )


def test_three_signers_pay_one_silent_address_together() -> None:
    psbt = unsigned()
    assert missing_shares(psbt) == [(at, Point.of_secret(SCAN)) for at in range(3)]
    for index in range(3):
        assert settle_silent_outputs(psbt) == psbt
        verify_silent_outputs(psbt)
        with pytest.raises(SilentPsbtError, match="missing"):
            verify_silent_outputs(psbt, complete=True)
        psbt = shared(psbt, index)
    psbt = settle_silent_outputs(psbt)
    assert missing_shares(psbt) == []
    assert psbt.globals.tx_modifiable == 0
    verify_silent_outputs(psbt, complete=True)
    assert parse_psbt(psbt.serialize()) == psbt
    assert psbt.outputs[1].script == b"\x51"
    assert psbt.unique_id == unsigned().unique_id  # its name does not change by its scripts (BIP375)
    keys = [one.key for one in eligible_inputs(psbt)]
    tweak = tweak_of([psbt.prevout(index) for index in range(3)], keys)
    assert tweak is not None
    paid = [(psbt.outputs[index].script or b"")[2:] for index in (0, 2)]
    found = scan_outputs(shared_point(tweak, SCAN), Point.of_secret(SPEND), paid)
    assert [one.output_key for one in found] == paid


def test_shares_of_taproot_keys_are_those_of_their_even_half() -> None:
    key, scan_key = Point.of_secret(SECRETS[2]), Point.of_secret(SCAN)
    share = shared_point(scan_key, SECRETS[2])
    assert share_of_input(share, key) == shared_point(scan_key, even(SECRETS[2], 2))
    assert share_of_input(share) == share


def settled() -> Psbt:
    psbt = unsigned()
    for index in range(3):
        psbt = shared(psbt, index)
    return settle_silent_outputs(psbt)


def test_whatever_would_lose_the_money_is_refused() -> None:
    psbt, scan_key = settled(), Point.of_secret(SCAN).serialize()
    wrong_script = psbt.with_output(0, psbt.outputs[0].with_value(Out.SCRIPT, psbt.outputs[2].script))
    other_share = psbt.with_input(0, psbt.inputs[0].with_value(In.SP_ECDH_SHARE, scan_key, scan_key))
    no_proof = psbt.with_input(1, psbt.inputs[1].with_value(In.SP_DLEQ, None, scan_key))
    no_share = psbt.with_input(1, psbt.inputs[1].with_value(In.SP_ECDH_SHARE, None, scan_key))
    neither = psbt.with_input(1, psbt.inputs[1].without(In.SP_DLEQ, In.SP_ECDH_SHARE))
    partial = psbt.with_input(1, psbt.inputs[1].with_value(In.SIGHASH_TYPE, u32(3)))
    unknown = psbt.with_input(0, psbt.inputs[0].without(In.BIP32_DERIVATION))
    no_coin = psbt.with_input(0, psbt.inputs[0].without(In.WITNESS_UTXO))
    header = psbt.globals.with_value(Global.TX_MODIFIABLE, b"\x01")
    open_ = Psbt(header, psbt.inputs, psbt.outputs)
    future = TxOutput(1000, b"\x52\x20" + bytes(32)).serialize()
    mixed = psbt.with_input(1, psbt.inputs[1].with_value(In.WITNESS_UTXO, future))
    bad_info = psbt.with_output(0, psbt.outputs[0].with_value(Out.SP_V0_INFO, bytes(66)))
    bad_label = psbt.with_output(1, psbt.outputs[1].with_value(Out.SP_V0_LABEL, bytes(4)))
    for spoiled in (
        wrong_script, other_share, no_proof, no_share, neither, partial, unknown, no_coin, open_, mixed,
        bad_info, bad_label,
    ):  # fmt: skip
        with pytest.raises(SilentPsbtError):
            verify_silent_outputs(spoiled)


def test_a_share_is_taken_only_with_a_proof_that_holds() -> None:
    psbt, scan_key = unsigned(), Point.of_secret(SCAN)
    share = shared_point(scan_key, SECRETS[0])
    proof = prove_dleq(SECRETS[0], scan_key, bytes(32))
    for index, point, given in ((0, scan_key, proof), (0, share, bytes(64)), (1, share, proof)):
        with pytest.raises(SilentPsbtError):
            with_share(psbt, index, scan_key, point, given)
    script = psbt.with_input(0, psbt.inputs[0].with_value(In.WITNESS_UTXO, TxOutput(1, b"\x51").serialize()))
    with pytest.raises(SilentPsbtError, match="does not count"):
        with_share(script, 0, scan_key, share, proof)


def test_a_psbt_without_silent_outputs_passes() -> None:
    psbt = unsigned()
    for index in (0, 2):
        psbt = psbt.with_output(index, psbt.outputs[1])
    verify_silent_outputs(psbt, complete=True)
    assert missing_shares(psbt) == []

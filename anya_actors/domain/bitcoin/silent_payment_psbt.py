"""Silent payments in PSBTs (BIP375): shares of several signers, their proofs, and the scripts made of them.

A wrong output script would be valid and lose the money, so nothing is signed before `verify_silent_outputs`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from anya_actors.domain.bitcoin.psbt.document import Psbt
from anya_actors.domain.bitcoin.psbt.fields import Global, In, Out
from anya_actors.domain.bitcoin.psbt.maps import GlobalMap, InputMap, OutputMap
from anya_actors.domain.bitcoin.script import ScriptType, classify, hash160, p2tr_script, witness_program
from anya_actors.domain.bitcoin.sighash import Sighash
from anya_actors.domain.bitcoin.silent_address import SilentAddress
from anya_actors.domain.bitcoin.silent_payments import (
    NUMS_KEY,
    SilentPaymentError,
    compressed_point,
    derive_outputs,
)
from anya_actors.domain.keys.curve import Point, sum_points
from anya_actors.domain.keys.dleq import DleqError, verify_dleq
from anya_actors.domain.machine import InvalidInputError

_INPUTS_MODIFIABLE, _OUTPUTS_MODIFIABLE = 1, 2
_SHARE_BYTES, _PROOF_BYTES, _INFO_BYTES, _LABEL_BYTES = 33, 64, 66, 4
_SINGLE_KEY: Final = (ScriptType.PUBKEYHASH, ScriptType.WITNESS_V0_KEYHASH, ScriptType.SCRIPTHASH)


class SilentPsbtError(InvalidInputError):
    """A PSBT whose silent payments are incomplete, unproved or wrong."""

    code = "invalid-silent-payment-psbt"
    message = "{} of the PSBT cannot be used for a silent payment: {}"
    remedy = "Do not sign it; ask whoever changed it last for the missing or right fields."


@dataclass(frozen=True)
class EligibleInput:
    """An input that counts towards the secrets, with its public key (P2TR: the one with an even y)."""

    index: int
    key: Point


def silent_receivers(psbt: Psbt) -> dict[int, SilentAddress]:
    """The receivers of all silent outputs, by output index; raises `SilentPsbtError`."""
    found = {}
    for index, held in enumerate(psbt.outputs):
        info, label = held.value(Out.SP_V0_INFO), held.value(Out.SP_V0_LABEL)
        if label is not None and (info is None or len(label) != _LABEL_BYTES):
            raise SilentPsbtError(f"output {index}", "its label has no address, or is not 4 bytes")
        if info is not None:
            scan, spend = compressed_point(info[:33]), compressed_point(info[33:])
            if len(info) != _INFO_BYTES or scan is None or spend is None:
                raise SilentPsbtError(f"output {index}", "its silent payment address is not two keys")
            found[index] = SilentAddress(scan, spend)
    return found


def eligible_inputs(psbt: Psbt) -> list[EligibleInput]:
    """The inputs that count; raises `SilentPsbtError` for one whose key nobody can know yet.

    Also for witness versions of the future, which silent payments must not be mixed with.
    """
    found = []
    for index, held in enumerate(psbt.inputs):
        spent = psbt.spent_output(index)
        if spent is None:
            raise SilentPsbtError(f"input {index}", "the output that it spends is missing")
        program = witness_program(spent.script_pubkey)
        if program is not None and program[0] > 1:
            raise SilentPsbtError(f"input {index}", f"it spends witness version {program[0]} (BIP375)")
        key = _input_key(index, held, spent.script_pubkey)
        if key is not None:
            found.append(EligibleInput(index, key))
    return found


def _input_key(index: int, held: InputMap, script: bytes) -> Point | None:
    kind = classify(script)
    if kind is ScriptType.WITNESS_V1_TAPROOT:
        return None if held.tap_internal_key == NUMS_KEY else compressed_point(b"\x02" + script[2:])
    if kind not in _SINGLE_KEY:
        return None
    if kind is ScriptType.SCRIPTHASH:
        script = held.redeem_script or (held.final_script_sig or b"")[1:]
        if classify(script) is not ScriptType.WITNESS_V0_KEYHASH:
            return None
    name = script[3:23] if kind is ScriptType.PUBKEYHASH else script[2:]
    candidates = [*held.derivations, *held.partial_signatures, *(held.final_script_witness or ())[-1:]]
    for candidate in [*candidates, (held.final_script_sig or b"")[-33:]]:
        if hash160(candidate) == name:
            return compressed_point(candidate)  # None for an uncompressed key: it does not count
    raise SilentPsbtError(f"input {index}", "its public key is missing (PSBT_IN_BIP32_DERIVATION)")


def missing_shares(psbt: Psbt) -> list[tuple[int, Point]]:
    """What signers still owe: for each eligible input and scan key without a share, both."""
    inputs = eligible_inputs(psbt)
    return [
        (one.index, scan_key)
        for scan_key in _scan_keys(silent_receivers(psbt))
        if psbt.globals.value(Global.SP_ECDH_SHARE, scan_key.serialize()) is None
        for one in inputs
        if psbt.inputs[one.index].value(In.SP_ECDH_SHARE, scan_key.serialize()) is None
    ]


def _scan_keys(receivers: Mapping[int, SilentAddress]) -> list[Point]:
    return list(dict.fromkeys(receiver.scan_key for receiver in receivers.values()))


def with_share(psbt: Psbt, index: int, scan_key: Point, share: Point, proof: bytes) -> Psbt:
    """The PSBT with one input's share, proved; raises `SilentPsbtError` for a proof that does not hold.

    Of a P2TR input the share is that of the private key with an even y (`silent_payments.share_of_input`).
    """
    data = scan_key.serialize()
    held = psbt.inputs[index].with_value(In.SP_ECDH_SHARE, share.serialize(), data)
    changed = psbt.with_input(index, held.with_value(In.SP_DLEQ, proof, data))
    one = next((one for one in eligible_inputs(changed) if one.index == index), None)
    if one is None:
        raise SilentPsbtError(f"input {index}", "it does not count towards silent payments")
    _proved(held.with_value(In.SP_DLEQ, proof, data), scan_key, one.key, f"input {index}")
    return changed


def _proved(held: InputMap | GlobalMap, scan_key: Point, key: Point, where: str) -> Point | None:
    """The share in a map, if there is one and its proof holds."""
    kinds = (
        (Global.SP_ECDH_SHARE, Global.SP_DLEQ)
        if isinstance(held, GlobalMap)
        else (In.SP_ECDH_SHARE, In.SP_DLEQ)
    )
    value, proof = (held.value(kind, scan_key.serialize()) for kind in kinds)
    if value is None:
        if proof is not None:
            raise SilentPsbtError(where, "it has a proof without a share")
        return None
    share = compressed_point(value)
    if share is None or proof is None or len(proof) != _PROOF_BYTES:
        raise SilentPsbtError(where, "its share is no point, or has no proof")
    try:
        verify_dleq(key, scan_key, share, proof)
    except DleqError as error:
        raise SilentPsbtError(where, str(error)) from error
    return share


def _shares(psbt: Psbt, scan_key: Point, inputs: list[EligibleInput]) -> list[Point] | None:
    """Shares that together stand for all eligible inputs, proved; None while some are missing."""
    total = sum_points([one.key for one in inputs])
    if total is not None:
        whole = _proved(psbt.globals, scan_key, total, "the global share")
        if whole is not None:
            return [whole]
    shares = [_proved(psbt.inputs[one.index], scan_key, one.key, f"input {one.index}") for one in inputs]
    return None if None in shares or not shares else [share for share in shares if share is not None]


def _derived(psbt: Psbt) -> dict[int, bytes | None]:
    """The script of every silent output, None while shares for it are missing."""
    receivers, inputs = silent_receivers(psbt), eligible_inputs(psbt)
    outpoints = [psbt.prevout(index) for index in range(len(psbt.inputs))]
    scripts: dict[int, bytes | None] = {}
    for scan_key in _scan_keys(receivers):
        # Outputs of one scan key are counted in their order in the transaction (BIP375 since 0.1.1).
        indices = [index for index, receiver in receivers.items() if receiver.scan_key == scan_key]
        shares = _shares(psbt, scan_key, inputs)
        if shares is None:
            scripts.update(dict.fromkeys(indices))
            continue
        total, share = sum_points([one.key for one in inputs]), sum_points(shares)
        if total is None or share is None:
            raise SilentPsbtError("the inputs", "their keys or shares cancel out")
        payees = [receivers[index] for index in indices]
        try:
            keys = derive_outputs(outpoints, [total], {scan_key.serialize(): [share]}, payees)
        except SilentPaymentError as error:
            raise SilentPsbtError("the outputs", str(error)) from error
        scripts.update((index, p2tr_script(key)) for index, key in zip(indices, keys, strict=True))
    return scripts


def verify_silent_outputs(psbt: Psbt, *, complete: bool = False) -> None:
    """Return if every share is proved and every script there is the one to be paid to.

    With ``complete`` no script may be missing: ask so before signing and before extracting.
    Raises `SilentPsbtError`. A PSBT without silent outputs passes.
    """
    if not silent_receivers(psbt):
        return
    for index, held in enumerate(psbt.inputs):
        if held.sighash_type not in (None, Sighash.ALL):
            raise SilentPsbtError(f"input {index}", "silent payments are signed with SIGHASH_ALL only")
    settled = False
    for index, script in _derived(psbt).items():
        stated = psbt.outputs[index].script
        if stated is None and not complete:
            continue
        if script is None or stated is None:
            raise SilentPsbtError(f"output {index}", "shares for its script are missing")
        if script != stated:
            raise SilentPsbtError(f"output {index}", "its script is not the one its address leads to")
        settled = True
    if settled and psbt.globals.tx_modifiable & (_INPUTS_MODIFIABLE | _OUTPUTS_MODIFIABLE):
        raise SilentPsbtError(
            "the global map", "inputs or outputs may still be changed under settled scripts"
        )


def settle_silent_outputs(psbt: Psbt) -> Psbt:
    """The PSBT with the script of each silent output whose shares are complete.

    Nothing may be added to it afterwards: other inputs would make other scripts. Raises
    `SilentPsbtError` for a share that is not proved or a script that is already there and wrong.
    """
    changed = False
    for index, script in _derived(psbt).items():
        stated = psbt.outputs[index].script
        if script is not None and stated is None:
            psbt, changed = psbt.with_output(index, _with_script(psbt.outputs[index], script)), True
    if changed:
        flags = psbt.globals.tx_modifiable & ~(_INPUTS_MODIFIABLE | _OUTPUTS_MODIFIABLE)
        header = psbt.globals
        if header.value(Global.TX_MODIFIABLE) is not None:
            header = header.with_value(Global.TX_MODIFIABLE, bytes((flags,)))
        psbt = Psbt(header, psbt.inputs, psbt.outputs)
    verify_silent_outputs(psbt)
    return psbt


def _with_script(held: OutputMap, script: bytes) -> OutputMap:
    return held.with_value(Out.SCRIPT, script)

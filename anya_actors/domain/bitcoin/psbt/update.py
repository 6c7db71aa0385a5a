"""The updater's role (BIP174, BIP371, BIP373): outputs that are spent, scripts, and where keys come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from anya_actors.domain.bitcoin.descriptors.keys import DerivedKey
from anya_actors.domain.bitcoin.descriptors.plan import ScriptPlan, TaprootPlan
from anya_actors.domain.bitcoin.psbt.document import Psbt
from anya_actors.domain.bitcoin.psbt.errors import PsbtInputError, PsbtStateError
from anya_actors.domain.bitcoin.psbt.fields import Global, In, Out
from anya_actors.domain.bitcoin.psbt.maps import (
    InputMap,
    OutputMap,
    PsbtMap,
    write_origin,
    write_tap_derivation,
)
from anya_actors.domain.bitcoin.script import witness_program
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxOutput
from anya_actors.domain.bitcoin.wire import prefixed, u32
from anya_actors.domain.keys.extended import ExtendedPublicKey
from anya_actors.domain.keys.key_origin import KeyOrigin

M = TypeVar("M", bound=PsbtMap)


def with_utxos(psbt: Psbt, transactions: Mapping[bytes, Transaction]) -> Psbt:
    """Put in the whole transactions (by txid) that inputs spend, and the outputs of witness programs.

    An input whose transaction is not there stays as it is.
    """
    for index, held in enumerate(psbt.inputs):
        prevout = psbt.prevout(index)
        whole = transactions.get(prevout.txid)
        if whole is None or held.is_final:
            continue
        if prevout.index >= len(whole.outputs):
            raise PsbtInputError("updated", "Input specifies output index that does not exist", index)
        output = whole.outputs[prevout.index]
        changed = held.with_value(In.NON_WITNESS_UTXO, whole.serialize())
        if witness_program(output.script_pubkey) is not None:
            changed = changed.with_value(In.WITNESS_UTXO, output.serialize())
        psbt = psbt.with_input(index, changed)
    return psbt


def with_witness_utxos(psbt: Psbt, outputs: Mapping[Outpoint, TxOutput]) -> Psbt:
    """Put in the spent outputs alone: enough for taproot, and for v0 if the caller knows them to be true."""
    for index, held in enumerate(psbt.inputs):
        output = outputs.get(psbt.prevout(index))
        if output is not None and not held.is_final:
            psbt = psbt.with_input(index, held.with_value(In.WITNESS_UTXO, output.serialize()))
    return psbt


Find = Callable[[bytes], ScriptPlan | None]
"""From an output script to what is known of it; None for scripts that are not ours."""


def update_psbt(psbt: Psbt, find: Find) -> Psbt:
    """Describe every input and output whose script ``find`` knows."""
    for index, held in enumerate(psbt.inputs):
        output = psbt.spent_output(index)
        plan = None if output is None or held.is_final else find(output.script_pubkey)
        if plan is not None:
            psbt = psbt.with_input(index, described_input(held, plan))
    for index, held_output in enumerate(psbt.outputs):
        script = (
            held_output.script if psbt.version else psbt.unsigned_transaction.outputs[index].script_pubkey
        )
        plan = None if script is None else find(script)
        if plan is not None:
            psbt = psbt.with_output(index, described_output(held_output, plan))
    return psbt


def described_input(held: InputMap, plan: ScriptPlan) -> InputMap:
    """The input with scripts, origins of keys and taproot fields."""
    if plan.taproot is None and not _is_taproot(plan.script_pubkey):
        held = held.with_value(In.REDEEM_SCRIPT, plan.redeem_script or held.redeem_script)
        held = held.with_value(In.WITNESS_SCRIPT, plan.witness_script or held.witness_script)
        return held.with_values(In.BIP32_DERIVATION, _derivations(plan))
    held = held.with_values(In.TAP_BIP32_DERIVATION, dict(_tap_derivations(plan)))
    held = held.with_values(In.MUSIG2_PARTICIPANT_PUBKEYS, _participants(plan))
    taproot = plan.taproot
    if taproot is None:
        return held
    held = held.with_value(In.TAP_INTERNAL_KEY, taproot.internal_key.x_only)
    if taproot.tree is not None:
        held = held.with_value(In.TAP_MERKLE_ROOT, taproot.merkle_root)
        for number, leaf in enumerate(taproot.leaves):
            value = leaf.script + bytes((leaf.version,))
            held = held.with_value(In.TAP_LEAF_SCRIPT, value, taproot.control_block(number))
    return held


def described_output(held: OutputMap, plan: ScriptPlan) -> OutputMap:
    """The output with what lets a signer recognise it as its own."""
    if plan.taproot is None and not _is_taproot(plan.script_pubkey):
        held = held.with_value(Out.REDEEM_SCRIPT, plan.redeem_script or held.redeem_script)
        held = held.with_value(Out.WITNESS_SCRIPT, plan.witness_script or held.witness_script)
        return held.with_values(Out.BIP32_DERIVATION, _derivations(plan))
    held = held.with_values(Out.TAP_BIP32_DERIVATION, dict(_tap_derivations(plan)))
    held = held.with_values(Out.MUSIG2_PARTICIPANT_PUBKEYS, _participants(plan))
    taproot = plan.taproot
    if taproot is None:
        return held
    held = held.with_value(Out.TAP_INTERNAL_KEY, taproot.internal_key.x_only)
    if taproot.tree is not None:
        tree = b"".join(bytes((leaf.depth, leaf.version)) + prefixed(leaf.script) for leaf in taproot.leaves)
        held = held.with_value(Out.TAP_TREE, tree)
    return held


def _is_taproot(script: bytes) -> bool:
    return len(script) == 34 and script[0] == 0x51


def _derivations(plan: ScriptPlan) -> dict[bytes, bytes]:
    return {key.public_key: write_origin(key.origin) for key in plan.keys}


def _tap_derivations(plan: ScriptPlan) -> Iterator[tuple[bytes, bytes]]:
    """Each key with the leaves it signs in; participants of an aggregate stand beside it."""
    for key in plan.keys:
        leaves = () if plan.taproot is None else _leaves_of(plan.taproot, key)
        for each in (key, *key.participants):
            yield each.x_only, write_tap_derivation(leaves, each.origin)


def _leaves_of(taproot: TaprootPlan, key: DerivedKey) -> tuple[bytes, ...]:
    pairs = zip(taproot.leaves, taproot.leaf_keys, strict=True)
    return tuple(leaf.leaf_hash for leaf, keys in pairs if key in keys)


def _participants(plan: ScriptPlan) -> dict[bytes, bytes]:
    return {
        key.aggregate_key: b"".join(member.public_key for member in key.participants)
        for key in plan.keys
        if key.participants
    }


def with_xpub(psbt: Psbt, key: ExtendedPublicKey, origin: KeyOrigin) -> Psbt:
    """Name an extended key that outputs of the transaction are derived from."""
    header = psbt.globals.with_value(Global.XPUB, write_origin(origin), key.serialize())
    return Psbt(header, psbt.inputs, psbt.outputs)


def with_sighash_type(psbt: Psbt, index: int, sighash: int) -> Psbt:
    """Ask signers of an input for signatures of this type; raises `PsbtStateError` once it is signed."""
    held = psbt.inputs[index]
    if held.is_final or held.partial_signatures or held.tap_key_signature:
        raise PsbtStateError("updated", f"input {index} is signed already")
    return psbt.with_input(index, held.with_value(In.SIGHASH_TYPE, u32(sighash)))

"""Partially signed transactions as Bitcoin Core writes them in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from anya_actors.domain.bitcoin.psbt import InputMap, OutputMap, Psbt, PsbtStateError
from anya_actors.domain.bitcoin.psbt.fields import PROPRIETARY, Global, In, Out
from anya_actors.domain.bitcoin.psbt.maps import PsbtMap
from anya_actors.domain.bitcoin.script import classify, disassemble
from anya_actors.domain.bitcoin.wire import Reader, TruncatedError
from anya_actors.domain.keys.extended import ExtendedKeyError, read_extended_key
from anya_actors.domain.keys.key_origin import KeyOrigin, format_step
from anya_actors.serve.bitcoin_rpc.describe import (
    SIGHASH_WORDS,
    btc,
    describe_output_script,
    describe_transaction,
    script_sig_words,
)

_PREIMAGES: Final = (
    ("ripemd160_preimages", In.RIPEMD160),
    ("sha256_preimages", In.SHA256),
    ("hash160_preimages", In.HASH160),
    ("hash256_preimages", In.HASH256),
)
_GLOBAL_KINDS: Final = frozenset(value for name, value in vars(Global).items() if name.isupper())
_INPUT_KINDS: Final = frozenset(value for name, value in vars(In).items() if name.isupper())
_OUTPUT_KINDS: Final = frozenset(value for name, value in vars(Out).items() if name.isupper())


def psbt_text(psbt: Psbt) -> str:
    """The PSBT in base64, its fields in Core's order: Core writes what it read anew."""
    return psbt.in_order().to_base64()


def describe_psbt(psbt: Psbt) -> dict[str, Any]:
    """What ``decodepsbt`` says."""
    transaction = psbt.unsigned_transaction
    facts: dict[str, Any] = {
        "tx": describe_transaction(transaction, with_hex=False),
        "global_xpubs": [
            {"xpub": _xpub(key), "master_fingerprint": origin.fingerprint.hex(), "path": _path(origin)}
            for key, origin in psbt.globals.xpubs.items()
        ],
        "psbt_version": psbt.version,
        "proprietary": _proprietary(psbt.globals),
        "unknown": _unknown(psbt.globals, _GLOBAL_KINDS),
        "inputs": [_describe_input(held) for held in psbt.inputs],
        "outputs": [_describe_output(held) for held in psbt.outputs],
    }
    try:
        fee_sat = psbt.fee_sat()
    except PsbtStateError:
        fee_sat = None
    if fee_sat is not None:
        facts["fee"] = btc(fee_sat)
    return facts


def _xpub(data: bytes) -> str:
    try:
        return str(read_extended_key(data))
    except ExtendedKeyError:
        return data.hex()


def _path(origin: KeyOrigin) -> str:
    return "/".join(["m", *(format_step(step, "h") for step in origin.path)])


def _origin(key: bytes, origin: KeyOrigin) -> dict[str, Any]:
    return {"pubkey": key.hex(), "master_fingerprint": origin.fingerprint.hex(), "path": _path(origin)}


def _script(script: bytes) -> dict[str, Any]:
    return {"asm": disassemble(script), "hex": script.hex(), "type": classify(script).value}


def _describe_input(held: InputMap) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    output = held.witness_utxo
    if output is not None:
        facts["witness_utxo"] = {
            "amount": btc(output.amount_sat),
            "scriptPubKey": describe_output_script(output.script_pubkey),
        }
    if held.non_witness_utxo is not None:
        facts["non_witness_utxo"] = describe_transaction(held.non_witness_utxo, with_hex=False)
    if held.partial_signatures:
        signatures = held.partial_signatures.items()
        facts["partial_signatures"] = {key.hex(): signature.hex() for key, signature in signatures}
    if held.sighash_type is not None:
        facts["sighash"] = SIGHASH_WORDS.get(held.sighash_type, "")
    if held.redeem_script is not None:
        facts["redeem_script"] = _script(held.redeem_script)
    if held.witness_script is not None:
        facts["witness_script"] = _script(held.witness_script)
    if held.derivations:
        facts["bip32_derivs"] = [_origin(*found) for found in held.derivations.items()]
    if held.final_script_sig is not None:
        script = held.final_script_sig
        facts["final_scriptSig"] = {"asm": script_sig_words(script), "hex": script.hex()}
    if held.final_script_witness is not None:
        facts["final_scriptwitness"] = [item.hex() for item in held.final_script_witness]
    for name, kind in _PREIMAGES:
        if held.preimages(kind):
            facts[name] = {digest.hex(): image.hex() for digest, image in held.preimages(kind).items()}
    facts |= _taproot_input(held) | _musig2_input(held)
    facts |= _rest(held, _INPUT_KINDS)
    return facts


def _taproot_input(held: InputMap) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if held.tap_key_signature is not None:
        facts["taproot_key_path_sig"] = held.tap_key_signature.hex()
    if held.tap_script_signatures:
        facts["taproot_script_path_sigs"] = [
            {"pubkey": key.hex(), "leaf_hash": leaf.hex(), "sig": signature.hex()}
            for (key, leaf), signature in held.tap_script_signatures.items()
        ]
    blocks: dict[tuple[bytes, int], list[str]] = {}
    for control, leaf in held.tap_leaf_scripts.items():
        blocks.setdefault(leaf, []).append(control.hex())
    if blocks:
        facts["taproot_scripts"] = [
            {"script": script.hex(), "leaf_ver": version, "control_blocks": sorted(controls)}
            for (script, version), controls in blocks.items()
        ]
    facts |= _tap_derivations(held)
    if held.tap_internal_key is not None:
        facts["taproot_internal_key"] = held.tap_internal_key.hex()
    if held.tap_merkle_root is not None:
        facts["taproot_merkle_root"] = held.tap_merkle_root.hex()
    return facts


def _tap_derivations(held: InputMap | OutputMap) -> dict[str, Any]:
    if not held.tap_derivations:
        return {}
    return {
        "taproot_bip32_derivs": [
            {**_origin(key, origin), "leaf_hashes": [leaf.hex() for leaf in leaves]}
            for key, (leaves, origin) in held.tap_derivations.items()
        ]
    }


def _participants(held: InputMap | OutputMap) -> dict[str, Any]:
    if not held.musig2_participants:
        return {}
    return {
        "musig2_participant_pubkeys": [
            {"aggregate_pubkey": whole.hex(), "participant_pubkeys": [key.hex() for key in keys]}
            for whole, keys in held.musig2_participants.items()
        ]
    }


def _musig2_input(held: InputMap) -> dict[str, Any]:
    facts = _participants(held)
    parts: tuple[tuple[str, str, Mapping[tuple[bytes, bytes, bytes], bytes]], ...] = (
        ("musig2_pubnonces", "pubnonce", held.musig2_nonces),
        ("musig2_partial_sigs", "partial_sig", held.musig2_partial_signatures),
    )
    for name, member, fields in parts:
        if fields:
            facts[name] = [
                {
                    "participant_pubkey": key.hex(),
                    "aggregate_pubkey": whole.hex(),
                    **({"leaf_hash": leaf.hex()} if leaf else {}),
                    member: value.hex(),
                }
                for (key, whole, leaf), value in fields.items()
            ]
    return facts


def _describe_output(held: OutputMap) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if held.redeem_script is not None:
        facts["redeem_script"] = _script(held.redeem_script)
    if held.witness_script is not None:
        facts["witness_script"] = _script(held.witness_script)
    if held.derivations:
        facts["bip32_derivs"] = [_origin(*found) for found in held.derivations.items()]
    if held.tap_internal_key is not None:
        facts["taproot_internal_key"] = held.tap_internal_key.hex()
    if held.tap_tree:
        facts["taproot_tree"] = [
            {"depth": depth, "leaf_ver": version, "script": script.hex()}
            for depth, version, script in held.tap_tree
        ]
    return facts | _tap_derivations(held) | _participants(held) | _rest(held, _OUTPUT_KINDS)


def _rest(held: PsbtMap, kinds: frozenset[int]) -> dict[str, Any]:
    """Fields of other programs and of later versions, where there are any."""
    facts: dict[str, Any] = {}
    proprietary, unknown = _proprietary(held), _unknown(held, kinds)
    if proprietary:
        facts["proprietary"] = proprietary
    if unknown:
        facts["unknown"] = unknown
    return facts


def _proprietary(held: PsbtMap) -> list[dict[str, Any]]:
    found = []
    for data, value in held.values_of(PROPRIETARY).items():
        reader = Reader(data)
        try:
            identifier, subtype = reader.prefixed(), reader.compact_size()
        except TruncatedError:
            continue
        key = data[reader.offset :]
        found.append(
            {"identifier": identifier.hex(), "subtype": subtype, "key": key.hex(), "value": value.hex()}
        )
    return found


def _unknown(held: PsbtMap, kinds: frozenset[int]) -> dict[str, str]:
    return {
        key.hex(): value.hex()
        for key, value in held.fields.items()
        if key and key[0] not in kinds and key[0] != PROPRIETARY
    }

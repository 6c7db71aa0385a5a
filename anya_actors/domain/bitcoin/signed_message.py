"""Signed messages of any address (BIP322): made of digests that a signer signs, verified by a script engine.

A message becomes an output that only the address's script can spend; the signature is what would
spend it. Parsing of proofs and evaluation of scripts are btclib's, behind `verify_message`.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Final, Literal

from btclib.exceptions import BTClibRuntimeError, InconclusiveError
from btclib.script.witness import Witness
from btclib.tx import Tx
from btclib_wallet import bip322
from ecc.exceptions import EccRuntimeError

from anya_actors.domain.bitcoin.address import encode_address, parse_address
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.script import OP_RETURN, ScriptType, classify, hash160, p2wpkh_script, push
from anya_actors.domain.bitcoin.sighash import (
    Sighash,
    p2wpkh_script_code,
    segwit_v0_sighash,
    taproot_key_path_sighash,
)
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxInput, TxOutput
from anya_actors.domain.bitcoin.wire import compact_size, prefixed, sha256d, u32
from anya_actors.domain.keys.curve import CurveError, recovery_id, tagged_hash
from anya_actors.domain.machine import InvalidInputError, NotSupportedError

Variant = Literal["legacy", "simple", "full", "proof-of-funds"]

MAX_SIGNATURE_CHARACTERS: Final = 400_000
"""Longer signatures are refused unread: the work to evaluate them grows faster than they do."""

_PREFIXES: Final[dict[str, Variant]] = {"smp": "simple", "ful": "full", "pof": "proof-of-funds"}
_NULL_INPUT: Final = Outpoint(Txid(bytes(32)), 0xFFFFFFFF)
# What btclib raises for a signature that does not hold; anything else is a defect and not caught.
_REFUSALS: Final = (ValueError, BTClibRuntimeError, EccRuntimeError)


class SignedMessageError(InvalidInputError):
    """A signature that is not one of this message by this address ("invalid" in BIP322)."""

    code = "invalid-message-signature"
    message = "{} does not hold: {}"
    remedy = "Check that message and address are exactly those that were signed."


class InconclusiveMessageError(InvalidInputError):
    """A signature that uses rules which do not exist yet: nobody can judge it today (BIP322)."""

    code = "inconclusive-message-signature"
    message = "{} can be called neither valid nor invalid: {}"
    remedy = "Treat it as not valid; newer software may know the rules that it relies on."


@dataclass(frozen=True)
class ValidMessage:
    """A signature that holds: "valid at time T and age S" in BIP322.

    ``lock_time`` is T and ``sequence`` is S: the signature says nothing about an earlier time, nor
    about coins younger than that. ``coins`` are the further outputs that a proof of funds claims;
    whether they exist and are unspent is the chain's to say.
    """

    variant: Variant
    lock_time: int = 0
    sequence: int = 0
    coins: tuple[Outpoint, ...] = ()


def message_hash(message: bytes) -> bytes:
    """What ``to_spend`` commits to."""
    return tagged_hash("BIP0322-signed-message", message)


def to_spend(message: bytes, script_pubkey: bytes) -> Transaction:
    """The virtual transaction whose one output stands for message and address."""
    spent = TxInput(_NULL_INPUT, b"\x00" + push(message_hash(message)), 0)
    return Transaction(0, (spent,), (TxOutput(0, script_pubkey),))


def to_sign(
    message: bytes, script_pubkey: bytes, *, version: int = 0, lock_time: int = 0, sequence: int = 0
) -> Transaction:
    """The virtual transaction that whoever controls the address signs."""
    prevout = Outpoint(to_spend(message, script_pubkey).txid, 0)
    output = TxOutput(0, bytes((OP_RETURN,)))
    return Transaction(version, (TxInput(prevout, b"", sequence),), (output,), lock_time)


def to_sign_psbt(message: bytes, address: str, network: Network) -> bytes:
    """The same as a PSBT, for scripts of several keys: its roles sign and finalise it (BIP322).

    Extract the finalised transaction and hand it to `full_signature`, or the witness to
    `simple_signature`.
    """
    parse_address(address, network)
    return bytes(bip322.to_sign_psbt(message, address).serialize())


def simple_signature(witness: tuple[bytes, ...]) -> str:
    """The text of a signature that is a witness alone: native segwit addresses, no time locks."""
    data = compact_size(len(witness)) + b"".join(prefixed(item) for item in witness)
    return "smp" + base64.b64encode(data).decode("ascii")


def full_signature(signed: Transaction) -> str:
    """The text of a signature that is the whole signed ``to_sign``."""
    return "ful" + base64.b64encode(signed.serialize()).decode("ascii")


def digest_to_sign(message: bytes, script_pubkey: bytes, public_key: bytes) -> bytes:
    """The 32 bytes that the one key of an address signs: Schnorr for P2TR, else ECDSA.

    ``public_key`` is compressed; a P2TR key must be tweaked by its signer as for a payment.
    Raises `NotSupportedError` for scripts of more than one key, which go by `to_sign_psbt`.
    """
    transaction = to_sign(message, script_pubkey)
    kind = _kind(script_pubkey, public_key)
    if kind is ScriptType.WITNESS_V1_TAPROOT:
        return taproot_key_path_sighash(transaction, 0, (TxOutput(0, script_pubkey),))
    if kind is ScriptType.PUBKEYHASH:
        spent = TxInput(transaction.inputs[0].prevout, script_pubkey, 0)
        whole = Transaction(0, (spent,), transaction.outputs)
        return sha256d(whole.serialize_stripped() + u32(Sighash.ALL))
    return segwit_v0_sighash(transaction, 0, p2wpkh_script_code(hash160(public_key)), 0)


def assemble_signature(message: bytes, script_pubkey: bytes, public_key: bytes, signature: bytes) -> str:
    """The text of a signature from what the signer made of `digest_to_sign` (DER, or 64 bytes)."""
    kind = _kind(script_pubkey, public_key)
    if kind is ScriptType.WITNESS_V1_TAPROOT:
        return simple_signature((signature,))
    witness = (signature + bytes((Sighash.ALL,)), public_key)
    if kind is ScriptType.WITNESS_V0_KEYHASH:
        return simple_signature(witness)
    unsigned = to_sign(message, script_pubkey)
    prevout = unsigned.inputs[0].prevout
    if kind is ScriptType.SCRIPTHASH:
        signed = TxInput(prevout, push(p2wpkh_script(hash160(public_key))), 0, witness)
    else:
        signed = TxInput(prevout, b"".join(push(item) for item in witness), 0)
    return full_signature(Transaction(0, (signed,), unsigned.outputs))


def _kind(script_pubkey: bytes, public_key: bytes) -> ScriptType:
    """Which script of a single key this is; raises if it is none, or not of this key."""
    kind = classify(script_pubkey)
    name = hash160(public_key)
    owned = {
        ScriptType.PUBKEYHASH: script_pubkey[3:23] == name,
        ScriptType.WITNESS_V0_KEYHASH: script_pubkey[2:] == name,
        ScriptType.SCRIPTHASH: script_pubkey[2:22] == hash160(p2wpkh_script(name)),
        ScriptType.WITNESS_V1_TAPROOT: True,  # the tweak is the signer's: verification decides
    }
    if kind not in owned:
        raise NotSupportedError(f"signing for a script of kind {kind.value} by one key", "use a PSBT")
    if not owned[kind]:
        raise SignedMessageError("the public key", "the address is not its own, or has several keys")
    return kind


def legacy_digest(message: bytes) -> bytes:
    """What the signatures of ``signmessage`` sign, from before BIP322."""
    return sha256d(prefixed(b"Bitcoin Signed Message:\n") + prefixed(message))


def legacy_signature(message: bytes, public_key: bytes, signature: bytes) -> str:
    """The text that ``verifymessage`` takes, from a DER signature of `legacy_digest`."""
    try:
        compact, recovery = recovery_id(public_key, legacy_digest(message), signature)
    except CurveError as error:
        raise SignedMessageError("the signature", str(error)) from error
    header = 27 + recovery + (4 if len(public_key) == 33 else 0)
    return base64.b64encode(bytes((header,)) + compact).decode("ascii")


def verify_message(message: bytes, address: str, signature: str, network: Network) -> ValidMessage:
    """Return how a signature of any variant holds.

    Raises `SignedMessageError` (invalid), `InconclusiveMessageError`, or `AddressError`. The legacy
    variant is read for P2PKH addresses alone, as the BIP has it.
    """
    script_pubkey = parse_address(address, network)
    if len(signature) > MAX_SIGNATURE_CHARACTERS:
        raise NotSupportedError("a signature of this length", f"over {MAX_SIGNATURE_CHARACTERS} characters")
    proof = _parse(signature.strip(" \t\r\n"))
    # btclib knows one name per kind of address: the script's own, whatever network it was written for.
    name = encode_address(script_pubkey, network) or address
    try:
        bip322.assert_as_valid(message, name, proof)
    except InconclusiveError as error:
        raise InconclusiveMessageError("the signature", str(error)) from error
    except _REFUSALS as error:
        raise SignedMessageError("invalid signature: it", str(error)) from error
    return _verdict(proof)


def _parse(text: str) -> bip322.Sig | str:
    """The proof that the text encodes; a legacy signature stays text."""
    if not text:
        raise SignedMessageError("the signature", "signature too short")
    variant = _PREFIXES.get(text[:3])
    encoded = text if variant is None else text[3:]
    try:
        data = base64.b64decode(encoded, validate=True)
        canonical = base64.b64encode(data).decode("ascii") == encoded
    except ValueError:
        canonical = False
    if not canonical:
        raise SignedMessageError("the signature", "error decoding signature as base64")
    if variant is None and len(data) == 65:
        return text
    try:
        return bip322.Sig.b64decode(text)
    except _REFUSALS as error:
        reason = f"error parsing signature as {variant or 'simple'} variant: {error}"
        raise SignedMessageError("the signature", reason) from error


def _verdict(proof: bip322.Sig | str) -> ValidMessage:
    if isinstance(proof, str):
        return ValidMessage("legacy")
    payload = proof.payload
    if isinstance(payload, Witness):
        return ValidMessage("simple")
    transaction = payload if isinstance(payload, Tx) else payload.tx
    coins = tuple(
        Outpoint(Txid(bytes(spent.prev_out.tx_id)[::-1]), spent.prev_out.vout)
        for spent in transaction.vin[1:]
    )
    variant = _PREFIXES[proof.variant]
    return ValidMessage(variant, transaction.lock_time, transaction.vin[0].sequence, coins)

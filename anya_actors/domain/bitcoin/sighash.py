"""What a signature signs: BIP143 for version 0 witness programs, BIP341 for taproot key paths."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Sequence
from typing import Final

from anya_actors.domain.bitcoin.transaction import Transaction, TxOutput
from anya_actors.domain.bitcoin.wire import i32, i64, prefixed, sha256d, u32
from anya_actors.domain.keys.curve import tagged_hash
from anya_actors.domain.machine import InvalidInputError


class Sighash(enum.IntEnum):
    """Which parts of the transaction are signed."""

    DEFAULT = 0x00  # taproot only: everything, without the type byte behind the signature
    ALL = 0x01
    NONE = 0x02
    SINGLE = 0x03
    ALL_ANYONECANPAY = 0x81
    NONE_ANYONECANPAY = 0x82
    SINGLE_ANYONECANPAY = 0x83


_ANYONECANPAY: Final = 0x80


class SighashError(InvalidInputError):
    """No signature hash exists for this input and type."""

    code = "invalid-sighash"
    message = "{} cannot be signed: {}"
    remedy = "Choose an input that exists and a signature type that fits it."


def p2wpkh_script_code(pubkey_hash: bytes) -> bytes:
    """The script that a P2WPKH signature commits to (BIP143)."""
    return b"\x76\xa9\x14" + pubkey_hash + b"\x88\xac"


def segwit_v0_sighash(
    transaction: Transaction, index: int, script_code: bytes, amount_sat: int, sighash: int = Sighash.ALL
) -> bytes:
    """The 32-byte digest of BIP143 for input ``index``, which spends ``amount_sat``.

    Takes any type byte, as the consensus rules do.
    """
    _check_index(transaction, index)
    kind = sighash & 0x1F
    anyone = bool(sighash & _ANYONECANPAY)
    zero = bytes(32)
    prevouts = zero if anyone else sha256d(_prevouts(transaction))
    skips_sequences = anyone or kind in (Sighash.NONE, Sighash.SINGLE)
    sequences = zero if skips_sequences else sha256d(_sequences(transaction))
    outputs = zero
    if kind == Sighash.SINGLE:
        if index < len(transaction.outputs):
            outputs = sha256d(transaction.outputs[index].serialize())
    elif kind != Sighash.NONE:
        outputs = sha256d(_outputs(transaction))
    spent = transaction.inputs[index]
    return sha256d(
        i32(transaction.version)
        + prevouts
        + sequences
        + spent.prevout.txid
        + u32(spent.prevout.index)
        + prefixed(script_code)
        + i64(amount_sat)
        + u32(spent.sequence)
        + outputs
        + u32(transaction.lock_time)
        + u32(sighash)
    )


def taproot_key_path_sighash(
    transaction: Transaction, index: int, spent_outputs: Sequence[TxOutput], sighash: int = Sighash.DEFAULT
) -> bytes:
    """The 32-byte digest of BIP341 for a key path spend of input ``index``, without annex.

    ``spent_outputs`` are the outputs that all inputs spend, in their order.
    """
    _check_index(transaction, index)
    if len(spent_outputs) != len(transaction.inputs):
        raise SighashError(f"input {index}", "there is not one spent output for each input")
    if sighash not in tuple(Sighash):
        raise SighashError(f"input {index}", f"type {sighash:#04x} does not exist (BIP341)")
    kind = sighash & 3
    anyone = bool(sighash & _ANYONECANPAY)
    message = bytes((0, sighash)) + i32(transaction.version) + u32(transaction.lock_time)
    if not anyone:
        message += _sha256(_prevouts(transaction))
        message += _sha256(b"".join(i64(output.amount_sat) for output in spent_outputs))
        message += _sha256(b"".join(prefixed(output.script_pubkey) for output in spent_outputs))
        message += _sha256(_sequences(transaction))
    if kind not in (Sighash.NONE, Sighash.SINGLE):
        message += _sha256(_outputs(transaction))
    message += b"\x00"  # spend type: key path, no annex
    if anyone:
        spent = transaction.inputs[index]
        message += spent.prevout.txid + u32(spent.prevout.index)
        message += spent_outputs[index].serialize() + u32(spent.sequence)
    else:
        message += u32(index)
    if kind == Sighash.SINGLE:
        if index >= len(transaction.outputs):
            raise SighashError(f"input {index}", "SIGHASH_SINGLE needs an output of the same index")
        message += _sha256(transaction.outputs[index].serialize())
    return tagged_hash("TapSighash", message)


def _check_index(transaction: Transaction, index: int) -> None:
    if not 0 <= index < len(transaction.inputs):
        raise SighashError(f"input {index}", f"the transaction has {len(transaction.inputs)} inputs")


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _prevouts(transaction: Transaction) -> bytes:
    return b"".join(spent.prevout.txid + u32(spent.prevout.index) for spent in transaction.inputs)


def _sequences(transaction: Transaction) -> bytes:
    return b"".join(u32(spent.sequence) for spent in transaction.inputs)


def _outputs(transaction: Transaction) -> bytes:
    return b"".join(output.serialize() for output in transaction.outputs)

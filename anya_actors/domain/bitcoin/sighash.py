"""What a signature signs: the original rules, BIP143, and BIP341 with BIP342 for taproot."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Callable, Sequence
from typing import Final

from anya_actors.domain.bitcoin.transaction import Transaction, TxOutput
from anya_actors.domain.bitcoin.wire import compact_size, i32, i64, prefixed, sha256d, u32
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
_TYPES: Final = frozenset(int(kind) for kind in Sighash)


class SighashError(InvalidInputError):
    """No signature hash exists for this input and type."""

    code = "invalid-sighash"
    message = "{} cannot be signed: {}"
    remedy = "Choose an input that exists and a signature type that fits it."


def p2wpkh_script_code(pubkey_hash: bytes) -> bytes:
    """The script that a P2WPKH signature commits to (BIP143)."""
    return b"\x76\xa9\x14" + pubkey_hash + b"\x88\xac"


def legacy_sighash(
    transaction: Transaction, index: int, script_code: bytes, sighash: int = Sighash.ALL
) -> bytes:
    """The 32-byte digest of scripts without witnesses. Takes any type, as the consensus rules do.

    ``script_code`` is the output script, or the redeem script (BIP16).
    """
    _check_index(transaction, index)
    kind = sighash & 0x1F
    if kind == Sighash.SINGLE and index >= len(transaction.outputs):
        # Satoshi's code signs the number 1 here; it became consensus.
        return b"\x01" + bytes(31)
    places = (index,) if sighash & _ANYONECANPAY else range(len(transaction.inputs))
    pieces = [i32(transaction.version), compact_size(len(places))]
    for place in places:
        spent = transaction.inputs[place]
        script = _without_code_separators(script_code) if place == index else b""
        is_free = place != index and kind in (Sighash.NONE, Sighash.SINGLE)
        pieces += (spent.prevout.txid, u32(spent.prevout.index), prefixed(script))
        pieces.append(u32(0 if is_free else spent.sequence))
    pieces.append(_legacy_outputs(transaction, index, kind))
    pieces += (u32(transaction.lock_time), u32(sighash & 0xFFFFFFFF))
    return sha256d(b"".join(pieces))


def _legacy_outputs(transaction: Transaction, index: int, kind: int) -> bytes:
    if kind == Sighash.NONE:
        return b"\x00"
    if kind == Sighash.SINGLE:
        empty = (i64(-1) + b"\x00") * index
        return compact_size(index + 1) + empty + transaction.outputs[index].serialize()
    return compact_size(len(transaction.outputs)) + _outputs(transaction)


def _without_code_separators(script: bytes) -> bytes:
    if b"\xab" not in script:
        return script
    kept, at = b"", 0
    while at < len(script):
        opcode, end = script[at], at + 1
        if opcode <= 0x4E:
            width = (1, 2, 4)[opcode - 0x4C] if opcode >= 0x4C else 0
            size = int.from_bytes(script[end : end + width], "little") if width else opcode
            end += width + size
            if end > len(script):
                return kept + script[at:]  # what cannot be read is signed as it is
        if opcode != 0xAB:
            kept += script[at:end]
        at = end
    return kept


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
    skips_sequences = anyone or kind in (Sighash.NONE, Sighash.SINGLE)
    outputs = zero
    if kind == Sighash.SINGLE:
        if index < len(transaction.outputs):
            outputs = sha256d(transaction.outputs[index].serialize())
    elif kind != Sighash.NONE:
        outputs = _sha256(_hash(transaction, _outputs))
    spent = transaction.inputs[index]
    return sha256d(
        i32(transaction.version)
        + (zero if anyone else _sha256(_hash(transaction, _prevouts)))
        + (zero if skips_sequences else _sha256(_hash(transaction, _sequences)))
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
    transaction: Transaction,
    index: int,
    spent_outputs: Sequence[TxOutput],
    sighash: int = Sighash.DEFAULT,
    *,
    annex: bytes | None = None,
) -> bytes:
    """The 32-byte digest of BIP341 for a key path spend of input ``index``.

    ``spent_outputs`` are the outputs that all inputs spend, in their order.
    """
    return tagged_hash("TapSighash", _taproot_message(transaction, index, spent_outputs, sighash, 0, annex))


def taproot_script_path_sighash(
    transaction: Transaction,
    index: int,
    spent_outputs: Sequence[TxOutput],
    leaf_hash: bytes,
    sighash: int = Sighash.DEFAULT,
    *,
    annex: bytes | None = None,
    code_separator: int = 0xFFFFFFFF,
) -> bytes:
    """The 32-byte digest of BIP342 for a signature in the script with this leaf hash.

    ``code_separator`` is the number of the last OP_CODESEPARATOR that ran, counted in opcodes.
    """
    message = _taproot_message(transaction, index, spent_outputs, sighash, 1, annex)
    return tagged_hash("TapSighash", message + leaf_hash + b"\x00" + u32(code_separator))


def _taproot_message(
    transaction: Transaction,
    index: int,
    spent_outputs: Sequence[TxOutput],
    sighash: int,
    extension: int,
    annex: bytes | None,
) -> bytes:
    _check_index(transaction, index)
    if len(spent_outputs) != len(transaction.inputs):
        raise SighashError(f"input {index}", "there is not one spent output for each input")
    if sighash not in _TYPES:
        raise SighashError(f"input {index}", f"type {sighash:#04x} does not exist (BIP341)")
    kind = sighash & 3
    anyone = bool(sighash & _ANYONECANPAY)
    message = bytes((0, sighash)) + i32(transaction.version) + u32(transaction.lock_time)
    if not anyone:
        message += _hash(transaction, _prevouts)
        message += _sha256(b"".join(i64(output.amount_sat) for output in spent_outputs))
        message += _sha256(b"".join(prefixed(output.script_pubkey) for output in spent_outputs))
        message += _hash(transaction, _sequences)
    if kind not in (Sighash.NONE, Sighash.SINGLE):
        message += _hash(transaction, _outputs)
    message += bytes((2 * extension + (annex is not None),))
    if anyone:
        spent = transaction.inputs[index]
        message += spent.prevout.txid + u32(spent.prevout.index)
        message += spent_outputs[index].serialize() + u32(spent.sequence)
    else:
        message += u32(index)
    if annex is not None:
        message += _sha256(prefixed(annex))
    if kind == Sighash.SINGLE:
        if index >= len(transaction.outputs):
            raise SighashError(f"input {index}", "SIGHASH_SINGLE needs an output of the same index")
        message += _sha256(transaction.outputs[index].serialize())
    return message


def _hash(transaction: Transaction, part: Callable[[Transaction], bytes]) -> bytes:
    # Each input signs the same parts: hashing them once keeps signing linear in the inputs.
    held = transaction.__dict__.get(part.__name__)
    if held is None:
        held = transaction.__dict__[part.__name__] = _sha256(part(transaction))
    return bytes(held)


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

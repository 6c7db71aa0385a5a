"""Transactions: reading them strictly, writing them, their names and their weight.

Encoding: Bitcoin's wire format with BIP144 witnesses. Sizes: BIP141. What may be in a valid
transaction is another question, answered in ``transaction_rules``.
"""

from __future__ import annotations

import struct
from functools import cached_property
from typing import Final

import msgspec

from anya_actors.domain.bitcoin.errors import MalformedTransactionError
from anya_actors.domain.bitcoin.hashes import Txid, Wtxid
from anya_actors.domain.bitcoin.wire import (
    Reader,
    TruncatedError,
    compact_size,
    compact_size_at,
    i32,
    i64,
    prefixed,
    sha256d,
    u32,
)
from anya_actors.domain.machine import InvalidInputError

SEQUENCE_FINAL: Final = 0xFFFFFFFF
MAX_SEQUENCE_RBF: Final = 0xFFFFFFFD
"""Sequences up to this one signal that the transaction may be replaced (BIP125)."""

WITNESS_SCALE: Final = 4

_I32, _U32, _I64 = struct.Struct("<i"), struct.Struct("<I"), struct.Struct("<q")
_OUTPOINT = struct.Struct("<32sI")
_TXID = bytes.__new__  # a txid of bytes whose length is known, unchecked


class Outpoint(msgspec.Struct, frozen=True, order=True, gc=False):
    """One output of one transaction, by name."""

    txid: Txid
    index: int

    def __str__(self) -> str:
        return f"{self.txid}:{self.index}"

    @property
    def is_null(self) -> bool:
        """Whether this is what a coinbase "spends"."""
        return self.index == 0xFFFFFFFF and not any(self.txid)


def parse_outpoint(text: str) -> Outpoint:
    """``txid:index`` with the txid as Core shows it; raises `InvalidInputError`, `HashError`."""
    txid, mark, index = text.partition(":")
    if not mark or not index.isascii() or not index.isdigit() or len(index) > 10:
        raise InvalidInputError("outpoint", "it is not of the form txid:index")
    if int(index) > 0xFFFFFFFF:
        raise InvalidInputError("outpoint", "its index does not fit into 32 bits")
    return Outpoint(Txid.from_hex(txid), int(index))


NULL_OUTPOINT: Final = Outpoint(Txid(bytes(32)), 0xFFFFFFFF)


class TxInput(msgspec.Struct, frozen=True, gc=False):
    """What is spent, and what allows it."""

    prevout: Outpoint
    script_sig: bytes = b""
    sequence: int = MAX_SEQUENCE_RBF
    witness: tuple[bytes, ...] = ()


class TxOutput(msgspec.Struct, frozen=True, gc=False):
    """An amount and the script that must be satisfied to spend it."""

    amount_sat: int
    script_pubkey: bytes

    def serialize(self) -> bytes:
        return i64(self.amount_sat) + prefixed(self.script_pubkey)


class Transaction(msgspec.Struct, frozen=True, dict=True):
    """A transaction. Immutable, so its names are computed once, and its bytes are kept as they came."""

    version: int
    inputs: tuple[TxInput, ...]
    outputs: tuple[TxOutput, ...]
    lock_time: int = 0

    @property
    def has_witness(self) -> bool:
        return any(tx_input.witness for tx_input in self.inputs)

    @property
    def is_coinbase(self) -> bool:
        return len(self.inputs) == 1 and self.inputs[0].prevout.is_null

    def _body(self) -> bytes:
        pieces = [compact_size(len(self.inputs))]
        for tx_input in self.inputs:
            pieces += (
                tx_input.prevout.txid,
                u32(tx_input.prevout.index),
                prefixed(tx_input.script_sig),
                u32(tx_input.sequence),
            )
        pieces.append(compact_size(len(self.outputs)))
        pieces += [output.serialize() for output in self.outputs]
        return b"".join(pieces)

    def serialize_stripped(self) -> bytes:
        """The bytes without witnesses: what the txid commits to."""
        return i32(self.version) + self._body() + u32(self.lock_time)

    def serialize(self) -> bytes:
        """The bytes of the wire, with witnesses where there are any (BIP144)."""
        return self._raw

    @cached_property
    def _raw(self) -> bytes:
        if not self.has_witness:
            return self.serialize_stripped()
        pieces = [i32(self.version), b"\x00\x01", self._body()]
        for tx_input in self.inputs:
            pieces.append(compact_size(len(tx_input.witness)))
            pieces += [prefixed(item) for item in tx_input.witness]
        pieces.append(u32(self.lock_time))
        return b"".join(pieces)

    @cached_property
    def txid(self) -> Txid:
        return Txid(sha256d(self.serialize_stripped()))

    @cached_property
    def wtxid(self) -> Wtxid:
        return Wtxid(sha256d(self._raw)) if self.has_witness else Wtxid(bytes(self.txid))

    @cached_property
    def stripped_size(self) -> int:
        """Bytes without witnesses."""
        return len(self.serialize_stripped())

    @property
    def size(self) -> int:
        """Bytes with witnesses."""
        return len(self._raw)

    @property
    def weight(self) -> int:
        """Weight units (BIP141): three times the stripped size plus the whole size."""
        return 3 * self.stripped_size + len(self._raw)

    @property
    def vsize(self) -> int:
        """Virtual bytes, rounded up."""
        return (self.weight + 3) // WITNESS_SCALE


def parse_transaction(data: bytes) -> Transaction:
    """Read exactly one transaction; raises `MalformedTransactionError` on any other bytes."""
    reader = Reader(data)
    try:
        transaction = read_transaction(reader)
        if reader.left:
            raise TruncatedError(f"{reader.left} bytes follow it")
    except TruncatedError as error:
        raise MalformedTransactionError("the data", str(error)) from error
    return transaction


def parse_bare_transaction(data: bytes) -> Transaction:
    """Read exactly one transaction in the encoding before BIP144, in which it may have no inputs.

    Raises `MalformedTransactionError`.
    """
    reader = Reader(data)
    try:
        transaction = read_stripped_transaction(reader)
        if reader.left:
            raise TruncatedError(f"{reader.left} bytes follow it")
    except TruncatedError as error:
        raise MalformedTransactionError("the data", str(error)) from error
    return transaction


def parse_transaction_hex(text: str) -> Transaction:
    """Read exactly one transaction in hexadecimal; raises `MalformedTransactionError`."""
    try:
        if not text.isascii() or any(character.isspace() for character in text):
            raise ValueError
        data = bytes.fromhex(text)
    except ValueError:
        raise MalformedTransactionError("the text", "it is not hexadecimal") from None
    return parse_transaction(data)


def read_transaction(reader: Reader) -> Transaction:
    """Read one transaction from the cursor; raises `TruncatedError`.

    Two zero-length lists mean what they mean in Core: a count of inputs of zero is BIP144's
    marker, so a transaction without inputs exists only together with no outputs.
    """
    transaction, reader.offset = transaction_at(reader.data, reader.offset)
    return transaction


def transaction_at(data: bytes, start: int) -> tuple[Transaction, int]:
    """The transaction that begins there, and where it ends; raises `TruncatedError`."""
    try:
        return _transaction_at(data, start)
    except (IndexError, struct.error):
        # A slice may end early in silence; but numbers follow every slice, and those do not.
        raise TruncatedError("it ends too early") from None


def read_stripped_transaction(reader: Reader) -> Transaction:
    """Read one transaction without BIP144's marker: only so can one without inputs have outputs.

    Raises `TruncatedError`.
    """
    data, start = reader.data, reader.offset
    try:
        bare, at = _inputs_at(data, start + 4)
        outputs, at = _outputs_at(data, at)
        (version,), (lock_time,) = _I32.unpack_from(data, start), _U32.unpack_from(data, at)
    except (IndexError, struct.error):
        raise TruncatedError("it ends too early") from None
    reader.offset = at + 4
    return Transaction(version, tuple([TxInput(*fields) for fields in bare]), outputs, lock_time)


# What follows reads thousands of transactions a block, so it goes without a cursor.


def _transaction_at(data: bytes, start: int) -> tuple[Transaction, int]:
    (version,) = _I32.unpack_from(data, start)
    at, flag = start + 4, 0
    if data[at] == 0:
        flag = data[at + 1]
        at += 2
        if flag == 0:
            return Transaction(version, (), (), _U32.unpack_from(data, at)[0]), at + 4
    body = at
    bare, at = _inputs_at(data, at)
    outputs, at = _outputs_at(data, at)
    body_end = at
    if flag & 1:
        inputs, at = _witnesses_at(data, at, bare)
    else:
        inputs = tuple([TxInput(*fields) for fields in bare])
    if flag & ~1:
        raise TruncatedError(f"its flag {flag} is unknown")
    (lock_time,) = _U32.unpack_from(data, at)
    end = at + 4
    transaction = Transaction(version, inputs, outputs, lock_time)
    raw = stripped = data[start:end]
    if flag:
        stripped = data[start : start + 4] + data[body:body_end] + data[at:end]
    # What the cached properties would compute from a serialisation made anew.
    known = transaction.__dict__
    known["_raw"] = raw
    known["txid"] = _TXID(Txid, sha256d(stripped))
    known["stripped_size"] = len(stripped)
    return transaction, end


def _inputs_at(data: bytes, at: int) -> tuple[list[tuple[Outpoint, bytes, int]], int]:
    count, at = compact_size_at(data, at)
    found = []
    for _ in range(count):
        txid, index = _OUTPOINT.unpack_from(data, at)
        size = data[at + 36]
        at += 37
        if size >= 0xFD:
            size, at = compact_size_at(data, at - 1)
        end = at + size
        (sequence,) = _U32.unpack_from(data, end)
        found.append((Outpoint(_TXID(Txid, txid), index), data[at:end], sequence))
        at = end + 4
    return found, at


def _outputs_at(data: bytes, at: int) -> tuple[tuple[TxOutput, ...], int]:
    count, at = compact_size_at(data, at)
    found = []
    for _ in range(count):
        (amount_sat,) = _I64.unpack_from(data, at)
        size = data[at + 8]
        at += 9
        if size >= 0xFD:
            size, at = compact_size_at(data, at - 1)
        end = at + size
        found.append(TxOutput(amount_sat, data[at:end]))
        at = end
    return tuple(found), at


def _witnesses_at(
    data: bytes, at: int, bare: list[tuple[Outpoint, bytes, int]]
) -> tuple[tuple[TxInput, ...], int]:
    found = []
    is_empty = True
    for prevout, script_sig, sequence in bare:
        count, at = compact_size_at(data, at)
        items = []
        for _ in range(count):
            size = data[at]
            at += 1
            if size >= 0xFD:
                size, at = compact_size_at(data, at - 1)
            items.append(data[at : at + size])
            at += size
        is_empty = is_empty and not items
        found.append(TxInput(prevout, script_sig, sequence, tuple(items)))
    if is_empty:
        raise TruncatedError("it has the witness flag but no witness")
    return tuple(found), at

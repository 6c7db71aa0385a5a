"""Transactions: reading them strictly, writing them, their names and their weight.

Encoding: Bitcoin's wire format with BIP144 witnesses. Sizes: BIP141. What may be in a valid
transaction is another question, answered in ``transaction_rules``.
"""

from __future__ import annotations

from functools import cached_property
from typing import Final

import msgspec

from anya_actors.domain.bitcoin.errors import MalformedTransactionError
from anya_actors.domain.bitcoin.hashes import Txid, Wtxid
from anya_actors.domain.bitcoin.wire import (
    Reader,
    TruncatedError,
    compact_size,
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


class TxInput(msgspec.Struct, frozen=True):
    """What is spent, and what allows it."""

    prevout: Outpoint
    script_sig: bytes = b""
    sequence: int = MAX_SEQUENCE_RBF
    witness: tuple[bytes, ...] = ()


class TxOutput(msgspec.Struct, frozen=True):
    """An amount and the script that must be satisfied to spend it."""

    amount_sat: int
    script_pubkey: bytes

    def serialize(self) -> bytes:
        return i64(self.amount_sat) + prefixed(self.script_pubkey)


class Transaction(msgspec.Struct, frozen=True, dict=True):
    """A transaction. Immutable, so its names are computed once."""

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

    @cached_property
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
        return i32(self.version) + self._body + u32(self.lock_time)

    def serialize(self) -> bytes:
        """The bytes of the wire, with witnesses where there are any (BIP144)."""
        if not self.has_witness:
            return self.serialize_stripped()
        pieces = [i32(self.version), b"\x00\x01", self._body]
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
        return Wtxid(sha256d(self.serialize())) if self.has_witness else Wtxid(bytes(self.txid))

    @cached_property
    def weight(self) -> int:
        """Weight units (BIP141): three times the stripped size plus the whole size."""
        return 3 * (len(self._body) + 8) + len(self.serialize())

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
    version = reader.i32()
    flag = 0
    if reader.peek(1) == b"\x00":
        flag = (reader.take(2))[1]
        if flag == 0:
            return Transaction(version, (), (), reader.u32())
    inputs = [_read_input(reader) for _ in range(_count(reader, 41))]
    outputs = tuple(_read_output(reader) for _ in range(_count(reader, 9)))
    if flag & 1:
        inputs = [
            TxInput(bare.prevout, bare.script_sig, bare.sequence, _read_witness(reader)) for bare in inputs
        ]
        if not any(tx_input.witness for tx_input in inputs):
            raise TruncatedError("it has the witness flag but no witness")
    if flag & ~1:
        raise TruncatedError(f"its flag {flag} is unknown")
    return Transaction(version, tuple(inputs), outputs, reader.u32())


def read_stripped_transaction(reader: Reader) -> Transaction:
    """Read one transaction without BIP144's marker: only so can one without inputs have outputs.

    Raises `TruncatedError`.
    """
    version = reader.i32()
    inputs = tuple(_read_input(reader) for _ in range(_count(reader, 41)))
    outputs = tuple(_read_output(reader) for _ in range(_count(reader, 9)))
    return Transaction(version, inputs, outputs, reader.u32())


def _count(reader: Reader, least_size: int) -> int:
    # A count that the bytes left cannot hold is refused before anything is built for it.
    count = reader.compact_size()
    if count * least_size > reader.left:
        raise TruncatedError("it ends too early")
    return count


def _read_input(reader: Reader) -> TxInput:
    prevout = Outpoint(Txid(reader.take(32)), reader.u32())
    return TxInput(prevout, reader.prefixed(), reader.u32())


def _read_output(reader: Reader) -> TxOutput:
    return TxOutput(reader.i64(), reader.prefixed())


def _read_witness(reader: Reader) -> tuple[bytes, ...]:
    return tuple(reader.prefixed() for _ in range(_count(reader, 1)))

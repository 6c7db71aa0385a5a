"""Blocks: headers, proof of work, merkle trees and the witness commitment (BIP141)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Final

import msgspec

from anya_actors.domain.bitcoin.errors import MalformedBlockError
from anya_actors.domain.bitcoin.hashes import BlockHash
from anya_actors.domain.bitcoin.transaction import Transaction, transaction_at
from anya_actors.domain.bitcoin.wire import Reader, TruncatedError, compact_size, i32, sha256d, u32

HEADER_SIZE: Final = 80
MAX_BLOCK_WEIGHT: Final = 4_000_000
REGTEST_BITS: Final = 0x207FFFFF
"""The one difficulty of regtest: half of all hashes meet it."""
REGTEST_GENESIS_HASH: Final = BlockHash.from_hex(
    "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"
)
_COMMITMENT_PREFIX: Final = b"\x6a\x24\xaa\x21\xa9\xed"


class BlockHeader(msgspec.Struct, frozen=True, dict=True):
    """The 80 bytes that are hashed."""

    version: int
    previous: BlockHash
    merkle_root: bytes
    time_s: int
    bits: int
    nonce: int

    def serialize(self) -> bytes:
        return (
            i32(self.version)
            + self.previous
            + self.merkle_root
            + u32(self.time_s)
            + u32(self.bits)
            + u32(self.nonce)
        )

    @cached_property
    def hash(self) -> BlockHash:
        return BlockHash(sha256d(self.serialize()))


class Block(msgspec.Struct, frozen=True, dict=True):
    """A header and its transactions, the coinbase first."""

    header: BlockHeader
    transactions: tuple[Transaction, ...]

    @property
    def hash(self) -> BlockHash:
        return self.header.hash

    def serialize(self) -> bytes:
        return self._raw

    @cached_property
    def _raw(self) -> bytes:
        pieces = [self.header.serialize(), compact_size(len(self.transactions))]
        pieces += [transaction.serialize() for transaction in self.transactions]
        return b"".join(pieces)

    @cached_property
    def stripped_size(self) -> int:
        """Bytes without witnesses."""
        count = len(compact_size(len(self.transactions)))
        return HEADER_SIZE + count + sum(transaction.stripped_size for transaction in self.transactions)

    @property
    def size(self) -> int:
        """Bytes with witnesses."""
        return len(self._raw)

    @property
    def weight(self) -> int:
        """Weight units (BIP141)."""
        return 3 * self.stripped_size + self.size


def parse_header(data: bytes) -> BlockHeader:
    """Read exactly one header (80 bytes); raises `MalformedBlockError`."""
    if len(data) != HEADER_SIZE:
        raise MalformedBlockError("the header", f"it has {len(data)} bytes, not {HEADER_SIZE}")
    return _read_header(Reader(data))


def _read_header(reader: Reader) -> BlockHeader:
    return BlockHeader(
        reader.i32(),
        BlockHash(reader.take(32)),
        reader.take(32),
        reader.u32(),
        reader.u32(),
        reader.u32(),
    )


def parse_block(data: bytes) -> Block:
    """Read exactly one block; raises `MalformedBlockError` on any other bytes."""
    block = parse_leading_block(data)
    if block.size < len(data):
        raise MalformedBlockError("the block", f"{len(data) - block.size} bytes follow it")
    return block


def parse_leading_block(data: bytes) -> Block:
    """Read one block and leave what follows it, as Core does; raises `MalformedBlockError`."""
    reader = Reader(data)
    try:
        header = _read_header(reader)
        count, at = reader.compact_size(), reader.offset
        transactions = []
        for _ in range(count):
            transaction, at = transaction_at(data, at)
            transactions.append(transaction)
    except TruncatedError as error:
        raise MalformedBlockError("the block", str(error)) from error
    block = Block(header, tuple(transactions))
    block.__dict__["_raw"] = data if at == len(data) else data[:at]
    return block


def parse_start(data: bytes) -> tuple[BlockHeader, int]:
    """The header and the number of transactions of a block, the rest unread."""
    reader = Reader(data)
    try:
        return _read_header(reader), reader.compact_size()
    except TruncatedError as error:
        raise MalformedBlockError("the block", str(error)) from error


def merkle_root(hashes: Sequence[bytes]) -> bytes:
    """The root of Bitcoin's merkle tree, which doubles an odd last hash."""
    level = [bytes(leaf) for leaf in hashes]
    if not level:
        return bytes(32)
    while len(level) > 1:
        if len(level) % 2:
            level.append(level[-1])
        level = [sha256d(level[at] + level[at + 1]) for at in range(0, len(level), 2)]
    return level[0]


def block_merkle_root(transactions: Sequence[Transaction]) -> bytes:
    """What the header commits to."""
    return merkle_root([transaction.txid for transaction in transactions])


def witness_commitment_script(transactions: Sequence[Transaction], reserved: bytes = bytes(32)) -> bytes:
    """The coinbase output script that commits to all witnesses (BIP141).

    ``transactions`` include the coinbase, whose own hash counts as zero; ``reserved`` is the value
    in the coinbase's witness.
    """
    root = merkle_root([bytes(32), *(transaction.wtxid for transaction in transactions[1:])])
    return _COMMITMENT_PREFIX + sha256d(root + reserved)


def witness_commitment(coinbase: Transaction) -> bytes | None:
    """The 32 bytes committed to by a coinbase's last commitment output, or None."""
    for output in reversed(coinbase.outputs):
        if output.script_pubkey.startswith(_COMMITMENT_PREFIX) and len(output.script_pubkey) >= 38:
            return output.script_pubkey[6:38]
    return None


def target_of(bits: int) -> int:
    """The number a header's hash must not exceed; 0 for encodings that allow none."""
    exponent, mantissa = bits >> 24, bits & 0x007FFFFF
    if bits & 0x00800000:
        return 0
    target = mantissa << 8 * (exponent - 3) if exponent >= 3 else mantissa >> 8 * (3 - exponent)
    return target if target < 1 << 256 else 0


def meets_target(block_hash: BlockHash, bits: int) -> bool:
    """Whether the hash is proof of the work that ``bits`` ask for."""
    return int.from_bytes(block_hash, "little") <= target_of(bits)


def work_of(bits: int) -> int:
    """The expected number of hashes behind a header of these bits (Core, ``GetBlockProof``)."""
    target = target_of(bits)
    return (1 << 256) // (target + 1) if target else 0


def difficulty_of(bits: int) -> float:
    """How much harder than the easiest mainnet target; a display value, as Core computes it."""
    mantissa = bits & 0x00FFFFFF
    if not mantissa:
        return 0.0
    difficulty = 0x0000FFFF / mantissa
    for _ in range(bits >> 24, 29):
        difficulty *= 256.0
    for _ in range(29, bits >> 24):
        difficulty /= 256.0
    return difficulty

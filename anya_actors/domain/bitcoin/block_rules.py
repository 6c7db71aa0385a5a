"""What a block must obey by itself and in its place, before its coins and scripts are looked at.

Order and reasons are Core's (``validation.cpp``: CheckBlock, ContextualCheckBlockHeader and
ContextualCheckBlock), without the proof of work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from anya_actors.domain.bitcoin.block import (
    MAX_BLOCK_WEIGHT,
    Block,
    BlockHeader,
    block_merkle_root,
    witness_commitment,
    witness_commitment_script,
)
from anya_actors.domain.bitcoin.errors import RejectedBlockError, RejectedTransactionError
from anya_actors.domain.bitcoin.lock_times import is_final
from anya_actors.domain.bitcoin.script import push_number
from anya_actors.domain.bitcoin.sigops import MAX_BLOCK_SIGOPS_COST, count_sigops
from anya_actors.domain.bitcoin.transaction import WITNESS_SCALE, Transaction
from anya_actors.domain.bitcoin.transaction_rules import verify_transaction
from anya_actors.domain.bitcoin.wire import sha256d

MAX_FUTURE_S: Final = 2 * 3600
_LEAST_VERSION: Final = 4
"""Lower versions stand for rules that BIP34, BIP66 and BIP65 have ended."""


@dataclass(frozen=True, slots=True)
class BlockPlace:
    """Where a block shall stand, and when it is judged."""

    height: int
    median_time_past_s: int
    bits: int
    now_s: int


def verify_block(block: Block, place: BlockPlace) -> None:
    """Raise `RejectedBlockError` for the first rule broken."""
    reason = (
        _tree_fault(block)
        or _content_fault(block)
        or header_fault(block.header, place)
        or _place_fault(block, place)
        or _witness_fault(block)
    )
    if reason:
        raise RejectedBlockError(str(block.hash), reason)


def _tree_fault(block: Block) -> str:
    if block_merkle_root(block.transactions) != block.header.merkle_root:
        return "bad-txnmrklroot"
    if _has_doubled_pair([transaction.txid for transaction in block.transactions]):
        return "bad-txns-duplicate"
    return ""


def _has_doubled_pair(hashes: Sequence[bytes]) -> bool:
    """Whether two neighbours are the same at any level: the tree of other transactions (CVE-2012-2459)."""
    level = list(hashes)
    while len(level) > 1:
        if any(level[at] == level[at + 1] for at in range(0, len(level) - 1, 2)):
            return True
        if len(level) % 2:
            level.append(level[-1])
        level = [sha256d(level[at] + level[at + 1]) for at in range(0, len(level), 2)]
    return False


def _content_fault(block: Block) -> str:
    transactions = block.transactions
    if not transactions or block.stripped_size * WITNESS_SCALE > MAX_BLOCK_WEIGHT:
        return "bad-blk-length"
    if not transactions[0].is_coinbase:
        return "bad-cb-missing"
    if any(transaction.is_coinbase for transaction in transactions[1:]):
        return "bad-cb-multiple"
    for transaction in transactions:
        try:
            verify_transaction(transaction)
        except RejectedTransactionError as error:
            return error.reason
    if (
        sum(_legacy_sigops(transaction) for transaction in transactions) * WITNESS_SCALE
        > MAX_BLOCK_SIGOPS_COST
    ):
        return "bad-blk-sigops"
    return ""


def _legacy_sigops(transaction: Transaction) -> int:
    scripts = [tx_input.script_sig for tx_input in transaction.inputs]
    scripts += [output.script_pubkey for output in transaction.outputs]
    return sum(count_sigops(script, accurate=False) for script in scripts)


def header_fault(header: BlockHeader, place: BlockPlace) -> str:
    """The rule that a header breaks in its place, its work aside; empty if none."""
    if header.bits != place.bits:
        return "bad-diffbits"
    if header.time_s <= place.median_time_past_s:
        return "time-too-old"
    if header.time_s > place.now_s + MAX_FUTURE_S:
        return "time-too-new"
    if header.version < _LEAST_VERSION:
        return f"bad-version(0x{header.version & 0xFFFFFFFF:08x})"
    return ""


def _place_fault(block: Block, place: BlockPlace) -> str:
    for transaction in block.transactions:
        if not is_final(transaction, place.height, place.median_time_past_s):
            return "bad-txns-nonfinal"
    if not block.transactions[0].inputs[0].script_sig.startswith(push_number(place.height)):
        return "bad-cb-height"
    return ""


def _witness_fault(block: Block) -> str:
    coinbase = block.transactions[0]
    commitment = witness_commitment(coinbase)
    if commitment is not None:
        stack = coinbase.inputs[0].witness
        if len(stack) != 1 or len(stack[0]) != 32:
            return "bad-witness-nonce-size"
        if witness_commitment_script(block.transactions, stack[0])[6:38] != commitment:
            return "bad-witness-merkle-match"
    elif any(transaction.has_witness for transaction in block.transactions):
        return "unexpected-witness"
    return "bad-blk-weight" if block.weight > MAX_BLOCK_WEIGHT else ""

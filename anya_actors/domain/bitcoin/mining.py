"""Making blocks: the coinbase, the commitment to the witnesses and the search for a nonce."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from anya_actors.domain.bitcoin.amount import COIN_SAT
from anya_actors.domain.bitcoin.block import (
    Block,
    BlockHeader,
    block_merkle_root,
    target_of,
    witness_commitment_script,
)
from anya_actors.domain.bitcoin.hashes import BlockHash
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.script import push, push_number
from anya_actors.domain.bitcoin.transaction import (
    NULL_OUTPOINT,
    SEQUENCE_FINAL,
    Transaction,
    TxInput,
    TxOutput,
)
from anya_actors.domain.bitcoin.wire import sha256d, u32

BLOCK_VERSION: Final = 0x20000000
"""No soft fork is being signalled (BIP9)."""

NONCES: Final = 1 << 32


def block_subsidy_sat(height: int, network: Network) -> int:
    """New coins that a block of this height may create."""
    halvings = height // network.halving_interval
    return 50 * COIN_SAT >> halvings if halvings < 64 else 0


def coinbase_transaction(
    height: int,
    script_pubkey: bytes,
    amount_sat: int,
    others: Sequence[Transaction],
    extra_nonce: bytes = b"\x00",
) -> Transaction:
    """The first transaction of a block: pays ``amount_sat``, commits to the witnesses of ``others``.

    The height comes first in its script (BIP34); ``extra_nonce`` makes it unlike its siblings.
    """
    tx_input = TxInput(
        NULL_OUTPOINT, push_number(height) + push(extra_nonce), SEQUENCE_FINAL, witness=(bytes(32),)
    )
    payout = TxOutput(amount_sat, script_pubkey)
    bare = Transaction(2, (tx_input,), (payout,))
    commitment = TxOutput(0, witness_commitment_script([bare, *others]))
    return Transaction(2, (tx_input,), (payout, commitment))


def unsolved_block(previous: BlockHash, time_s: int, bits: int, transactions: Sequence[Transaction]) -> Block:
    """A block whose proof of work is still to be found."""
    root = block_merkle_root(transactions)
    return Block(BlockHeader(BLOCK_VERSION, previous, root, time_s, bits, 0), tuple(transactions))


def solve(block: Block, tries: int = NONCES) -> Block | None:
    """The block with the first nonce that meets its target, or None within ``tries``.

    Meant for regtest, where every second nonce does.
    """
    header = block.header
    target = target_of(header.bits)
    start = header.serialize()[:76]
    for nonce in range(min(tries, NONCES)):
        if int.from_bytes(sha256d(start + u32(nonce)), "little") <= target:
            solved = BlockHeader(
                header.version, header.previous, header.merkle_root, header.time_s, header.bits, nonce
            )
            return Block(solved, block.transactions)
    return None

"""The first block of regtest; it is fixed, and its one output can never be spent."""

from __future__ import annotations

from typing import Final

from anya_actors.domain.bitcoin.amount import COIN_SAT
from anya_actors.domain.bitcoin.block import REGTEST_BITS, Block, BlockHeader
from anya_actors.domain.bitcoin.hashes import BlockHash
from anya_actors.domain.bitcoin.script import push
from anya_actors.domain.bitcoin.transaction import (
    NULL_OUTPOINT,
    SEQUENCE_FINAL,
    Transaction,
    TxInput,
    TxOutput,
)

_HEADLINE: Final = b"The Times 03/Jan/2009 Chancellor on brink of second bailout for banks"
_KEY: Final = bytes.fromhex(
    "04678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb6"
    "49f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5f"
)
_COINBASE: Final = Transaction(
    1,
    (
        TxInput(
            NULL_OUTPOINT,
            push((0x1D00FFFF).to_bytes(4, "little")) + push(b"\x04") + push(_HEADLINE),
            SEQUENCE_FINAL,
        ),
    ),
    (TxOutput(50 * COIN_SAT, push(_KEY) + b"\xac"),),
)
REGTEST_GENESIS: Final = Block(
    BlockHeader(1, BlockHash(bytes(32)), bytes(_COINBASE.txid), 1296688602, REGTEST_BITS, 2), (_COINBASE,)
)

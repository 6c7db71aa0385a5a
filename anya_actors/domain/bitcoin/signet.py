"""Signet's other proof: a block carries a signature that its network's challenge demands (BIP325).

Headers do not show it, so a light client that must trust no signet miner asks for whole blocks.
"""

from __future__ import annotations

from typing import Final

from btclib.exceptions import BTClibRuntimeError
from btclib.script.engine import ScriptFlag, verify_transaction
from btclib.tx import Tx, TxOut
from ecc.exceptions import EccRuntimeError

from anya_actors.domain.bitcoin.block import Block, merkle_root
from anya_actors.domain.bitcoin.errors import RejectedBlockError
from anya_actors.domain.bitcoin.script import OP_RETURN, ScriptEndsError, iterate_operations, push
from anya_actors.domain.bitcoin.transaction import (
    NULL_OUTPOINT,
    Outpoint,
    Transaction,
    TxInput,
    TxOutput,
)
from anya_actors.domain.bitcoin.wire import Reader, TruncatedError, i32, u32

DEFAULT_CHALLENGE: Final = bytes.fromhex(
    "512103ad5e0edad18cb1f0fc0d28a3d4f1f3e445640337489abb10404f2d1e086be430"
    "210359ef5021964fe22d6f8e05b2463c9540ce96883fe3b278760f048f5189f2e6c452ae"
)
"""Of the public signet: one signature of two keys (Core, ``chainparams.cpp``)."""

_HEADER: Final = bytes.fromhex("ecc7daa2")
_COMMITMENT: Final = bytes.fromhex("6a24aa21a9ed")
# Core's BLOCK_SCRIPT_VERIFY_FLAGS.
_FLAGS: Final = ScriptFlag.P2SH | ScriptFlag.WITNESS | ScriptFlag.DERSIG | ScriptFlag.NULLDUMMY
_REFUSALS: Final = (ValueError, BTClibRuntimeError, EccRuntimeError)
_REASON: Final = "bad-signet-blksig"


def verify_signet_solution(block: Block, challenge: bytes = DEFAULT_CHALLENGE) -> None:
    """Return if the block's solution satisfies the challenge; raise `RejectedBlockError` as Core does.

    Not asked of the genesis block.
    """
    try:
        to_spend, to_sign = signet_transactions(block, challenge)
        spent = TxOut(0, to_spend.outputs[0].script_pubkey)
        verify_transaction([spent], Tx.parse(to_sign.serialize()), _FLAGS)
    except (*_REFUSALS, TruncatedError) as error:
        raise RejectedBlockError(str(block.hash), _REASON) from error


def signet_transactions(block: Block, challenge: bytes) -> tuple[Transaction, Transaction]:
    """The virtual transactions of which the second must spend the first; raises `ValueError`.

    To sign a block, sign the second of one whose solution is empty, and put in what it took.
    """
    coinbase, solution = _without_solution(block)
    txids = [coinbase.txid, *(transaction.txid for transaction in block.transactions[1:])]
    header = block.header
    data = i32(header.version) + header.previous + merkle_root(txids) + u32(header.time_s)
    to_spend = Transaction(0, (TxInput(NULL_OUTPOINT, b"\x00" + push(data), 0),), (TxOutput(0, challenge),))
    script_sig, witness = _read_solution(solution)
    spending = TxInput(Outpoint(to_spend.txid, 0), script_sig, 0, witness)
    return to_spend, Transaction(0, (spending,), (TxOutput(0, bytes((OP_RETURN,))),))


def _without_solution(block: Block) -> tuple[Transaction, bytes]:
    """The coinbase with its solution cut down to the four bytes that announce it, and the solution."""
    if not block.transactions:
        raise ValueError("the block has no coinbase")
    coinbase = block.transactions[0]
    places = [
        at
        for at, output in enumerate(coinbase.outputs)
        if output.script_pubkey.startswith(_COMMITMENT) and len(output.script_pubkey) >= 38
    ]
    if not places:
        raise ValueError("the block has no witness commitment")
    place = places[-1]
    output = coinbase.outputs[place]
    script, solution = _cut(output.script_pubkey)
    outputs = list(coinbase.outputs)
    outputs[place] = TxOutput(output.amount_sat, script)
    return Transaction(coinbase.version, coinbase.inputs, tuple(outputs), coinbase.lock_time), solution


def _cut(script: bytes) -> tuple[bytes, bytes]:
    kept, solution = b"", b""
    try:
        for opcode, data in iterate_operations(script):
            if data is not None and len(data) > len(_HEADER) and data.startswith(_HEADER) and not solution:
                data, solution = _HEADER, data[len(_HEADER) :]
            kept += bytes((opcode,)) if data is None else push(data)
    except ScriptEndsError:
        return script, b""
    return (kept, solution) if solution else (script, b"")


def _read_solution(solution: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    """Signature script and witness, nothing behind them; nothing at all satisfies open challenges."""
    if not solution:
        return b"", ()
    reader = Reader(solution)
    script_sig = reader.prefixed()
    witness = tuple(reader.prefixed() for _ in range(reader.compact_size()))
    if reader.left:
        raise TruncatedError("the solution is followed by more")
    return script_sig, witness
